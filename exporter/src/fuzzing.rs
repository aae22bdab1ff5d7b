//! What reads bytes from outside and is private otherwise, for the fuzz targets (`tests/fuzz`).
//! With the feature `fuzzing` alone.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Uri;
use bytes::Bytes;
use pnwatch_core::correlate::Demand;
use pnwatch_core::gate::Query;
use pnwatch_core::kube::object::{Entry, Key, Kind};
use pnwatch_core::name::{Account, Instance};
use pnwatch_core::plan::PlanId;
use pnwatch_core::time::{Now, Timestamp};
use pnwatch_core::wire::Report;
use serde_json::Value;

use crate::alert::heartbeat::{self, Look, Watch};
use crate::answer::Refusal;
use crate::ingest::{Asked, body};
use crate::kube::{IdentityError, identity, reduce};
use crate::traffic::{PodTarget, PrometheusSettings, Sample, promql};

/// A report's whole body, with its `Content-Encoding`.
pub fn report(encoding: Option<&str>, packed: &Bytes) -> Result<Report, Refusal> {
    body::read(encoding, packed)
}

/// The query of `GET /v1/plan`: `have` and `wait`.
pub fn plan_query(query: &str) -> Result<(Option<PlanId>, Duration), Refusal> {
    let asked = Asked::read(query)?;
    Ok((asked.have, asked.wait))
}

/// The target of a request to the gate.
pub fn gate_query(uri: &Uri) -> Result<Query, Refusal> {
    crate::gate::read(uri)
}

/// One object of the Kubernetes API.
pub fn object(kind: Kind, value: &Value, kept: &str) -> Entry {
    reduce::entry(kind, value, kept)
}

/// The key of one that went.
pub fn object_key(value: &Value) -> Key {
    reduce::key(value)
}

/// What a service account's token claims; `Ok` proves nothing.
pub fn token(
    token: &str,
    (audience, user): (&str, &str),
    now: Timestamp,
) -> Result<Timestamp, IdentityError> {
    identity::plausible(token, audience, user, now)
}

/// A Prometheus' answers to the two questions about pods, and to the one about demand: what is
/// new in them. `None` = one of them is no answer.
pub fn prometheus(
    settings: &PrometheusSettings,
    targets: &[PodTarget],
    [stamps, counters, demand]: [&[u8]; 3],
    now: Now,
) -> Option<(Vec<Sample>, BTreeMap<Account, Demand>)> {
    let read = |bytes| promql::series(bytes).ok();
    let (stamps, counters, demand) = (read(stamps)?, read(counters)?, read(demand)?);
    let mut taken: BTreeMap<Instance, u64> = BTreeMap::new();
    let both = (stamps.as_slice(), counters.as_slice());
    let samples = promql::samples(settings, &mut taken, targets, both, now);
    Some((samples, promql::demands(settings, targets, &demand)))
}

/// Whether an Alertmanager's list shows that a replica other than `own` has beaten; the same list
/// again is no news. `None` = it is no list.
pub fn another_beats(bytes: &[u8], own: &str) -> Option<[bool; 2]> {
    let listed = heartbeat::listed(bytes).ok()?;
    let mut watch = Watch::default();
    let mut look = || watch.look(&listed, own) == Look::Another;
    Some([look(), look()])
}
