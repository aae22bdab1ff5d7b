//! Programs that a measurement needs, installed from the distribution's packages where missing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// Asked before a package's daemon is started (invoke-rc.d(8)): nothing here wants one.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs those of `needed` (program, Debian package) that no `PATH` leads to.
pub(crate) fn install(needed: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing = needed.iter().filter(|(program, _)| !is_there(program));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    eprintln!("installing: {}", packages.join(" "));
    let policy = Policy::hold()?;
    apt(&["update", "-q"])?;
    let install = ["install", "-q", "-y", "--no-install-recommends"];
    apt(&[&install[..], &packages].concat())?;
    drop(policy);
    match needed.iter().find(|(program, _)| !is_there(program)) {
        None => Ok(()),
        Some((program, package)) => bail!("{package} brought no {program}; install it by hand"),
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons where a user's PATH may not lead.
    let more = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .any(|folder| folder.join(program).is_file())
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("there is no apt-get here; install what is missing by hand")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = arguments.join(" ");
    ensure!(output.status.success(), "apt-get {line}: {}", said.trim());
    Ok(())
}

/// No package starts a daemon as long as it lives.
struct Policy(bool);

impl Policy {
    fn hold() -> anyhow::Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self(false));
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("{POLICY}: needs root"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self(true))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.0 {
            // Were it to stay, no package would start a daemon: said, not swallowed.
            if let Err(error) = fs::remove_file(POLICY) {
                eprintln!("pnwatch-bench: remove {POLICY} by hand: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_there_is_not_installed() {
        super::install(&[("sh", "no-such-package")]).unwrap();
        assert!(!super::is_there("no-such-program"));
    }
}
