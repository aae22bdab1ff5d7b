//! The dead man's heartbeat: an alert that fires as long as this cluster is being watched, and
//! ends by itself when it is not.
//!
//! One task per Alertmanager. A replica beats while its engine answers and a vantage reports to
//! it; so the alert stops only when the last such replica is gone, and a dead man's switch
//! behind Alertmanager then calls somebody. Before each beat the task looks who beat last, and
//! more often while it hears no host and no VM: [`Peer`] knows whether another replica still does.
//! A replica that is blind while another one is not is itself cut off, and has nothing to say of
//! the cluster.
//!
//! Dropping the task ends the beat; Alertmanager ends the alert [`LIFE`] beats later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use pnwatch_core::name::Cluster;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::http::Client;
use serde::Deserialize;

use super::push::Jitter;
use super::wire::{Alert, Labels};
use crate::owner::Handle;

/// Name of the alert.
pub const ALERTNAME: &str = "PNHeartbeat";
/// The annotation that says whom the replica hears, and what it says of one that is not blind.
const HEARS: &str = "hears";
const CLIENTS: &str = "hosts or VMs";
/// For how many beats Alertmanager believes one.
const LIFE: u32 = 6;
/// The first beats come four times as fast, so that replicas soon know of one another.
const FIRST: u32 = 4;
/// A replica that finds its own beat the last one so often in a row is alone: see
/// [`Heartbeat::pause`].
const ALONE: u32 = 2;
/// Most alerts that are read of an answer; there is one.
const MOST: usize = 16;

/// Whether another replica beats. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Peer(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Until when another one counts as sighted, in nanoseconds of [`Tick`].
    until: AtomicU64,
    /// Since when this replica is blind, likewise; 0 = it is not.
    blind_since: AtomicU64,
    /// There may be another one.
    company: AtomicBool,
    /// Between two beats at the most, in nanoseconds.
    every: AtomicU64,
}

impl Peer {
    /// Whether another replica sees for the cluster at `now`; `blind` = this one hears no host
    /// and no VM.
    /// Where there may be another, its next beat is waited for.
    pub fn is_outvoicing(&self, blind: bool, now: Tick) -> bool {
        let known = &self.0;
        if !blind {
            known.blind_since.store(0, Relaxed);
            return false;
        }
        let at = now.as_nanos().max(1);
        let since = match known.blind_since.load(Relaxed) {
            0 => {
                known.blind_since.store(at, Relaxed);
                at
            }
            since => since,
        };
        let waits = known.company.load(Relaxed) && at - since.min(at) < self.fresh();
        waits || now < Tick::from_nanos(known.until.load(Relaxed))
    }

    /// For how long a beat counts: until the next, and half of that for its way.
    fn fresh(&self) -> u64 {
        self.0.every.load(Relaxed).saturating_mul(3) / 2
    }

    /// Beats come every `every` from now on, and it is not known yet who else beats.
    fn begin(&self, every: Duration) {
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        self.0.every.store(every, Relaxed);
        self.0.company.store(true, Relaxed);
    }

    fn sighted(&self, now: Tick) {
        let until = now.after(Duration::from_nanos(self.fresh()));
        self.0.until.store(until.as_nanos(), Relaxed);
    }

    fn set_company(&self, company: bool) {
        self.0.company.store(company, Relaxed);
    }
}

/// Everything that one heartbeat works with.
pub struct Heartbeat {
    /// The base URL and `/api/v2/alerts`.
    pub url: String,
    /// The client with its token, authority and timeout.
    pub client: Arc<Client>,
    /// The engine.
    pub engine: Handle,
    /// Which network.
    pub cluster: Cluster,
    /// Names this run of this replica; told in the annotation `replica`.
    pub replica: String,
    /// Between two beats.
    pub every: Duration,
    /// Time.
    pub clock: SharedClock,
    /// Where the pauses' randomness comes from.
    pub jitter: Arc<dyn Jitter>,
    /// Who else beats.
    pub peer: Peer,
}

/// An alert as Alertmanager lists it (`gettableAlert` in its `api/v2/openapi.yaml`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    updated_at: String,
}

