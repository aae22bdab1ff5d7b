//! One story of a cluster, told to whatever API server there is: by default the fake one, or the
//! one that `KUBECONFIG` names (with rights to create everything below; what it makes it
//! removes). Only the wire is used, so that nothing holds for the fake one alone.
//!
//! ```text
//! KUBECONFIG=~/.kube/config cargo test -p pnwatch-exporter --test kube scenario
//! ```
//! `PNWATCH_EXPORTER_KUBECONFIG` may name another one for the exporter's side, with the rights
//! of deploy/rbac alone. A server without nodes of its own (envtest, kwok) is enough.

use std::path::PathBuf;
use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error};
use pnwatch_core::kube::condition::{Said, say};
use pnwatch_core::link::LinkState;
use pnwatch_core::name::Node;
use pnwatch_core::path::Verdict;
use pnwatch_exporter::kube::{Writer, connect};
use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi, objects};
use serde_json::{Value, json};

use crate::common::{SinceObjects, Watching, told};

/// Its own namespace, so that it meets nobody.
const NAMESPACE: &str = "pnwatch-scenario";
const NODES: [&str; 2] = ["pnwatch-scenario-1", "pnwatch-scenario-2"];
const ADDRESSES: [&str; 2] = ["172.16.3.201", "172.16.3.202"];
const PORT: u16 = 32_715;
/// How long a server may take to serve a kind that was just defined.
const SERVED: Duration = Duration::from_secs(30);
const FIELD_MANAGER: &str = "pnwatch-scenario";

/// The server, and whether it is ours to keep alive.
struct Server {
    admin: Client,
    exporter: PathBuf,
    _fake: Option<(FakeApi, tempfile::TempDir)>,
}

impl Server {
    async fn find() -> Self {
        if let Some(real) = std::env::var_os("KUBECONFIG") {
            let real = PathBuf::from(real);
            let exporter = std::env::var_os("PNWATCH_EXPORTER_KUBECONFIG");
            return Self {
                admin: connect(Some(&real)).await.unwrap(),
                exporter: exporter.map_or(real, PathBuf::from),
                _fake: None,
            };
        }
        let api = FakeApi::start();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        std::fs::write(&file, api.kubeconfig(ADMIN_TOKEN)).unwrap();
        Self {
            admin: connect(Some(&file)).await.unwrap(),
            exporter: file,
            _fake: Some((api, dir)),
        }
    }

