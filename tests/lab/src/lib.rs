//! A private network in namespaces that really breaks, with pnwatch in it as it ships.
//!
//! The network ([`network`]) is real as far as one Linux machine allows: bridges, veth cables,
//! DHCP leases, `NodePorts` by nftables, translated VMs. Nothing in it has a route out. [`topology`]
//! holds every name and address.
//!
//! Everything runs on the main thread, one step after the other, but for the threads that live
//! inside a namespace. Whatever the lab made it removes on drop, so also on an error or a panic;
//! if it is killed, its children die with it and `pnwatch-lab down` removes the rest.

pub mod boards;
pub mod cluster;
pub mod command;
pub mod daemons;
pub mod delay;
pub mod dhcp;
pub mod download;
pub mod drills;
pub mod expect;
pub mod faults;
pub mod findings;
pub mod gate;
pub mod held;
pub mod host;
pub mod http;
pub mod judge;
pub mod kernel;
pub mod lab;
pub mod load;
pub mod matrix;
pub mod monitoring;
pub mod net;
pub mod network;
pub mod node;
pub mod pages;
pub mod pairs;
pub mod process;
pub mod report;
pub mod rights;
pub mod run;
pub mod second;
pub mod soak;
pub mod sockets;
pub mod stream;
pub mod topology;
pub mod up;
pub mod vms;
pub mod wait;
pub mod webhook;
