//! The prober with the rights of its Pod: the chart's user and capabilities, set as a container
//! runtime sets them (capabilities(7)), from a program that carries the image's file capability.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{CAPSH, SETCAP};

/// The chart's `runAsUser` and `runAsGroup`.
const USER: u32 = 65532;
/// `CAP_NET_RAW` (capability.h).
const NET_RAW: u32 = 13;

/// What a Pod grants beside its user, its read-only root and `no_new_privs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// As the chart says: `NET_RAW` alone.
    Chart,
    /// A cluster whose policy takes `NET_RAW` away.
    NoNetRaw,
}

impl Rights {
    /// Hands `files` (what the prober reads, and the directory that it writes) to its user, with
    /// the way to them, and returns the program and its first arguments.
    pub fn grant(
        self,
        program: &Path,
        dir: &Path,
        files: &[&Path],
    ) -> Result<(PathBuf, Vec<String>)> {
        let copy = dir.join("pnwatch-as-in-the-image");
        if !copy.exists() {
            std::fs::copy(program, &copy)
                .with_context(|| format!("cannot copy {}", program.display()))?;
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
            SETCAP.run(["cap_net_raw+p", &copy.to_string_lossy()], "")?;
        }
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
        for file in files {
            std::os::unix::fs::chown(file, Some(USER), Some(USER))
                .with_context(|| format!("cannot hand {} over", file.display()))?;
        }
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?;
        let last: u32 = last
            .trim()
            .parse()
            .context("the kernel's last capability")?;
        let granted = self == Self::Chart;
        let dropped: Vec<String> = (0..=last)
            .filter(|number| !(granted && *number == NET_RAW))
            .map(|number| number.to_string())
            .collect();
        let caps = if granted { "cap_net_raw+ep" } else { "=" };
        let arguments = [
            format!("--drop={}", dropped.join(",")),
            format!("--gid={USER}"),
            "--keep=1".to_owned(),
            format!("--uid={USER}"),
            format!("--caps={caps}"),
            "--no-new-privs".to_owned(),
            format!("--shell={}", copy.display()),
            "--".to_owned(),
        ];
        Ok((CAPSH.require()?, arguments.into()))
    }
}
