//! Mac hosts: what macOS says of the PN leg and of its packet filter.
//!
//! [`parse`] reads the outputs of Apple's own commands: pure, bounded, total, tested everywhere.
//! [`facts`] puts them together, in a process without rights ([`apart`]). What runs commands and
//! opens sockets is `live`, which only a Mac compiles; [`crate::os`] chooses it.

pub mod apart;
pub mod facts;
#[cfg(target_os = "macos")]
pub(crate) mod live;
pub mod parse;
