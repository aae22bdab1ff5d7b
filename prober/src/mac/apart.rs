//! What Apple's commands say is read in a process without rights: a DHCP server's words stand in
//! it, and on a Mac the prober is root.
//!
//! One short process per reading: `pnwatch read-outputs`, started as nobody, takes a [`Question`]
//! as its input, gives an [`Answer`] as its output and ends. The prober believes of it no more
//! than it would of the network: sizes, names and addresses are checked again.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use pnwatch_core::filter::{FilterFacts, MAX_PORT_SPANS};
use pnwatch_core::link::{Cidr, DeviceState, LinkFacts, MAX_ADDRESSES};
use pnwatch_core::time::{Now, Tick, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::facts::{self, Anchors, LegOutputs, PfOutputs};
use super::parse::device;
use crate::link::Leg;
use crate::unprivileged;

/// Longest question: eight outputs of 256 KiB, each byte of which JSON may write as six.
const MAX_QUESTION: u64 = 13 << 20;
/// Longest answer: the most that facts can be.
const MAX_ANSWER: u64 = 64 << 10;
/// How long one reading may take, the start of the process included.
const WITHIN: Duration = Duration::from_secs(3);

/// Outputs, and whose they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    /// The PN device.
    pub device: String,
    /// The PN.
    #[serde(with = "as_text")]
    pub pn: Cidr,
    /// What was said of it.
    pub said: Said,
}

/// What was said.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Of the leg; see [`LegOutputs`].
    Leg {
        /// `ifconfig DEVICE`.
        ifconfig: String,
        /// The address that was looked up, and what `route` said.
        route: Option<(Ipv4Addr, String)>,
        /// `ipconfig getsummary DEVICE`.
        summary: String,
        /// The lease file.
        lease_file: String,
        /// When, in nanoseconds since the Unix epoch.
        wall: u64,
    },
    /// Of the packet filter; see [`PfOutputs`].
    Filter {
        /// `pfctl -s info`.
        info: Option<String>,
        /// `pfctl -s memory`.
        memory: Option<String>,
        /// `pfctl -s rules`.
        main: Option<String>,
        /// The rules of the VMs' anchor.
        rules: Option<String>,
        /// The table of the VMs' sources.
        sources: Option<String>,
        /// The NAT rules of the PN leg.
        nat: Option<String>,
        /// Standard error of all of them.
        errors: String,
    },
}

/// What is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The leg.
    Leg {
        /// The facts.
        facts: LinkFacts,
        /// Whether ARP has a meaning there.
        arp: bool,
    },
    /// The packet filter.
    Filter(FilterFacts),
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    /// The process did not start, or broke off.
    #[error("a process without rights could not read what macOS says: {0}")]
    System(#[from] io::Error),
    /// It took too long.
    #[error("a process without rights took longer than 3 s to read what macOS says")]
    Late,
    /// Its answer is not one.
    #[error("a process without rights gave an answer that is none; nothing of it is believed")]
    Answer,
    /// It was started by hand, or by a prober that could not lower its rights.
    #[error(
        "what macOS says must not be read with the rights of root; the prober starts this with those of nobody"
    )]
    Root,
}

/// Reads one question. Pure.
pub fn answer(question: &Question) -> Answer {
    let Question { device, pn, said } = question;
    match said {
        Said::Leg {
            ifconfig,
            route,
            summary,
            lease_file,
            wall,
        } => {
            let outputs = LegOutputs {
                ifconfig,
                route: route.as_ref().map(|(to, said)| (*to, said.as_str())),
                summary,
                lease_file,
            };
            let now = Now {
                tick: Tick::default(),
                wall: Timestamp::from_unix_nanos(*wall),
            };
            let leg = facts::leg((device, None), *pn, &outputs, now);
            let (facts, arp) = (leg.facts, leg.arp);
            Answer::Leg { facts, arp }
        }
        Said::Filter {
            info,
            memory,
            main,
            rules,
            sources,
            nat,
            errors,
        } => {
            let outputs = PfOutputs {
                info: info.as_deref(),
                memory: memory.as_deref(),
                main: main.as_deref(),
                rules: rules.as_deref(),
                sources: sources.as_deref(),
                nat: nat.as_deref(),
                errors,
            };
            Answer::Filter(facts::filter(&outputs, Anchors::default(), *pn, device))
        }
    }
}

/// `pnwatch read-outputs`: gives its rights up, reads one question, answers it, ends.
pub fn run() -> Result<(), ApartError> {
    if unprivileged::is_root() {
        return Err(ApartError::Root);
    }
    unprivileged::confine()?;
    let mut asked = Vec::new();
    io::stdin().take(MAX_QUESTION).read_to_end(&mut asked)?;
    let question = serde_json::from_slice(&asked).map_err(io::Error::from)?;
    let said = serde_json::to_vec(&answer(&question)).map_err(io::Error::from)?;
    io::stdout().write_all(&said)?;
    Ok(())
}

/// Has a question read by `program`. Cancel-safe: dropping it ends the process.
pub async fn ask(program: &Path, question: &Question) -> Result<Answer, ApartError> {
    let asked = serde_json::to_vec(question).map_err(io::Error::from)?;
    let mut command = Command::new(program);
    command
        .arg("read-outputs")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    unprivileged::as_nobody(&mut command);
    let mut child = command.spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(ApartError::Answer);
    };
    let mut said = Vec::new();
    let talk = async {
        input.write_all(&asked).await?;
        drop(input);
        output.take(MAX_ANSWER + 1).read_to_end(&mut said).await
    };
    tokio::time::timeout(WITHIN, talk)
        .await
        .map_err(|_| ApartError::Late)??;
    if said.len() as u64 > MAX_ANSWER {
        return Err(ApartError::Answer);
    }
    let answer = serde_json::from_slice(&said).map_err(|_| ApartError::Answer)?;
    if is_possible(question, &answer) {
        Ok(answer)
    } else {
        Err(ApartError::Answer)
    }
}

/// Whether the reader of `question` could have given this answer.
pub fn is_possible(question: &Question, answer: &Answer) -> bool {
    let named = |name: &Option<String>| name.as_deref().is_none_or(|name| device(name).is_some());
    match (&question.said, answer) {
        (Said::Leg { route, .. }, Answer::Leg { facts, .. }) => {
            let asked = route.as_ref().map(|(to, _)| *to);
            facts.device == question.device
                && facts.addresses.len() <= MAX_ADDRESSES
                && facts.addresses.iter().all(|held| held.prefix_len <= 32)
                && facts.route.as_ref().map(|route| route.to) == asked
                && facts
                    .route
                    .as_ref()
                    .is_none_or(|route| named(&route.device))
                && facts.filter.is_none()
        }
        (Said::Filter { .. }, Answer::Filter(facts)) => {
            facts.ports.len() <= MAX_PORT_SPANS && named(&facts.nat_device) && facts.age_s == 0
        }
        _ => false,
    }
}

/// The leg of an answer, as it stands on this machine.
pub fn leg(facts: LinkFacts, arp: bool, index: Option<u32>, pn: Cidr, now: Now) -> Leg {
    let present = facts.state != DeviceState::Absent;
    Leg {
        index: index.filter(|_| present),
        arp,
        source: facts.pn_address(pn).map(|held| held.address),
        facts,
        read_at: now.tick,
        since: now.tick,
    }
}

/// A network as people write it.
mod as_text {
    use pnwatch_core::link::Cidr;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature serde asks for"
    )]
    pub(super) fn serialize<S: Serializer>(network: &Cidr, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(network)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Cidr, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}
