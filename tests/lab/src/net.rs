//! Network namespaces that the lab owns, and what is put into them.
//!
//! Names carry the process id (`pl<pid>-node`), so that labs do not meet and nothing foreign is
//! ever touched. [`Namespaces`] deletes what it created when it is dropped.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::{IP, NFT};

/// Where iproute2 keeps named namespaces (ip-netns(8)).
const NETNS_DIR: &str = "/run/netns";

/// Where files are kept that a namespace has instead of those in `/etc`.
const NETNS_FILES: &str = "/etc/netns";

/// One named network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Its name as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip -n NAMESPACE` with the words of `line`.
    pub fn ip(&self, line: &str) -> Result<String> {
        let words = ["-n", &self.name]
            .into_iter()
            .chain(line.split_whitespace());
        Ok(IP.run(words, "")?)
    }

    /// Loads an nft script; the whole of it takes effect at one instant, or none of it.
    pub fn nft(&self, script: &str) -> Result<()> {
        let words = ["netns", "exec", &self.name, NFT.name, "-f", "-"];
        IP.run(words, script)
            .with_context(|| format!("the nft script was:\n{script}"))?;
        Ok(())
    }

    /// Sets a value below `/proc/sys/net`, e.g. `ipv4/ip_forward`.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        let file = format!("/proc/sys/net/{key}");
        self.inside(|| std::fs::write(&file, value))?
            .with_context(|| format!("cannot set {file} to {value} in {}", self.name))
    }

    /// Runs `work` on a thread of its own inside this namespace. Sockets that it opens stay in
    /// the namespace, wherever they are used afterwards.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread inside {} panicked", self.name)))
        })
    }

    /// Moves the calling thread into this namespace, for good.
    pub fn enter(&self) -> Result<()> {
        let path = PathBuf::from(NETNS_DIR).join(&self.name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter the namespace {}", self.name))
    }

    /// Names that programs started in this namespace from now on resolve; while they run, a
    /// change reaches them at once. `ip netns exec` puts the file over `/etc/hosts` (ip-netns(8)).
    pub fn set_hosts(&self, lines: &[(&str, std::net::Ipv4Addr)]) -> Result<()> {
        let dir = PathBuf::from(NETNS_FILES).join(&self.name);
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (name, address) in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{address} {name}");
        }
        // In place: what is running sees this file, not this name.
        let file = dir.join("hosts");
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Adds a bridge without spanning tree and brings it up.
    pub fn add_bridge(&self, bridge: &str) -> Result<()> {
        self.ip(&format!(
            "link add {bridge} type bridge stp_state 0 forward_delay 0"
        ))?;
        self.ip(&format!("link set {bridge} up"))?;
        Ok(())
    }
}

/// One end of a virtual cable, to be plugged into a bridge of another namespace.
#[derive(Debug, Clone)]
pub struct Cable<'a> {
    /// The machine that gets the device.
    pub machine: &'a Namespace,
    /// The device's name there.
    pub device: &'a str,
    /// The device's hardware address.
    pub mac: &'a str,
    /// The namespace that holds the bridge.
    pub switch: &'a Namespace,
    /// The bridge.
    pub bridge: &'a str,
    /// The name of the bridge's port.
    pub port: &'a str,
}

impl Cable<'_> {
    /// Plugs it in; both ends are up afterwards.
    pub fn plug(&self) -> Result<()> {
        let Self {
            machine,
            device,
            mac,
            switch,
            bridge,
            port,
        } = self;
        let machine_name = machine.name();
        switch.ip(&format!(
            "link add {port} type veth peer name {device} address {mac} netns {machine_name}"
        ))?;
        switch.ip(&format!("link set {port} master {bridge} up"))?;
        machine.ip(&format!("link set {device} up"))?;
        Ok(())
    }
}

/// The namespaces of one lab; deleted on drop.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    names: Vec<String>,
}

impl Namespaces {
    /// None yet. Every name will begin with `prefix` and a dash.
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            names: Vec::new(),
        }
    }

    /// Creates one, with its loopback device up.
    pub fn create(&mut self, role: &str) -> Result<Namespace> {
        let name = format!("{}-{role}", self.prefix);
        IP.run(["netns", "add", &name], "")
            .context("cannot create a network namespace; the lab needs root")?;
        self.names.push(name.clone());
        let namespace = Namespace { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The names of those that exist.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in self.names.drain(..) {
            if let Err(error) = delete(&name) {
                eprintln!("pnwatch-lab: {error:#}; delete it by hand: ip netns del {name}");
            }
        }
    }
}

/// Deletes the namespace `name`; one that is gone already is fine.
pub fn delete(name: &str) -> Result<()> {
    let files = PathBuf::from(NETNS_FILES).join(name);
    if files.exists() {
        std::fs::remove_dir_all(&files)
            .with_context(|| format!("cannot remove {}", files.display()))?;
    }
    if !PathBuf::from(NETNS_DIR).join(name).exists() {
        return Ok(());
    }
    IP.run(["netns", "del", name], "")?;
    Ok(())
}

/// The names of all namespaces of the machine.
pub fn list() -> Result<Vec<String>> {
    // One per line, followed by an id where it has one.
    let listed = IP.run(["netns", "list"], "")?;
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}
