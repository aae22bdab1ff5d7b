//! The host's side: follows the bridge, keeps a parser, stamps what comes with a slot.
//!
//! One task that owns the [`Desk`]. It reads checked lines from the parser at a bounded pace; a
//! parser that breaks the bounds, or ends, is replaced. Nothing here waits for a VM.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use pnwatch_core::inventory::AccountTarget;
use pnwatch_core::link::{FilterFacts, Mac};
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};

use super::bridge::{self, Bridge};
use super::desk::Desk;
use super::evidence::VmNews;
use super::pace::Bucket;
use super::talk::{FromParser, MAX_LINE, line};
use super::{RelaySettings, RelayState, neighbours, spawn};
use crate::settings::fresh_boot_id;

/// How often the bridge is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// A parser that ended is replaced after this time.
const REPLACE: Duration = Duration::from_secs(1);
/// Lines of the parser that are read.
const PER_LINE: Duration = Duration::from_millis(20);
const LINE_BURST: u32 = 100;
/// How long a parser may take to take a brief over.
const BRIEF_WITHIN: Duration = Duration::from_secs(1);
/// How long a hardware address is taken as known.
const KNOWN_FOR: Duration = Duration::from_secs(1);
const MAX_KNOWN: usize = 64;
/// Shares of the host's connection states at which VMs stop checking and begin again, hundredths.
const HOLD_AT: u64 = 50;
const RELEASE_AT: u64 = 40;

/// What the task hears.
pub struct Ears {
    /// The plan's targets.
    pub targets: watch::Receiver<Arc<Vec<AccountTarget>>>,
    /// The host's packet filter.
    pub filter: watch::Receiver<Option<FilterFacts>>,
}

/// What the task tells.
pub struct Mouth {
    /// What VMs said.
    pub news: mpsc::Sender<VmNews>,
    /// How the relay is.
    pub state: watch::Sender<Option<RelayState>>,
}

/// A parser at work.
struct Parser {
    // Killed when it is dropped.
    child: Child,
    bridge: Bridge,
    lines: BufReader<OwnedReadHalf>,
    pipe: OwnedWriteHalf,
}

/// See the [module](self).
pub struct Relay {
    settings: RelaySettings,
    clock: SharedClock,
    desk: Desk,
    ears: Ears,
    mouth: Mouth,
    state: RelayState,
    known: BTreeMap<Ipv4Addr, (Option<Mac>, Tick)>,
    pace: Bucket,
    hold: bool,
    said: Option<String>,
}

