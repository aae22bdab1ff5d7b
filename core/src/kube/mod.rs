//! Kubernetes objects, reduced to what matters, as an index: changes in, one value out.
//!
//! The control plane was blind because every object was correct but stale. So all of them are
//! read here and none is believed: [`Index::judge`] gives the inventory that they add up to,
//! and a diagnosis for everything in which they contradict one another or stand still.
//!
//! Nothing here speaks to a server. A shell reduces objects to the plain structs of [`object`]
//! (every field may be missing) and passes changes on. A kind that targets are made of and
//! that has never been listed completely holds the inventory back (an empty cache is not "all gone"), unless it is refused
//! for good (403, 404); then the finding names it and the others go on. A kind that fails later keeps what
//! it last showed.

mod check;
pub mod condition;
mod derive;
mod excuse;
pub mod gateway;
mod index;
mod marks;
pub mod object;
mod settings;
mod shelf;
mod view;

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

use crate::diagnosis::Diagnosis;
use crate::inventory::Inventory;
use crate::name::{Account, Host, Instance, Node};
use crate::time::Timestamp;

pub use self::index::{Change, Index};
pub use self::object::Kind;
pub use self::settings::{Names, Profile, Settings, Times};

/// What the objects add up to, at one instant; by default, before anything is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// What should exist; `None` until every kind was listed once or refused for good.
    pub inventory: Option<Inventory>,
    /// Where the objects contradict one another, stand still, or cannot be read.
    pub diagnoses: Vec<Diagnosis>,
    /// Cache pods whose metrics can be scraped.
    pub scrapes: Vec<Scrape>,
    /// The https gateways that are handed out.
    pub gateways: Vec<Gateway>,
    /// Running runner VMs per Mac host. A VM alone is no demand.
    pub runners: BTreeMap<Host, usize>,
    /// Since when at least one kind is not fresh; `None` = all are.
    pub stale_since: Option<Timestamp>,
    /// The kinds that are not fresh.
    pub stale: Vec<Kind>,
}

/// A cache pod's metrics endpoint, inside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scrape {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Its address inside the cluster.
    pub address: IpAddr,
    /// The port named `http`.
    pub port: u16,
    /// Path of the metrics.
    pub path: String,
    /// Its account, where a label names one.
    pub account: Option<Account>,
    /// Its instance, where a label names one.
    pub instance: Option<Instance>,
    /// The node that runs it.
    pub node: Option<Node>,
    /// Whether Kubernetes says Ready.
    pub ready: bool,
}

/// An https gateway that is handed out: its name must resolve to `address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The account.
    pub account: Account,
    /// The instance.
    pub instance: Instance,
    /// The node that must answer.
    pub node: Node,
    /// The name to resolve, and for SNI.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The PN address that the name must resolve to.
    pub address: Ipv4Addr,
}

#[cfg(test)]
mod tests;
