//! Writes the node condition `PrivateNetworkReachable`, one replica at a time.
//!
//! By strategic merge of the one condition, so that the kubelet's survive (a JSON merge patch
//! would replace them all). One Event per transition. [`Writer::turn`] is one look; the loop of
//! [`Writer::run`] makes one a second. A dropped turn is made up for by the next.

use std::collections::BTreeMap;
use std::time::Duration;

use ::kube::api::{Patch, PatchParams, PostParams};
use ::kube::{Api, Client, Error};
use k8s_openapi::api::core::v1::{Event, EventSource, Node as NodeObject, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pnwatch_core::kube::condition::{CONDITION, Conditions, Due, Said, Status, observe};
use pnwatch_core::name::Node;
use pnwatch_core::time::{Now, Timestamp};
use pnwatch_edge::clock::SharedClock;
use serde_json::json;

use super::lease::Contender;
use crate::owner::Handle;

/// How often the view is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where Events of cluster-scoped objects live.
const EVENTS: &str = "default";

/// The writer of one replica.
pub struct Writer {
    contender: Contender,
    nodes: Api<NodeObject>,
    events: Api<Event>,
    conditions: Conditions,
    holder: String,
    failing: bool,
}

impl Writer {
    /// A writer that contends for the Lease `lease` as `holder`, which must differ per replica.
    pub fn new(client: Client, namespace: &str, lease: &str, holder: &str) -> Self {
        Self {
            contender: Contender::new(client.clone(), namespace, lease, holder),
            nodes: Api::all(client.clone()),
            events: Api::namespaced(client, EVENTS),
            conditions: Conditions::default(),
            holder: holder.to_owned(),
            failing: false,
        }
    }

    /// Looks once a second, for ever.
    pub async fn run(mut self, engine: Handle, clock: SharedClock) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(snapshot) = engine.read().await else {
                continue;
            };
            let observed = observe(&snapshot.view, snapshot.pn_cidr);
            let turned = self.turn(&observed, clock.now()).await;
            match turned {
                Ok(_) if self.failing => tracing::info!("node conditions can be written again"),
                Err(ref error) if !self.failing => {
                    tracing::error!(
                        "node conditions cannot be written: {error}; see deploy/rbac/condition.yaml"
                    );
                }
                _ => {}
            }
            self.failing = turned.is_err();
        }
    }

    /// One look: contends for the Lease and, holding it, writes what is due. Says whether it holds.
    pub async fn turn(&mut self, observed: &BTreeMap<Node, Said>, now: Now) -> Result<bool, Error> {
        if !within(self.contender.turn(now)).await? {
            self.conditions.forget();
            return Ok(false);
        }
        let new: Vec<&Node> = observed
            .keys()
            .filter(|n| self.conditions.is_new(n))
            .collect();
        for node in new {
            if let Some((status, changed)) = self.standing(node).await? {
                self.conditions.adopt(node.clone(), status, changed);
            }
        }
        for due in self.conditions.due(observed, now) {
            match self.write(&due, now).await {
                Ok(()) => self.conditions.written(&due, now),
                // A node that went meanwhile has no condition.
                Err(Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
            if let Some(from) = due.from {
                self.tell(&due, from, now).await?;
            }
        }
        Ok(true)
    }

    /// What the node's condition says now.
    async fn standing(&self, node: &Node) -> Result<Option<(Status, Timestamp)>, Error> {
        let found = within(self.nodes.get_opt(node.as_str())).await?;
        let conditions = found.and_then(|n| n.status?.conditions).unwrap_or_default();
        let ours = conditions.into_iter().find(|c| c.type_ == CONDITION);
        Ok(ours.and_then(|c| {
            let at = c.last_transition_time.map(|t| t.0.as_nanosecond());
            let at = at.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(0);
            Some((
                Status::from_text(&c.status)?,
                Timestamp::from_unix_nanos(at),
            ))
        }))
    }

    async fn write(&self, due: &Due, now: Now) -> Result<(), Error> {
        let patch = json!({ "status": { "conditions": [{
            "type": CONDITION,
            "status": due.said.status.as_str(),
            "reason": due.said.reason,
            "message": due.said.message,
            "lastHeartbeatTime": seconds(now.wall),
            "lastTransitionTime": seconds(due.changed),
        }] } });
        let (params, patch) = (PatchParams::default(), Patch::Strategic(patch));
        let write = self.nodes.patch_status(due.node.as_str(), &params, &patch);
        within(write).await.map(drop)
    }

    async fn tell(&self, due: &Due, from: Status, now: Now) -> Result<(), Error> {
        let (node, said) = (due.node.as_str(), &due.said);
        tracing::info!(
            node,
            from = from.as_str(),
            to = said.status.as_str(),
            reason = said.reason,
            "node condition changed"
        );
        let good = said.status == Status::True;
        let stamp = k8s_openapi::jiff::Timestamp::from_second(whole(now.wall))
            .ok()
            .map(Time);
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{node}.{:x}", now.wall.as_unix_nanos())),
                namespace: Some(EVENTS.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                kind: Some("Node".to_owned()),
                api_version: Some("v1".to_owned()),
                name: Some(node.to_owned()),
                uid: Some(node.to_owned()),
                ..ObjectReference::default()
            },
            type_: Some(if good { "Normal" } else { "Warning" }.to_owned()),
            reason: Some(said.reason.to_owned()),
            message: Some(format!(
                "{CONDITION} is {}: {}",
                said.status.as_str(),
                said.message
            )),
            source: Some(EventSource {
                component: Some("pnwatch".to_owned()),
                host: None,
            }),
            reporting_component: Some("pnwatch".to_owned()),
            reporting_instance: Some(self.holder.clone()),
            count: Some(1),
            first_timestamp: stamp.clone(),
            last_timestamp: stamp,
            ..Event::default()
        };
        within(self.events.create(&PostParams::default(), &event))
            .await
            .map(drop)
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(result) => result,
        Err(late) => Err(Error::Service(late.into())),
    }
}

fn whole(at: Timestamp) -> i64 {
    i64::try_from(at.as_unix_nanos() / 1_000_000_000).unwrap_or(i64::MAX)
}

/// Kubernetes' times have whole seconds.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_unix_seconds(at.as_unix_nanos() / 1_000_000_000)
        .to_string()
        .replace(".000Z", "Z")
}
