//! Processes without rights: this very program again, as nobody, for bytes that others chose.
//!
//! They give up what an attacker might want before they read the first one.

use std::io;
use std::path::PathBuf;

use tokio::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Memory, bytes: what any of them holds is a few megabytes.
const MEMORY: u64 = 256 << 20;
/// Descriptors: the most that one needs are the connections of the relay.
const FILES: u64 = 64;

/// The user and group without rights.
#[cfg(target_os = "linux")]
const NOBODY: u32 = 65_534;
/// macOS: `nobody` is -2.
#[cfg(not(target_os = "linux"))]
const NOBODY: u32 = u32::MAX - 1;

/// This program. By way of the kernel's own link on Linux: nobody may not be able to walk the
/// path to it, and after an update the path may lead to another file.
pub(crate) fn own_program() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/tuist-pnwatch"))
}

/// An empty environment, and nobody's rights where there are rights to lose.
pub(crate) fn as_nobody(command: &mut Command) {
    command.env_clear().current_dir("/").kill_on_drop(true);
    if is_root() {
        // Supplementary groups go with the user.
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// Whether there are rights to lose.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lowers every limit, and gives up capabilities for good.
pub(crate) fn confine() -> io::Result<()> {
    let limits = [
        (Resource::Nofile, FILES),
        (Resource::Data, MEMORY),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        // No process, and no thread besides this one.
        (Resource::Nproc, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    give_up_rights()
}

/// A file capability would come back with every exec(2), were it not for `no_new_privs`.
#[cfg(target_os = "linux")]
fn give_up_rights() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
    set_no_new_privs(true)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn give_up_rights() -> io::Result<()> {
    // A user without rights has none to give up: macOS has no capabilities.
    Ok(())
}
