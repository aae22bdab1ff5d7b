//! What the parser gives up before it reads its first byte.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Memory, bytes: its connections together hold less than two megabytes.
const MEMORY: u64 = 256 << 20;
/// Descriptors: connections, pipe, epoll.
const FILES: u64 = 64;

/// Lowers every limit, and gives up capabilities for good.
pub(super) fn confine() -> io::Result<()> {
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