/// What a look at Alertmanager says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Another replica that sees has beaten since the last look.
    Another,
    /// Nobody else has.
    Nobody,
}

/// Who beat last, as far as this replica has seen.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Option<String>,
    /// So many looks in a row found nobody else, each after an own beat.
    alone: u32,
}

impl Watch {
    pub(crate) fn look(&mut self, listed: &[Listed], own: &str) -> Look {
        let last = listed.iter().take(MOST).next();
        let Some((last, by)) = last.and_then(|l| Some((l, l.annotations.get("replica")?))) else {
            return Look::Nobody;
        };
        // Alertmanager's clock is told and never compared: only that it changed counts.
        let news = self.seen.as_ref() != Some(&last.updated_at);
        self.seen = Some(last.updated_at.clone());
        if by != own {
            self.alone = 0;
            let sees = last.annotations.get(HEARS).is_some_and(|it| it == CLIENTS);
            return if news && sees {
                Look::Another
            } else {
                Look::Nobody
            };
        }
        self.alone = self.alone.saturating_add(u32::from(news));
        Look::Nobody
    }
}

impl Heartbeat {
    /// Runs for ever.
    pub async fn run(self) {
        let started = self.clock.now().wall;
        self.peer.begin(self.every);
        let mut watch = Watch::default();
        let (mut failing, mut beats) = (false, 0);
        loop {
            tokio::time::sleep(self.pause(beats)).await;
            self.look(&mut watch).await;
            // An engine that does not answer has no heartbeat.
            let Ok(snapshot) = self.engine.read().await else {
                continue;
            };
            let sees = !super::plan::is_blind(&snapshot.view);
            beats = if sees { beats.saturating_add(1) } else { 0 };
            if super::plan::is_silent(&snapshot.view) {
                continue;
            }
            let fails = !self.beat(started, sees).await;
            if fails && !failing {
                tracing::warn!(
                    alertmanager = self.url,
                    "the heartbeat does not arrive; the dead man's switch will call somebody"
                );
            }
            failing = fails;
        }
    }

    /// Until the next look. Never the same twice: of two replicas that beat in step, each would
    /// find its own beat the last one for ever. And never so different that another could beat
    /// once only in two pauses: who is alone twice in a row is alone.
    fn pause(&self, beats: u32) -> Duration {
        let every = if beats < FIRST {
            self.every / 4
        } else {
            self.every
        };
        every.mul_f64(0.7 + 0.3 * self.jitter.fraction())
    }

    async fn look(&self, watch: &mut Watch) {
        let Ok(listed) = self.listed().await else {
            return;
        };
        if watch.look(&listed, &self.replica) == Look::Another {
            self.peer.sighted(self.clock.now().tick);
        }
        self.peer.set_company(watch.alone < ALONE);
    }

    /// Whether the beat arrived.
    async fn beat(&self, started: Timestamp, sees: bool) -> bool {
        let beat = beat(
            &self.cluster,
            (&self.replica, sees),
            (started, self.every),
            self.clock.now(),
        );
        let body = Bytes::from(serde_json::to_vec(&[beat]).unwrap_or_default());
        let sent = self.client.post(&self.url, "application/json", None, body);
        sent.await.is_ok_and(|answer| answer.is_success())
    }

    async fn listed(&self) -> Result<Vec<Listed>, ()> {
        // Quotes and equals signs as RFC 3986 wants them; a cluster's name needs no escape.
        let url = format!(
            "{}?filter=alertname%3D%22{ALERTNAME}%22&filter=cluster%3D%22{}%22",
            self.url, self.cluster
        );
        let answer = self.client.get(&url).await.map_err(drop)?;
        if !answer.is_success() {
            return Err(());
        }
        listed(&answer.body).map_err(drop)
    }
}

/// The alerts of an answer. Total.
pub(crate) fn listed(bytes: &[u8]) -> Result<Vec<Listed>, serde_json::Error> {
    serde_json::from_slice(bytes)
}

