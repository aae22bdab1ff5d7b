//! What the tests share: a real client, and waiting for a condition with a deadline.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file takes the part that it needs"
)]

use std::{fmt::Debug, future::Future, time::Duration};

use futures_util::{Stream, StreamExt};
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig, runtime::watcher};
use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi};

/// Far above what anything here needs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The client that a program with this token would have, made from the kubeconfig as programs do.
pub async fn client_with(api: &FakeApi, token: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig(token)).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

pub async fn client(api: &FakeApi) -> Client {
    client_with(api, ADMIN_TOKEN).await
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Reads a watcher until its predicate holds; returns everything read, as text, errors too.
pub async fn until<K: Debug>(
    stream: &mut (impl Stream<Item = watcher::Result<watcher::Event<K>>> + Unpin),
    mut done: impl FnMut(&watcher::Result<watcher::Event<K>>) -> bool,
) -> Vec<watcher::Result<watcher::Event<K>>> {
    let mut seen = Vec::new();
    let read = async {
        while let Some(event) = stream.next().await {
            let last = done(&event);
            seen.push(event);
            if last {
                return;
            }
        }
        panic!("the watcher ended");
    };
    assert!(
        tokio::time::timeout(DEADLINE, read).await.is_ok(),
        "the watcher never came there; it showed {seen:?}"
    );
    seen
}

/// The API error behind a result.
pub fn status<T: Debug>(result: Result<T, kube::Error>) -> kube::core::Status {
    match result {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("an API error was due, not {other:?}"),
    }
}
