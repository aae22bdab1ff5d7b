//! Faults that really happen: each is injected, told its time by the kernel, and healed.

pub mod account;
pub(crate) mod bandwidth;
mod churn;
mod cluster;
pub mod host;
mod hostile;
mod jobs;
pub(crate) mod node;
pub(crate) mod path;
mod quiet;
mod traffic;
pub mod vms;
pub mod wire;

use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;

use crate::judge::Also;
use crate::kernel::Change;
use crate::lab::Lab;

/// How long the kernel may take to report what a command did.
const REPORT_DEADLINE: Duration = Duration::from_secs(5);

/// Something that the lab can do to itself.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Makes ready for the fault; healthy still.
    pub prepare: fn(&mut Lab) -> Result<()>,
    /// Breaks it, and returns when that happened.
    pub inject: fn(&mut Lab) -> Result<Timestamp>,
    /// Keeps disturbing for the given time.
    pub disturb: Option<fn(&mut Lab, Duration) -> Result<()>>,
    /// Brings back evidence that was missing.
    pub sharpen: Option<fn(&mut Lab) -> Result<()>>,
    /// Looks at what else the fault must lead to, after its page; gets the time of the fault.
    pub also: Option<Look>,
    /// Looks at what must be well again, after everything has settled; gets the time of healing.
    pub after: Option<Look>,
    /// Undoes everything.
    pub heal: fn(&mut Lab) -> Result<()>,
}

/// A look at more than the page.
pub type Look = fn(&mut Lab, Timestamp, &mut Also) -> Result<()>;

const NONE: Fault = Fault {
    prepare: nothing,
    inject: now,
    disturb: None,
    sharpen: None,
    also: None,
    after: None,
    heal: nothing,
};

/// The fault behind a row of the table.
pub fn fault(name: &str) -> Result<Fault> {
    Ok(match name {
        "healthy" => NONE,
        "F1" => Fault {
            inject: node::delete_device,
            heal: node::recreate_device,
            ..NONE
        },
        "F2" => Fault {
            inject: node::delete_address,
            heal: node::recover_address,
            ..NONE
        },
        "F1-blind" => Fault {
            prepare: node::kill_prober,
            inject: node::delete_device,
            sharpen: Some(node::start_prober),
            heal: node::recreate_device_and_prober,
            ..NONE
        },
        "F2-blind" => Fault {
            prepare: node::kill_prober,
            inject: node::delete_address,
            sharpen: Some(node::start_prober),
            heal: node::recover_address_and_prober,
            ..NONE
        },
        "F2-lease" => Fault {
            prepare: node::hardly_any_lease,
            inject: node::let_lease_run_out,
            heal: node::restore_lease,
            ..NONE
        },
        "F29" => Fault {
            inject: node::power_off,
            heal: node::power_on,
            ..NONE
        },
        "F31" => Fault {
            inject: path::network_down,
            heal: path::network_up,
            ..NONE
        },
        "F17" => Fault {
            inject: path::hang_pod,
            heal: path::heal_pod,
            ..NONE
        },
        "F24" => Fault {
            inject: path::lose_host,
            heal: path::recover_host,
            ..NONE
        },
        "F8" => Fault {
            inject: path::kill_host_prober,
            heal: path::start_host_prober,
            ..NONE
        },
        "F15" => Fault {
            inject: path::drop_own_dials,
            heal: path::allow_own_dials,
            ..NONE
        },
        "F25" => Fault {
            inject: bandwidth::clamp,
            also: Some(bandwidth::level),
            heal: bandwidth::unclamp,
            ..NONE
        },
        "steady" => Fault {
            inject: bandwidth::steady,
            heal: bandwidth::end_stream,
            ..NONE
        },
        "client" => Fault {
            inject: bandwidth::client,
            heal: bandwidth::end_stream,
            ..NONE
        },
        "burst" => Fault {
            inject: bandwidth::burst,
            disturb: Some(bandwidth::burst_passes),
            also: Some(bandwidth::peak),
            heal: bandwidth::end_stream,
            ..NONE
        },
        "blips" => Fault {
            prepare: quiet::prepare_blips,
            disturb: Some(quiet::blips),
            heal: quiet::end_blips,
            ..NONE
        },
        "loss5" => Fault {
            inject: quiet::lose_packets,
            heal: quiet::end_loss,
            ..NONE
        },
        "flush_readd" => Fault {
            disturb: Some(quiet::flush_and_readd),
            ..NONE
        },
        "rolling_restart" => Fault {
            disturb: Some(quiet::rolling_restart),
            ..NONE
        },
        other => match wire::fault(other)
            .or_else(|| host::fault(other))
            .or_else(|| account::fault(other))
            .or_else(|| cluster::fault(other))
            .or_else(|| traffic::fault(other))
            .or_else(|| vms::fault(other))
        {
            Some(fault) => fault,
            None => bail!("the lab cannot make {other:?}; pnwatch-lab list names what it can"),
        },
    })
}

#[expect(clippy::unnecessary_wraps, reason = "has the type of a step")]
fn nothing(_: &mut Lab) -> Result<()> {
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "has the type of an injection")]
fn now(_: &mut Lab) -> Result<Timestamp> {
    Ok(Timestamp::now())
}

/// The kernel's time of a change on the node that was ordered after `since`.
fn node_report(lab: &mut Lab, change: &Change, since: Timestamp) -> Result<Timestamp> {
    lab.node_events
        .wait_for(&mut lab.processes, change, since, REPORT_DEADLINE)
}

/// The kernel's time of a change on the switch that was ordered after `since`.
fn switch_report(lab: &mut Lab, change: &Change, since: Timestamp) -> Result<Timestamp> {
    lab.switch_events
        .wait_for(&mut lab.processes, change, since, REPORT_DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::fault;
    use crate::expect::all;

    #[test]
    fn every_row_can_be_made_and_silence_is_disturbed() {
        for row in all() {
            let fault = fault(row.name).unwrap();
            assert!(
                fault.disturb.is_none() || row.expected.is_none(),
                "{}",
                row.name
            );
        }
        assert!(fault("F99").is_err());
    }
}
