//! List and watch by the real `kube` watcher, through everything that goes wrong with watches.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::{pin::pin, time::Duration};

use common::{client, until, within};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::{ApiResource, GroupVersionKind, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use pnwatch_kubeapi::{Action, FakeApi, Fault, Options, objects};
use serde_json::json;

fn applied<K: ResourceExt>(name: &'static str) -> impl FnMut(&watcher::Result<Event<K>>) -> bool {
    move |event| matches!(event, Ok(Event::Apply(o) | Event::InitApply(o)) if o.name_any() == name)
}

fn settled<K>(event: &watcher::Result<Event<K>>) -> bool {
    matches!(event, Ok(Event::InitDone))
}

fn names<K: ResourceExt>(events: &[watcher::Result<Event<K>>]) -> Vec<String> {
    let mut names: Vec<String> = events
        .iter()
        .filter_map(|e| match e {
            Ok(Event::InitApply(o)) => Some(o.name_any()),
            _ => None,
        })
        .collect();
    names.sort();
    names
}

fn with_nodes(count: usize) -> FakeApi {
    let api = FakeApi::start();
    for n in 0..count {
        api.apply(objects::linux_node(&format!("node-{n:02}"), "172.16.0.2"))
            .unwrap();
    }
    api
}

#[tokio::test]
async fn initial_list_then_live_changes_by_both_strategies() {
    for streaming in [false, true] {
        let api = with_nodes(7);
        let nodes: Api<Node> = Api::all(client(&api).await);
        let mut config = watcher::Config::default().page_size(3);
        if streaming {
            config = config.streaming_lists();
        }
        let mut stream = pin!(watcher::watcher(nodes.clone(), config));
        let initial = until(&mut stream, settled).await;
        assert_eq!(names(&initial).len(), 7);
        let paged = api.requests().iter().filter(|r| r.verb == "list").count();
        assert_eq!(paged, if streaming { 0 } else { 3 }, "pages");

        api.apply(objects::mac_node("mini-1")).unwrap();
        until(&mut stream, applied("mini-1")).await;
        let label = json!({"metadata": {"labels": {"x": "y"}}});
        nodes
            .patch("mini-1", &PatchParams::default(), &Patch::Merge(&label))
            .await
            .unwrap();
        let seen = until(&mut stream, applied("mini-1")).await;
        assert!(seen.iter().all(Result::is_ok), "{seen:?}");
        nodes
            .delete("mini-1", &kube::api::DeleteParams::default())
            .await
            .unwrap();
        until(
            &mut stream,
            |e| matches!(e, Ok(Event::Delete(o)) if o.name_any() == "mini-1"),
        )
        .await;
    }
}

#[tokio::test]
async fn expired_watches_recover_by_a_new_list() {
    let api = with_nodes(2);
    let nodes: Api<Node> = Api::all(client(&api).await);
    let mut stream = pin!(watcher::watcher(nodes, watcher::Config::default()));
    until(&mut stream, settled).await;
    // The watch must be open before it can be expired.
    within("an open watch", async {
        while api.requests().iter().all(|r| r.verb != "watch") {
            if let Ok(event) = tokio::time::timeout(Duration::from_millis(5), stream.next()).await {
                panic!("nothing was due: {event:?}");
            }
        }
    })
    .await;
    api.delete("nodes", "", "node-00");
    api.faults().expire_watches();
    let seen = until(&mut stream, settled).await;
    let gone = seen.iter().any(|e| matches!(e, Err(watcher::Error::WatchError(s)) if s.code == 410 && s.reason == "Expired"));
    assert!(gone, "{seen:?}");
    assert_eq!(names(&seen), ["node-01"]);
}

#[tokio::test]
async fn a_compacted_history_is_met_on_reconnect_as_event_or_as_http() {
    for gone_as_http in [false, true] {
        let api = FakeApi::try_start(Options {
            gone_as_http,
            ..Options::default()
        })
        .unwrap();
        api.apply(objects::linux_node("a", "172.16.0.2")).unwrap();
        let nodes: Api<Node> = Api::all(client(&api).await);
        let version = nodes
            .list(&ListParams::default())
            .await
            .unwrap()
            .metadata
            .resource_version
            .unwrap();
        api.faults().expire_history();
        let opened = nodes.watch(&WatchParams::default(), &version).await;
        if gone_as_http {
            assert_eq!(common::status(opened.map(|_| ())).code, 410);
            continue;
        }
        let mut stream = opened.unwrap().boxed();
        let first = within("an event", stream.next()).await.unwrap().unwrap();
        assert!(matches!(first, WatchEvent::Error(s) if s.code == 410));
        assert!(within("the end", stream.next()).await.is_none());
    }
}

#[tokio::test]
async fn a_small_history_forgets_by_itself() {
    let api = FakeApi::try_start(Options {
        history: 3,
        ..Options::default()
    })
    .unwrap();
    api.apply(objects::linux_node("a", "172.16.0.2")).unwrap();
    let nodes: Api<Node> = Api::all(client(&api).await);
    let version = nodes
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    for n in 0..4 {
        api.edit("nodes", ("", "a"), |node| {
            node["metadata"]["labels"]["n"] = n.to_string().into();
        });
    }
    let mut stream = nodes
        .watch(&WatchParams::default(), &version)
        .await
        .unwrap()
        .boxed();
    let first = within("an event", stream.next()).await.unwrap().unwrap();
    assert!(matches!(first, WatchEvent::Error(s) if s.code == 410));
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    let api = with_nodes(2);
    let nodes: Api<Node> = Api::all(client(&api).await);
    let mut stream = pin!(watcher::watcher(nodes, watcher::Config::default()).default_backoff());
    until(&mut stream, settled).await;
    api.stop();
    api.apply(objects::linux_node("born-in-the-dark", "172.16.0.9"))
        .unwrap();
    let failed = until(&mut stream, Result::is_err).await;
    assert!(
        failed.iter().all(Result::is_err),
        "no event, above all no second Init: {failed:?}"
    );
    api.resume().unwrap();
    let seen = until(&mut stream, applied("born-in-the-dark")).await;
    assert!(
        !seen.iter().any(|e| matches!(e, Ok(Event::Init))),
        "resumed, not started over: {seen:?}"
    );
    api.restart().unwrap();
    api.apply(objects::linux_node("after", "172.16.0.10"))
        .unwrap();
    until(&mut stream, applied("after")).await;
}

#[tokio::test]
async fn bookmarks_and_time_limits() {
    let options = Options {
        bookmark_every: Duration::from_millis(50),
        ..Options::default()
    };
    let api = FakeApi::try_start(options).unwrap();
    api.apply(objects::linux_node("a", "172.16.0.2")).unwrap();
    let pods: Api<Pod> = Api::all(client(&api).await);
    let version = pods
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut stream = pods
        .watch(&WatchParams::default().timeout(1), &version)
        .await
        .unwrap()
        .boxed();
    // A change of another resource moves the bookmark on.
    api.apply(objects::mac_node("b")).unwrap();
    let mut bookmarks = 0;
    let mut last = String::new();
    within("the end of the watch", async {
        while let Some(event) = stream.next().await {
            let WatchEvent::Bookmark(bookmark) = event.unwrap() else {
                panic!("only bookmarks are due")
            };
            bookmarks += 1;
            last = bookmark.metadata.resource_version;
        }
    })
    .await;
    assert!(bookmarks >= 2, "{bookmarks}");
    assert!(last.parse::<u64>().unwrap() > version.parse::<u64>().unwrap());
}

#[tokio::test]
async fn selectors_see_objects_come_and_go() {
    let api = with_nodes(2);
    let nodes: Api<Node> = Api::all(client(&api).await);
    let config = watcher::Config::default().labels("tuist.dev/pn-ipv4,kubernetes.io/os in (linux)");
    let mut stream = pin!(watcher::watcher(nodes.clone(), config));
    assert_eq!(
        names(&until(&mut stream, settled).await),
        ["node-00", "node-01"]
    );
    api.apply(objects::mac_node("mini-1")).unwrap();
    let unlabel = json!({"metadata": {"labels": {"tuist.dev/pn-ipv4": null}}});
    nodes
        .patch("node-00", &PatchParams::default(), &Patch::Merge(&unlabel))
        .await
        .unwrap();
    let seen = until(
        &mut stream,
        |e| matches!(e, Ok(Event::Delete(o)) if o.name_any() == "node-00"),
    )
    .await;
    assert_eq!(seen.len(), 1, "the Mac is none of ours: {seen:?}");
    let label = json!({"metadata": {"labels": {"tuist.dev/pn-ipv4": "172.16.0.3"}}});
    nodes
        .patch("node-00", &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    until(&mut stream, applied("node-00")).await;

    let pods: Api<Pod> = Api::all(client(&api).await);
    for mac in ["mini-1", "mini-2"] {
        api.apply(objects::runner_pod(&format!("vm-on-{mac}"), mac))
            .unwrap();
    }
    let found = pods
        .list(&ListParams::default().fields("spec.nodeName=mini-2"))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    let refused = common::status(
        pods.list(&ListParams::default().fields("spec.color=red"))
            .await,
    );
    assert_eq!(refused.code, 400);
}

#[tokio::test]
async fn pages_agree_even_when_the_world_moves() {
    let api = with_nodes(5);
    let nodes: Api<Node> = Api::all(client(&api).await);
    let first = nodes.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    api.delete("nodes", "", "node-03");
    api.apply(objects::mac_node("zz-new")).unwrap();
    let next = ListParams::default().continue_token(&first.metadata.continue_.unwrap());
    let rest = nodes.list(&next).await.unwrap();
    let names: Vec<_> = rest.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["node-02", "node-03", "node-04"]);
    assert_eq!(
        rest.metadata.resource_version,
        first.metadata.resource_version
    );
    api.faults().expire_history();
    assert_eq!(common::status(nodes.list(&next).await).code, 410);
}

#[tokio::test]
async fn metadata_only_and_custom_resources() {
    let api = FakeApi::start();
    let tuist = objects::Instance::new("tuist", "n", "172.16.0.2", 30815);
    for object in [
        tuist.june(),
        tuist.service(),
        tuist.pod(),
        tuist.endpoint_slice(),
    ] {
        api.apply(object).unwrap();
    }
    let client = client(&api).await;
    let pods: Api<PartialObjectMeta<Pod>> = Api::all(client.clone());
    let found = pods.list(&ListParams::default()).await.unwrap();
    assert_eq!(found.items[0].labels()["tuist.dev/account"], "tuist");
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kura.tuist.dev", "v1alpha1", "KuraInstance"),
        "kurainstances",
    );
    let instances: Api<DynamicObject> = Api::namespaced_with(client, "kura", &kind);
    let mut stream = pin!(watcher::watcher(instances, watcher::Config::default()));
    until(&mut stream, settled).await;
    api.apply(objects::Instance::new("acme", "n", "172.16.0.2", 30816).pruned())
        .unwrap();
    until(&mut stream, applied("kura-acme-scw-fr-par")).await;
}