    /// The API of an object's kind.
    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let (group, version) = object["apiVersion"]
            .as_str()
            .and_then(|text| text.split_once('/'))
            .unwrap_or(("", "v1"));
        let kind = object["kind"].as_str().unwrap();
        let kind = GroupVersionKind::gvk(group, version, kind);
        let resource = match kind.kind.as_str() {
            "NetworkPolicy" => ApiResource::from_gvk_with_plural(&kind, "networkpolicies"),
            _ => ApiResource::from_gvk(&kind),
        };
        if object["metadata"]["namespace"].is_string() {
            Api::namespaced_with(self.admin.clone(), NAMESPACE, &resource)
        } else {
            Api::all_with(self.admin.clone(), &resource)
        }
    }

    /// Puts an object, then its status, each by server-side apply as its controller would.
    async fn put(&self, object: &Value) -> Result<(), Error> {
        let (api, name) = (self.api(object), name(object));
        let mut whole = object.clone();
        let status = whole.as_object_mut().unwrap().remove("status");
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(name, &params, &Patch::Apply(&whole)).await?;
        if let Some(status) = status.filter(|s| s.as_object().is_some_and(|s| !s.is_empty()))
            && object["kind"] != "Service"
        {
            let patch = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "status": status});
            api.patch_status(name, &params, &Patch::Apply(&patch))
                .await?;
        }
        Ok(())
    }

    async fn delete(&self, object: &Value) {
        let now = DeleteParams::default().grace_period(0);
        match self.api(object).delete(name(object), &now).await {
            Ok(_) => {}
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("{} cannot be deleted: {error}", name(object)),
        }
    }

    async fn get(&self, object: &Value) -> Value {
        let found = self.api(object).get(name(object)).await.unwrap();
        serde_json::to_value(found).unwrap()
    }

    /// Defines the instances' kind where nobody has, and waits until it is served.
    async fn define(&self) {
        let mut crd = objects::kura_crd(&[
            "phase",
            "publicURL",
            "message",
            "readyReplicas",
            "lastReconciledAt",
            "nodeAddress",
            "nodePortHTTP",
            "nodePortGRPC",
            "nodePortCache",
            "privateURL",
            "endpointReason",
            "endpointMessage",
            "endpointLastCheckedAt",
        ]);
        crd["metadata"]["namespace"] = Value::Null;
        let made: DynamicObject = serde_json::from_value(crd.clone()).unwrap();
        match self.api(&crd).create(&PostParams::default(), &made).await {
            Ok(_) => {}
            Err(Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("the CRD is refused: {error}"),
        }
        let instance = &story(0)[0];
        let served = async {
            while let Err(error) = self.api(instance).list(&ListParams::default()).await {
                assert!(matches!(error, Error::Api(_)), "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(SERVED, served).await.unwrap();
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// The instance with everything that belongs to it, its pod on the node of that number.
fn story(home: usize) -> Vec<Value> {
    let instance = objects::Instance::new("pnwscenario", NODES[home], ADDRESSES[home], PORT);
    let mut all = instance.all();
    for object in &mut all {
        object["metadata"]["namespace"] = NAMESPACE.into();
        if object["kind"] == "EndpointSlice" {
            object["endpoints"][0]["addresses"] = json!(["198.51.100.77"]);
            object["endpoints"][0]["targetRef"]["namespace"] = NAMESPACE.into();
        }
        if object["kind"] == "Pod" {
            object["status"]["podIP"] = "198.51.100.77".into();
            object["status"]["podIPs"] = json!([{"ip": "198.51.100.77"}]);
        }
    }
    all
}

fn machines() -> Vec<Value> {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let nodes = NODES.iter().zip(ADDRESSES);
    std::iter::once(namespace)
        .chain(nodes.map(|(node, address)| objects::linux_node(node, address)))
        .collect()
}

async fn settle(watching: &mut Watching, home: usize, port: u16) {
    let node = NODES[home];
    watching
        .until(&format!("the target on {node}, port {port}"), |r| {
            r.stale.is_empty()
                && r.inventory.as_ref().is_some_and(|inventory| {
                    let mut targets = inventory.targets.values();
                    targets.any(|t| t.node.as_str() == node && t.port == port)
                        && inventory.nodes.keys().any(|n| n.as_str() == node)
                })
        })
        .await;
}

/// The condition: written, flipped, and the kubelet's own beside it all the while.
async fn condition(server: &Server) {
    let client = connect(Some(&server.exporter)).await.unwrap();
    let mut writer = Writer::new(client, NAMESPACE, "pnwatch-conditions", "scenario");
    let clock = SinceObjects::shared();
    let said = |link, verdict| -> std::collections::BTreeMap<Node, Said> {
        [(Node::new(NODES[0]).unwrap(), say(link, verdict).unwrap())].into()
    };
    let node = &machines()[1];
    let status = async || {
        let conditions = server.get(node).await["status"]["conditions"].clone();
        let all = conditions.as_array().cloned().unwrap_or_default();
        let of = |kind: &str| all.iter().find(|c| c["type"] == kind).cloned();
        (of("PrivateNetworkReachable"), of("MemoryPressure"))
    };
    for (observed, wanted) in [
        (said(Some(LinkState::Fine), Verdict::Up), "True"),
        (
            said(Some(LinkState::InterfaceMissing), Verdict::Down),
            "False",
        ),
        (said(Some(LinkState::Fine), Verdict::Up), "True"),
    ] {
        let flipped = async {
            loop {
                assert!(writer.turn(&observed, clock.now()).await.unwrap());
                let (ours, kubelets) = status().await;
                assert!(kubelets.is_some(), "the kubelet's own was lost");
                if ours.is_some_and(|c| c["status"] == wanted) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let within = tokio::time::timeout(SERVED, flipped).await;
        assert!(within.is_ok(), "the condition did not become {wanted}");
    }
}

#[tokio::test]
async fn the_scenario_passes_on_whatever_server_there_is() {
    let server = Server::find().await;
    server.define().await;
    for object in machines().iter().chain(&story(0)) {
        server.put(object).await.unwrap();
    }
    let quick = [
        "times: { settle: 500ms, endpoint: 500ms, ready: 1h, reconcile: 24h }",
        &format!("namespace: {NAMESPACE}"),
    ];
    let mut watching = Watching::by(server.exporter.clone(), &quick).await;
    settle(&mut watching, 0, PORT).await;

    // A change of status alone.
    let mut instance = story(0).remove(0);
    instance["status"]["nodePortCache"] = (PORT + 1).into();
    server.put(&instance).await.unwrap();
    settle(&mut watching, 0, PORT + 1).await;
    watching
        .until("the port that is not the Service's", |r| {
            told(r, "pnwscenario", &["nodePort"])
        })
        .await;

    // The pod moves, and what is handed out follows it only later.
    let moved = story(1);
    let pod = moved.iter().find(|o| o["kind"] == "Pod").unwrap();
    server.delete(pod).await;
    server.put(pod).await.unwrap();
    watching
        .until("the old endpoint", |r| {
            told(r, "pnwscenario", &["status.nodeAddress", ADDRESSES[1]])
        })
        .await;
    for object in &moved {
        if object["kind"] != "Pod" {
            server.put(object).await.unwrap();
        }
    }
    settle(&mut watching, 1, PORT).await;

    condition(&server).await;

    for object in &moved {
        server.delete(object).await;
    }
    watching
        .until("the end of the target", |r| {
            r.inventory.as_ref().is_some_and(|i| {
                !i.targets
                    .values()
                    .any(|t| t.account.as_str() == "pnwscenario")
            })
        })
        .await;
    for object in machines().iter().rev() {
        server.delete(object).await;
    }
}
