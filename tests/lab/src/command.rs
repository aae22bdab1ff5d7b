//! The programs that the lab is built from: found once, run with clear errors.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program and the Debian package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its file name.
    pub name: &'static str,
    /// What to install when it is missing.
    pub package: &'static str,
}

/// iproute2: namespaces, links, addresses.
pub const IP: Program = Program {
    name: "ip",
    package: "iproute2",
};
/// nftables: NAT, policy, loss.
pub const NFT: Program = Program {
    name: "nft",
    package: "nftables",
};
/// util-linux: ends a child when the lab dies without a chance to clean up.
pub const SETPRIV: Program = Program {
    name: "setpriv",
    package: "util-linux",
};
/// The DHCP server of the PN.
pub const DHCPD: Program = Program {
    name: "dhcpd",
    package: "isc-dhcp-server",
};
/// The DHCP client of node and hosts.
pub const DHCLIENT: Program = Program {
    name: "dhclient",
    package: "isc-dhcp-client",
};
/// The real Prometheus.
pub const PROMETHEUS: Program = Program {
    name: "prometheus",
    package: "prometheus",
};
/// The real Alertmanager.
pub const ALERTMANAGER: Program = Program {
    name: "prometheus-alertmanager",
    package: "prometheus-alertmanager",
};

/// Starts a program with the capabilities of a container.
pub const CAPSH: Program = Program {
    name: "capsh",
    package: "libcap2-bin",
};
/// Gives a program a file capability.
pub const SETCAP: Program = Program {
    name: "setcap",
    package: "libcap2-bin",
};

/// What the network alone needs.
pub const NETWORK: [Program; 5] = [IP, NFT, SETPRIV, DHCPD, DHCLIENT];
/// What the whole lab needs.
pub const ALL: [Program; 7] = [IP, NFT, SETPRIV, DHCPD, DHCLIENT, PROMETHEUS, ALERTMANAGER];

/// Where system programs live even if a user's PATH does not say so.
const SYSTEM_DIRS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Why a command had no result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Programs that are not installed.
    #[error(
        "the lab needs {programs}; install: apt-get install -y --no-install-recommends {packages}"
    )]
    Missing {
        /// The programs, comma-separated.
        programs: String,
        /// Their packages, space-separated.
        packages: String,
    },
    /// It could not be started or spoken to.
    #[error("cannot run `{line}`")]
    Start {
        /// The command line.
        line: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("`{line}` failed ({status}): {message}")]
    Failed {
        /// The command line.
        line: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it printed on standard error.
        message: String,
    },
}

impl Program {
    /// Its full path, if it is installed.
    pub fn path(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(SYSTEM_DIRS.iter().map(PathBuf::from))
            .map(|dir| dir.join(self.name))
            .find(|file| is_executable(file))
    }

    /// Its full path, or the error that says what to install.
    ///
    /// # Errors
    /// [`CommandError::Missing`].
    pub fn require(self) -> Result<PathBuf, CommandError> {
        self.path().ok_or_else(|| missing(&[self]))
    }

    /// Runs it to its end and returns what it printed; `input` goes to its standard input.
    ///
    /// # Errors
    /// [`CommandError`]; a status other than 0 is one.
    pub fn run<'a>(
        self,
        arguments: impl IntoIterator<Item = &'a str>,
        input: &str,
    ) -> Result<String, CommandError> {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        let line = format!("{} {}", self.name, arguments.join(" "));
        let start = |source| CommandError::Start {
            line: line.clone(),
            source,
        };
        let mut child = Command::new(self.require()?)
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends without reading says why by its status.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(start)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(CommandError::Failed {
            line,
            status: output.status,
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

/// Checks that all of `programs` are installed.
///
/// # Errors
/// [`CommandError::Missing`] names every one that is not.
pub fn require_all(programs: &[Program]) -> Result<(), CommandError> {
    let absent: Vec<Program> = programs
        .iter()
        .copied()
        .filter(|program| program.path().is_none())
        .collect();
    if absent.is_empty() {
        Ok(())
    } else {
        Err(missing(&absent))
    }
}

fn missing(programs: &[Program]) -> CommandError {
    let list = |pick: fn(&Program) -> &'static str, by: &str| {
        programs.iter().map(pick).collect::<Vec<_>>().join(by)
    };
    CommandError::Missing {
        programs: list(|program| program.name, ", "),
        packages: list(|program| program.package, " "),
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let absent = Program {
            name: "pnwatch-no-such-program",
            package: "no-such-package",
        };
        let error = require_all(&[IP, absent]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the lab needs pnwatch-no-such-program; install: apt-get install -y --no-install-recommends no-such-package"
        );
    }

    #[test]
    fn a_failure_carries_the_line_and_the_message() {
        let error = IP
            .run(["link", "show", "dev", "nosuchdevice"], "")
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("`ip link show dev nosuchdevice` failed"),
            "{text}"
        );
        assert!(text.contains("nosuchdevice\" does not exist"), "{text}");
    }
}
