//! What VM, parser and host say to one another, with the bounds of each message. Pure.
//!
//! A VM is told targets without names: a number, an address, a port. It tells outcomes by those
//! numbers. No message of a VM holds a name, a path or a text that anybody else would ever read.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use pnwatch_core::outcome::{Layer, Outcome};
use serde::{Deserialize, Serialize};

/// Version of what VM and relay say.
pub const VERSION: u32 = 1;
/// Largest message of a VM, bytes.
pub const MAX_BODY: usize = 8 << 10;
/// Largest line between parser and host, bytes.
pub const MAX_LINE: usize = 16 << 10;
/// Most outcomes in one message.
pub const MAX_SEEN: usize = 32;
/// Most targets that a VM is told at once: with its control they are through in 4 s at two checks
/// a second, before evidence is stale.
pub const MAX_TARGETS: usize = 6;
/// Oldest outcome that counts, microseconds.
pub const MAX_AGE_US: u64 = 10_000_000;
/// Where a VM posts what it saw.
pub const TELL: &str = "/v1/vm";
/// Where `pnwatch once` posts what a job was handed.
pub const HANDED: &str = "/v1/vm/once";

/// What a VM is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// Format version.
    pub version: u32,
    /// Changes with the content; what is told names it.
    pub number: u64,
    /// Mixed into the digest of a tenant's name.
    pub salt: String,
    /// What to check.
    pub targets: Vec<Numbered>,
    /// What must answer when the PN does not.
    pub control: Vec<SocketAddr>,
    /// Check nothing: the host's connection states are half used up.
    #[serde(default)]
    pub hold: bool,
}

/// A target without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// Its number in this host's briefs.
    pub id: u32,
    /// Where it is.
    pub at: SocketAddrV4,
}

/// What a VM saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Format version.
    pub version: u32,
    /// Chosen by the agent at its start: its numbers count within it.
    pub run: u64,
    /// Counts up by one per message.
    pub seq: u64,
    /// The brief that was followed.
    pub brief: u64,
    /// The VM ends.
    #[serde(default)]
    pub stopping: bool,
    /// Outcomes, oldest first.
    #[serde(default)]
    pub seen: Vec<VmSeen>,
}

/// One outcome in a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSeen {
    /// The target's number; `None` = the control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The layer.
    pub layer: Layer,
    /// What was seen.
    pub outcome: Outcome,
    /// Microseconds since the check started.
    pub age_us: u64,
    /// Round trip, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    /// The salted digest of the tenant that answered ([`pnwatch_core::digest::salted`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// What a job was handed, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// Format version.
    pub version: u32,
    /// The endpoint, where it was an address; a name is nobody's business here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<SocketAddrV4>,
    /// What came of it; not applicable = nothing was handed.
    pub outcome: Outcome,
}

/// Why a message of a VM is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TalkError {
    /// Not JSON of this shape.
    #[error("the message does not read: {0}")]
    Json(String),
    /// Another version.
    #[error("the message has version {0}, this relay reads {VERSION}; update the VM's image")]
    Version(u32),
    /// Too many outcomes.
    #[error("the message has {0} outcomes, at most {MAX_SEEN} are read")]
    TooMany(usize),
    /// A digest that is none.
    #[error("a tenant's digest has 16 hexadecimal digits")]
    Digest,
}

fn json(error: &serde_json::Error) -> TalkError {
    TalkError::Json(error.to_string().chars().take(120).collect())
}

impl Told {
    /// Reads and checks a message. Total.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TalkError> {
        let told: Self = serde_json::from_slice(bytes).map_err(|e| json(&e))?;
        told.check()?;
        Ok(told)
    }

    /// Whether it keeps to its bounds.
    pub fn check(&self) -> Result<(), TalkError> {
        if self.version != VERSION {
            return Err(TalkError::Version(self.version));
        }
        if self.seen.len() > MAX_SEEN {
            return Err(TalkError::TooMany(self.seen.len()));
        }
        let digests = self.seen.iter().filter_map(|seen| seen.tenant.as_ref());
        let is_digest = |d: &String| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit());
        if digests.into_iter().any(|d| !is_digest(d)) {
            return Err(TalkError::Digest);
        }
        Ok(())
    }
}

impl Handed {
    /// Reads and checks a message. Total.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TalkError> {
        let handed: Self = serde_json::from_slice(bytes).map_err(|e| json(&e))?;
        if handed.version != VERSION {
            return Err(TalkError::Version(handed.version));
        }
        Ok(handed)
    }
}

/// What the parser tells the host: one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromParser {
    /// A VM told what it saw.
    Told {
        /// The address it came from.
        peer: Ipv4Addr,
        /// What it said, checked.
        told: Told,
    },
    /// A job told what it was handed.
    Handed {
        /// The address it came from.
        peer: Ipv4Addr,
        /// What it said.
        handed: Handed,
    },
    /// Connections and messages that were turned away since the last line of this kind.
    Refused {
        /// How many.
        count: u64,
    },
}

impl FromParser {
    /// Reads one line; what breaks a bound is an error.
    pub fn from_line(line: &[u8]) -> Result<Self, TalkError> {
        let read: Self = serde_json::from_slice(line).map_err(|e| json(&e))?;
        if let Self::Told { told, .. } = &read {
            told.check()?;
        }
        Ok(read)
    }
}

/// One line of anything. Plain numbers and words always serialize.
pub fn line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
#[path = "talk_tests.rs"]
mod tests;
