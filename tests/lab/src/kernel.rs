//! When the kernel itself reported a change: the time of a fault, whoever caused it.
//!
//! One `ip monitor` per namespace prints each rtnetlink event with its time; nothing here asks a
//! daemon. The time is taken when the event is read, so it can be late by a wake-up, never early.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::command::IP;
use crate::net::Namespace;
use crate::process::Processes;
use crate::wait;

/// A change of a link or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The device is there no longer.
    LinkGone(String),
    /// The device has no carrier, or was set down.
    LinkDown(String),
    /// The device is up with carrier.
    LinkUp(String),
    /// The device lost the address (without prefix length).
    AddressGone(String, String),
    /// The device got the address, or its lifetime changed.
    AddressSet(String, String),
}

/// A change and when it was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Wall time.
    pub at: Timestamp,
    /// What changed.
    pub change: Change,
}

/// The events of one namespace.
#[derive(Debug)]
pub struct Watch {
    name: String,
    log: PathBuf,
}

impl Watch {
    /// Starts to watch `namespace`; `role` names the process and its log.
    pub fn start(processes: &mut Processes, namespace: &Namespace, role: &str) -> Result<Self> {
        let name = format!("kernel-{role}");
        let arguments = ["-ts", "-o", "monitor", "link", "address"];
        processes.start(&name, namespace, &IP.require()?, &arguments)?;
        let log = processes.log(&name);
        Ok(Self { name, log })
    }

    /// All events so far, oldest first.
    pub fn events(&self) -> Result<Vec<Event>> {
        let text = std::fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Waits for the first report of `change` at or after `since`, and returns its time.
    pub fn wait_for(
        &self,
        processes: &mut Processes,
        change: &Change,
        since: Timestamp,
        patience: Duration,
    ) -> Result<Timestamp> {
        wait::until(
            &format!("the kernel's report of {change:?}"),
            patience,
            || {
                processes.check(&self.name)?;
                let events = self.events()?;
                let found = events
                    .iter()
                    .find(|event| event.at >= since && event.change == *change);
                Ok(found.map(|event| event.at))
            },
        )
    }
}

/// Reads one line of `ip -ts -o monitor link address`.
fn parse(line: &str) -> Option<Event> {
    let (time, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let at: DateTime = time.parse().ok()?;
    // The monitor runs with TZ=UTC.
    let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let (deleted, rest) = match rest.strip_prefix("Deleted ") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (index, rest) = rest.split_once(": ")?;
    index.parse::<u32>().ok()?;
    let mut words = rest.split_whitespace();
    let first = words.next()?;
    if let Some(device) = first.strip_suffix(':') {
        // Link: `3: pn0@x: <FLAGS> … state UP …`; the peer's name is no part of the device's.
        let device = device.split('@').next()?.to_owned();
        let change = match (deleted, state(words)?) {
            (true, _) => Change::LinkGone(device),
            (false, "UP" | "UNKNOWN") => Change::LinkUp(device),
            (false, _) => Change::LinkDown(device),
        };
        return Some(Event { at, change });
    }
    let device = first.to_owned();
    let family = words.next()?;
    if family != "inet" {
        return None;
    }
    let address = words.next()?.split('/').next()?.to_owned();
    let change = if deleted {
        Change::AddressGone(device, address)
    } else {
        Change::AddressSet(device, address)
    };
    Some(Event { at, change })
}

/// The word after `state`.
fn state<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words.find(|word| *word == "state")?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(line: &str) -> Option<Change> {
        parse(line).map(|event| event.change)
    }

    #[test]
    fn recorded_lines_are_read() {
        // Recorded with iproute2 6.1 on Linux 6.18.
        let lost = "[2026-11-20T09:58:40.850196] Deleted 3: pn0    inet 172.16.0.2/22 scope global dynamic pn0\\       valid_lft 0sec preferred_lft 0sec";
        let event = parse(lost).unwrap();
        assert_eq!(event.at.to_string(), "2026-11-20T09:58:40.850196Z");
        assert_eq!(
            event.change,
            Change::AddressGone("pn0".into(), "172.16.0.2".into())
        );
        for (line, expected) in [
            (
                "[2026-11-20T09:58:41.080684] Deleted 3: pn0@NONE: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN group default \\    link/ether 82:40:4d:cc:a9:a1 brd ff:ff:ff:ff:ff:ff",
                Some(Change::LinkGone("pn0".into())),
            ),
            (
                "[2026-11-20T09:58:38.576737] 3: pn0@x: <NO-CARRIER,BROADCAST,MULTICAST,UP,M-DOWN> mtu 1500 qdisc noqueue state LOWERLAYERDOWN group default \\    link/ether 82:40:4d:cc:a9:a1 brd ff:ff:ff:ff:ff:ff",
                Some(Change::LinkDown("pn0".into())),
            ),
            (
                "[2026-11-20T09:58:38.573306] 3: pn0@x: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default \\    link/ether 82:40:4d:cc:a9:a1 brd ff:ff:ff:ff:ff:ff",
                Some(Change::LinkUp("pn0".into())),
            ),
            (
                "[2026-11-20T09:58:38.574896] 3: pn0    inet 172.16.0.2/22 scope global dynamic pn0\\       valid_lft 2sec preferred_lft 2sec",
                Some(Change::AddressSet("pn0".into(), "172.16.0.2".into())),
            ),
            (
                "[2026-11-20T09:58:40.497682] 3: pn0    inet6 fe80::8040:4dff:fecc:a9a1/64 scope link \\       valid_lft forever preferred_lft forever",
                None,
            ),
            ("", None),
            ("[now] 3: pn0", None),
            ("[2026-11-20T09:58:40.497682] Deleted", None),
        ] {
            assert_eq!(change(line), expected, "{line}");
        }
    }
}