#[tokio::test]
async fn faults_reach_the_watcher_and_pass() {
    let api = with_nodes(1);
    let faults = api.faults();
    let nodes: Api<Node> = Api::all(client(&api).await);

    for (fault, told) in [
        (Fault::new(Action::Refuse(401)), "Unauthorized"),
        (Fault::new(Action::Refuse(403)).on("nodes"), "forbidden"),
        (Fault::new(Action::Refuse(500)).verb("list"), "switched on"),
        (
            Fault::new(Action::Garbage(b"<html>".to_vec())),
            "expected value",
        ),
        (Fault::new(Action::Drop), ""),
    ] {
        let id = faults.add(fault.clone());
        let mut stream = pin!(watcher::watcher(nodes.clone(), watcher::Config::default()));
        let seen = until(&mut stream, Result::is_err).await;
        let text = format!("{:?}", seen.last());
        assert!(text.contains(told), "{fault:?}: {text}");
        faults.end(id);
        until(&mut stream, settled).await;
    }
    assert!(
        api.requests().iter().any(|r| r.code == 0),
        "a dropped request is logged too"
    );

    faults.add(Fault::new(Action::Delay(Duration::from_millis(100))).times(1));
    let started = std::time::Instant::now();
    nodes.list(&ListParams::default()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));

    // The client itself repeats 429, 503 and 504 (with growing pauses, for minutes), unless told otherwise.
    api.clear_requests();
    faults.add(Fault::new(Action::Refuse(503)).times(3));
    nodes.list(&ListParams::default()).await.unwrap();
    assert_eq!(
        api.requests().iter().map(|r| r.code).collect::<Vec<_>>(),
        [503, 503, 503, 200]
    );

    faults.malformed("nodes", json!({"metadata": {"name": "odd"}, "spec": 17}));
    assert!(
        nodes.list(&ListParams::default()).await.is_err(),
        "typed clients cannot read it"
    );
    faults.clear();
    nodes.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn a_raw_line_reaches_the_open_watch() {
    let api = with_nodes(1);
    let nodes: Api<Node> = Api::all(client(&api).await);
    let version = nodes
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut stream = nodes
        .watch(&WatchParams::default(), &version)
        .await
        .unwrap()
        .boxed();
    api.faults()
        .raw_watch_line("nodes", r#"{"type":"MODIFIED","object":{"spec":7}}"#);
    assert!(within("an event", stream.next()).await.unwrap().is_err());
    api.apply(objects::mac_node("mini")).unwrap();
    assert!(matches!(
        within("an event", stream.next()).await,
        Some(Ok(WatchEvent::Added(_)))
    ));
}

#[tokio::test]
async fn namespaces_are_walls() {
    let api = FakeApi::start();
    let pods: Api<Pod> = Api::namespaced(client(&api).await, "nowhere");
    let pod =
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": []}}))
            .unwrap();
    let refused = common::status(pods.create(&PostParams::default(), &pod).await);
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (404, "namespaces \"nowhere\" not found")
    );
}
