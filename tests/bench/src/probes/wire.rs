//! Two namespaces with one wire between them, both without a way out.
//!
//! The near end belongs to who probes, the far end to the peer that answers. Names carry the
//! process id; dropping the wire removes both namespaces with everything in them.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The device at either end.
pub(super) const DEVICE: &str = "pn0";
/// The address of who probes. The range is for benchmarks (RFC 2544), and dialled nowhere else.
pub(super) const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Its MAC.
pub(super) const MAC: &str = "02:00:00:00:00:01";
/// The range of the wire.
pub(super) const RANGE: &str = "198.18.0.0/15";
/// The half of it that the peer answers for, every address.
const FAR: &str = "198.19.0.0/16";

/// Address number `n` of the peer.
pub(super) fn far(n: usize) -> Ipv4Addr {
    let base = u32::from(Ipv4Addr::new(198, 19, 0, 1));
    Ipv4Addr::from(base.wrapping_add(u32::try_from(n).unwrap_or(0)))
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Near,
    Far,
}

/// The two namespaces.
pub(super) struct Wire {
    near: String,
    far: String,
}

impl Wire {
    /// Makes both; needs root.
    pub(super) fn new() -> anyhow::Result<Self> {
        let id = std::process::id();
        let wire = Self {
            near: format!("pnb{id}n"),
            far: format!("pnb{id}f"),
        };
        let (near, far) = (&wire.near, &wire.far);
        ip(&format!("netns add {near}"))?;
        ip(&format!("netns add {far}"))?;
        ip(&format!(
            "link add {DEVICE} netns {near} type veth peer name {DEVICE} netns {far}"
        ))?;
        ip(&format!("-n {near} link set {DEVICE} address {MAC}"))?;
        for name in [near, far] {
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set {DEVICE} up"))?;
        }
        ip(&format!("-n {near} addr add {NEAR}/15 dev {DEVICE}"))?;
        ip(&format!("-n {far} addr add 198.18.0.2/15 dev {DEVICE}"))?;
        // Every address of the half is the peer's own: it answers ARP for all of them.
        ip(&format!("-n {far} route add local {FAR} dev {DEVICE}"))?;
        for name in [near, far] {
            // Ten thousand targets on 400 addresses: ports and neighbours must not run out.
            sysctl(name, "net.ipv4.ip_local_port_range=10000 65000")?;
        }
        Ok(wire)
    }

    fn name(&self, end: End) -> &str {
        match end {
            End::Near => &self.near,
            End::Far => &self.far,
        }
    }

    /// Runs `work` on a thread inside the namespace; what it starts is inside too.
    pub(super) fn inside<T: Send + 'static>(
        &self,
        end: End,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> JoinHandle<anyhow::Result<T>> {
        let path = format!("/run/netns/{}", self.name(end));
        std::thread::spawn(move || {
            let namespace = File::open(&path).with_context(|| path.clone())?;
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network)
                .with_context(|| format!("cannot enter {path}; run as root"))?;
            work()
        })
    }

    /// `command`, to be started inside the namespace.
    pub(super) fn command(&self, end: End, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(end)]).arg(program);
        command
    }

    /// Drops what comes for the peer's addresses from `first` on, without an answer.
    pub(super) fn black_hole(&self, first: Ipv4Addr, last: Ipv4Addr) -> anyhow::Result<()> {
        let rules = format!(
            "table inet hole {{ chain input {{ type filter hook input priority 0; ip daddr \
             {first}-{last} tcp dport 1-65535 drop; }}; }}"
        );
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.far, "nft", &rules]);
        run(&mut nft)
    }

    /// The peer answers again.
    pub(super) fn fill_holes(&self) -> anyhow::Result<()> {
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.far, "nft", "delete table inet hole"]);
        run(&mut nft)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            // Gone already is as good.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(arguments.split(' ')))
}

fn sysctl(namespace: &str, setting: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(["netns", "exec", namespace, "sysctl", "-qw", setting]))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