impl Relay {
    /// Nothing is open yet.
    pub fn new(settings: RelaySettings, clock: SharedClock, ears: Ears, mouth: Mouth) -> Self {
        let now = clock.now().tick;
        let salt = || fresh_boot_id().unwrap_or_default();
        Self {
            desk: Desk::new(&settings.boot_id, settings.control.clone(), salt, now),
            settings,
            clock,
            ears,
            mouth,
            state: RelayState::default(),
            known: BTreeMap::new(),
            pace: Bucket::new(PER_LINE, LINE_BURST, now),
            hold: false,
            said: None,
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        loop {
            match bridge::find(self.settings.gateway.ip()) {
                None => self.say(format!(
                    "no device holds {}: the relay waits for the VMs' bridge",
                    self.settings.gateway.ip()
                )),
                Some(found) => match self.open(found) {
                    Ok(parser) => {
                        self.said = None;
                        self.serve(parser).await;
                        self.state.parsers_ended += 1;
                    }
                    Err(error) => self.say(format!(
                        "the relay cannot listen on {}: {error}; is the port taken?",
                        self.settings.gateway
                    )),
                },
            }
            self.state.open = false;
            self.publish();
            tokio::time::sleep(REPLACE).await;
        }
    }

    /// Says one thing once.
    fn say(&mut self, what: String) {
        if self.said.as_ref() != Some(&what) {
            tracing::info!("{what}");
            self.said = Some(what);
        }
    }

    fn open(&self, bridge: Bridge) -> io::Result<Parser> {
        let listener = bridge::listen(self.settings.gateway, &bridge)?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let child = spawn::parser(&self.settings, listener, theirs)?;
        ours.set_nonblocking(true)?;
        let (read, pipe) = UnixStream::from_std(ours)?.into_split();
        tracing::info!(bridge = %bridge.name, gateway = %self.settings.gateway, "the relay is open for VMs");
        Ok(Parser {
            child,
            bridge,
            lines: BufReader::with_capacity(MAX_LINE, read),
            pipe,
        })
    }

    /// Serves until the bridge goes, or the parser does.
    async fn serve(&mut self, mut parser: Parser) {
        self.state.open = true;
        let targets = self.ears.targets.borrow_and_update().clone();
        self.desk.set_targets(&targets);
        if !self.issue(&mut parser).await {
            return;
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut text = Vec::new();
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let now = bridge::find(self.settings.gateway.ip());
                    if now.as_ref() != Some(&parser.bridge) {
                        tracing::info!(bridge = %parser.bridge.name, "the VMs' bridge is gone: the relay closes");
                        return;
                    }
                    self.publish();
                    if self.desk.turn(self.clock.now().tick) && !self.issue(&mut parser).await {
                        return;
                    }
                }
                Ok(()) = self.ears.targets.changed() => {
                    let targets = self.ears.targets.borrow_and_update().clone();
                    if self.desk.set_targets(&targets) && !self.issue(&mut parser).await {
                        return;
                    }
                }
                Ok(()) = self.ears.filter.changed() => {
                    self.weigh_states();
                    if self.desk.set_hold(self.hold) && !self.issue(&mut parser).await {
                        return;
                    }
                }
                ended = parser.child.wait() => {
                    tracing::warn!(?ended, "the relay's parser ended; another one takes its place");
                    return;
                }
                read = read_line(&mut parser.lines, &mut text) => {
                    if !read {
                        tracing::warn!("the relay's parser broke a bound or closed its line; another one takes its place");
                        return;
                    }
                    self.hear(&text).await;
                    text.clear();
                }
            }
        }
    }

    /// Hands a new brief out; whether the parser took it.
    async fn issue(&mut self, parser: &mut Parser) -> bool {
        let brief = line(&self.desk.brief());
        let written = tokio::time::timeout(BRIEF_WITHIN, parser.pipe.write_all(&brief)).await;
        matches!(written, Ok(Ok(())))
    }

    /// Whether the host has states to spare for checks that nobody asked for.
    fn weigh_states(&mut self) {
        let facts = self.ears.filter.borrow_and_update().clone();
        let Some(used) = facts.and_then(|facts| facts.states_used()) else {
            self.hold = false;
            return;
        };
        let hold = used >= if self.hold { RELEASE_AT } else { HOLD_AT };
        if hold != self.hold {
            tracing::info!(
                used,
                hold,
                "connection states of this host, hundredths of their limit: VMs check or rest"
            );
        }
        self.hold = hold;
    }

    async fn hear(&mut self, text: &[u8]) {
        // What waits in the pipe holds the parser up, and the parser its VMs.
        while let Err(wait) = self.pace.take(self.clock.now().tick) {
            tokio::time::sleep(wait).await;
        }
        let now = self.clock.now().tick;
        let news = match FromParser::from_line(text) {
            Ok(FromParser::Told { peer, told }) => {
                let mac = self.mac_of(peer, now);
                let heard = self.desk.hear(peer, mac, &told, now);
                heard.map(VmNews::Heard)
            }
            Ok(FromParser::Handed { handed, .. }) => {
                let counted = self.desk.handed(&handed, now);
                counted.map(|(outcome, known)| VmNews::Handed(outcome, known))
            }
            Ok(FromParser::Refused { count }) => {
                self.state.refused = self.state.refused.saturating_add(count);
                None
            }
            Err(_) => {
                self.desk.dropped += 1;
                None
            }
        };
        if let Some(news) = news {
            // A loop that is busy is not to be flooded: what does not fit is lost.
            if self.mouth.news.try_send(news).is_err() {
                self.desk.dropped += 1;
            }
        }
    }

    fn mac_of(&mut self, peer: Ipv4Addr, now: Tick) -> Option<Mac> {
        if let Some((mac, at)) = self.known.get(&peer)
            && now.since(*at) < KNOWN_FOR
        {
            return *mac;
        }
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let mac = neighbours::mac_of(peer, &self.settings.leases);
        self.known.insert(peer, (mac, now));
        mac
    }

    fn publish(&mut self) {
        let (vms, shared) = self.desk.count(self.clock.now().tick);
        if shared && !self.state.shared {
            tracing::warn!(
                "VMs on this host cannot be told apart by their hardware addresses: they share one slot, and what they miss is no evidence"
            );
        }
        self.state.vms = vms;
        self.state.shared = shared;
        self.state.dropped = self.desk.dropped;
        self.mouth.state.send_replace(Some(self.state));
    }
}

/// Reads one line of at most [`MAX_LINE`]; whether there was one. Cancel-safe: what was read of
/// it stays in `text`.
async fn read_line(lines: &mut BufReader<OwnedReadHalf>, text: &mut Vec<u8>) -> bool {
    loop {
        let Ok(bytes) = lines.fill_buf().await else {
            return false;
        };
        if bytes.is_empty() {
            return false;
        }
        let end = bytes.iter().position(|b| *b == b'\n');
        let taken = end.map_or(bytes.len(), |at| at + 1);
        if text.len() + taken > MAX_LINE {
            return false;
        }
        text.extend_from_slice(&bytes[..taken]);
        lines.consume(taken);
        if end.is_some() {
            return true;
        }
    }
}
