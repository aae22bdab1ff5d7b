//! The part that only a Mac can run: sockets, BPF, Apple's commands. Small on purpose: what
//! can be decided without a Mac is decided in [`super::parse`] and [`super::facts`].

pub(crate) mod command;
pub(crate) mod devices;
pub(crate) mod follow;
pub(crate) mod packets;
pub(crate) mod socket;
