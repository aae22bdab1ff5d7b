//! The one privilege: `CAP_NET_RAW` (packet(7)), raised for the call that needs it.
//!
//! A file capability `+p` puts it into the permitted set alone (capabilities(7)). With `+ep` the
//! kernel would refuse to start the same file where the capability is not to be had, as in the
//! exporter's container. Capabilities are a thread's own: nothing here is seen by others.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Runs `open` with `CAP_NET_RAW` in effect if this thread may have it; afterwards everything is
/// as before.
pub(crate) fn with_net_raw<T>(open: impl FnOnce() -> T) -> T {
    let Some(before) = raise() else {
        return open();
    };
    let opened = open();
    if let Err(error) = set_capabilities(None, before) {
        tracing::warn!("cannot give NET_RAW up again: {error}; it stays in effect");
    }
    opened
}

/// What was in effect before; `None` = nothing was raised.
fn raise() -> Option<CapabilitySets> {
    let before = capabilities(None).ok()?;
    let there = before.effective.contains(CapabilitySet::NET_RAW);
    if there || !before.permitted.contains(CapabilitySet::NET_RAW) {
        return None;
    }
    let raised = CapabilitySets {
        effective: before.effective | CapabilitySet::NET_RAW,
        ..before
    };
    set_capabilities(None, raised).ok()?;
    Some(before)
}

#[cfg(test)]
mod tests {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

    use super::with_net_raw;

    fn effective() -> bool {
        let now = capabilities(None).unwrap();
        now.effective.contains(CapabilitySet::NET_RAW)
    }

    /// Needs root, as all tests of packet sockets do.
    #[test]
    fn it_is_in_effect_for_one_call_and_only_if_permitted() {
        let all = capabilities(None).unwrap();
        assert!(
            all.permitted.contains(CapabilitySet::NET_RAW),
            "needs NET_RAW; run as root"
        );
        assert!(with_net_raw(effective), "what is in effect stays so");
        assert!(effective());

        let permitted = CapabilitySets {
            effective: all.effective - CapabilitySet::NET_RAW,
            ..all
        };
        set_capabilities(None, permitted).unwrap();
        assert!(with_net_raw(effective));
        assert!(!effective());

        let none = CapabilitySets {
            permitted: permitted.permitted - CapabilitySet::NET_RAW,
            ..permitted
        };
        set_capabilities(None, none).unwrap();
        assert!(!with_net_raw(effective));
    }
}