fn beat(
    cluster: &Cluster,
    (replica, sees): (&str, bool),
    (started, every): (Timestamp, Duration),
    now: Now,
) -> Alert {
    Alert {
        labels: Labels::heartbeat(ALERTNAME, cluster),
        annotations: std::collections::BTreeMap::from([
            ("replica", replica.to_owned()),
            (HEARS, if sees { CLIENTS } else { "nodes alone" }.to_owned()),
            ("summary", format!("pnwatch watches {cluster}")),
            (
                "description",
                "This alert always fires. Send it to a dead man's switch that pages when it \
                 stops: then no exporter hears any prober, and no page would come."
                    .to_owned(),
            ),
        ]),
        // A clock that was set back must not start it in the future.
        starts_at: started.min(now.wall),
        ends_at: now.wall.after(every * LIFE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(replica: &str, updated_at: &str) -> Vec<Listed> {
        let text = format!(
            r#"[{{"annotations":{{"replica":"{replica}","hears":"hosts or VMs"}},"updatedAt":"{updated_at}","labels":{{}}}}]"#
        );
        listed(text.as_bytes()).unwrap()
    }

    fn at(second: u64) -> Tick {
        Tick::from_millis(second * 1000)
    }

    #[test]
    fn another_replica_is_news_once_per_beat_and_who_hears_none_is_alone() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(&[], "me"), Look::Nobody);
        assert_eq!(watch.look(&told("me", "a"), "me"), Look::Nobody);
        // The same own beat again, looked at while silent, says nothing new.
        assert_eq!(watch.look(&told("me", "a"), "me"), Look::Nobody);
        assert_eq!(watch.alone, 1);
        assert_eq!(watch.look(&told("other", "b"), "me"), Look::Another);
        assert_eq!(watch.look(&told("other", "b"), "me"), Look::Nobody);
        assert_eq!(watch.alone, 0);
        // One that is blind itself is company, and no witness.
        let mut blind = told("other", "b2");
        blind[0]
            .annotations
            .insert(HEARS.to_owned(), "nodes alone".to_owned());
        assert_eq!(watch.look(&blind, "me"), Look::Nobody);
        assert_eq!(watch.alone, 0);
        for updated in ["c", "d"] {
            watch.look(&told("me", updated), "me");
        }
        assert_eq!(watch.alone, ALONE);
        let nameless: Vec<Listed> = serde_json::from_str("[{}]").unwrap();
        assert_eq!(watch.look(&nameless, "me"), Look::Nobody);
    }

    #[test]
    fn who_hears_nobody_waits_for_another_only_where_there_may_be_one() {
        // Without a heartbeat nothing is known of others.
        let none = Peer::default();
        assert!(!none.is_outvoicing(true, at(5)));
        let peer = Peer::default();
        peer.begin(Duration::from_secs(10));
        assert!(!peer.is_outvoicing(false, at(20)));
        // A beat and a half.
        assert!(peer.is_outvoicing(true, at(30)));
        assert!(peer.is_outvoicing(true, at(44)));
        assert!(!peer.is_outvoicing(true, at(45)));
        peer.sighted(at(46));
        assert!(peer.is_outvoicing(true, at(60)));
        assert!(!peer.is_outvoicing(true, at(61)));
        // A silence of its own counts from its own begin.
        assert!(!peer.is_outvoicing(false, at(62)));
        assert!(peer.is_outvoicing(true, at(63)));
        peer.set_company(false);
        assert!(!peer.is_outvoicing(true, at(64)));
    }

    #[test]
    fn a_beat_names_no_replica_in_its_labels_and_ends_by_itself() {
        let now = Now {
            tick: Tick::from_millis(5000),
            wall: Timestamp::from_unix_seconds(1000),
        };
        let every = Duration::from_secs(10);
        let started = Timestamp::from_unix_seconds(2000);
        let alert = beat(
            &"staging".parse().unwrap(),
            ("r1", true),
            (started, every),
            now,
        );
        let json = serde_json::to_value(&alert).unwrap();
        assert_eq!(
            json["labels"],
            serde_json::json!({"alertname": "PNHeartbeat", "cluster": "staging", "severity": "info"})
        );
        assert_eq!(json["annotations"]["replica"], "r1");
        assert_eq!(json["annotations"]["hears"], CLIENTS);
        assert_eq!(alert.starts_at, now.wall);
        assert_eq!(alert.ends_at, now.wall.after(every * 6));
    }
}
