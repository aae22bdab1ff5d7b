//! The relay: where the VMs of a host tell what they see.
//!
//! A VM runs a customer's code. It has no credential, no name, and no way to an exporter; it
//! talks to its host alone, on the gateway address of its own network. The host reads nothing of
//! what it says: that is done by a process without rights ([`parser`]), which passes checked
//! numbers on. The host stamps them with a slot ([`slots`]), turns the numbers that it handed out
//! itself into targets ([`desk`]), and forwards the rest in its own report.
//!
//! ```text
//! VM ── HTTP on the gateway ──► parser (nobody, bounded) ── lines ──► desk ──► the host's report
//! ```

pub mod bridge;
pub mod desk;
pub mod evidence;
pub mod host;
pub mod neighbours;
pub mod nft;
pub mod pace;
pub mod parser;
pub mod slots;
mod spawn;
pub mod talk;

use core::net::SocketAddr;
use std::path::PathBuf;

use pnwatch_core::link::Cidr;
use pnwatch_edge::config::Relay as Config;

use crate::unprivileged::own_program;

/// What the relay needs.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Where it listens.
    pub gateway: SocketAddr,
    /// Whom it answers.
    pub vms: Cidr,
    /// The lease table.
    pub leases: PathBuf,
    /// The nft table that is read, on Linux.
    pub filter_table: Option<String>,
    /// What VMs are told to reach besides the PN.
    pub control: Vec<SocketAddr>,
    /// Changes with every start of the prober.
    pub boot_id: String,
    /// The program whose `relay-parser` is started.
    pub program: PathBuf,
}

impl RelaySettings {
    /// From the configuration; `control` and `boot_id` are the prober's own.
    pub fn new(config: &Config, control: Vec<SocketAddr>, boot_id: String) -> Self {
        Self {
            gateway: config.gateway,
            vms: config.vms,
            leases: config.leases.clone(),
            filter_table: config.filter_table.clone(),
            control,
            boot_id,
            program: own_program(),
        }
    }
}

/// How the relay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayState {
    /// It listens.
    pub open: bool,
    /// VMs that are heard.
    pub vms: usize,
    /// Some of them cannot be told apart.
    pub shared: bool,
    /// Connections that were turned away.
    pub refused: u64,
    /// Messages and outcomes that were dropped.
    pub dropped: u64,
    /// Parsers that ended, by themselves or with their bridge.
    pub parsers_ended: u64,
}
