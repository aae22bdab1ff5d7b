//! Vantages that name themselves by a certificate instead of a token.
//!
//! The certificates of `tests/certificates` are of two authorities made for this test alone (whose
//! keys are gone), and valid for a hundred years.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::path::{Path, PathBuf};

use pnwatch_edge::config::{ListenTls, Listener};
use pnwatch_edge::http::{CallError, Client, ClientSettings, Request, Response};
use pnwatch_edge::tls::Keypair;
use serde_json::Value;

use common::{Running, Setup, bearer, healthy, token};

fn kept(name: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.join("tests/certificates").join(name)
}

fn pair(directory: &Path, name: &str) -> Keypair {
    Keypair {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
    }
}

async fn exporter() -> Running {
    let mut setup = Setup::new();
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/tls");
    setup.serve().tls = Some(ListenTls {
        files: pair(&servers, "one"),
        client_ca_file: Some(kept("vantages-ca.pem")),
        listeners: vec![Listener::Ingest],
    });
    setup.start().await
}

fn client(identity: Option<Keypair>) -> Client {
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/tls");
    let settings = ClientSettings {
        ca_file: Some(servers.join("one-ca.pem")),
        identity,
        ..ClientSettings::default()
    };
    Client::new(settings).unwrap()
}

fn report(it: &Running, vantage: &str) -> Request {
    let url = format!("https://{}/v1/report", it.at.ingest);
    let body = serde_json::to_vec(&healthy(vantage, 1)).unwrap();
    Request::post(url, "application/json", body.into())
}

async fn sent(client: &Client, request: Request) -> Result<Response, CallError> {
    client.send(request.within(common::DEADLINE)).await
}

fn said(answer: &Response) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_speaks_for_the_vantage_that_it_names_and_for_no_other() {
    let it = exporter().await;
    let one = client(Some(pair(&kept(""), "mini-1")));
    let plan = Request::get(format!("https://{}/v1/plan", it.at.ingest));
    assert_eq!(sent(&one, plan.clone()).await.unwrap().status, 200);
    let answer = sent(&one, report(&it, "host/mini-1")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.first_line());

    let other = sent(&one, report(&it, "host/mini-2")).await.unwrap();
    assert_eq!(other.status, 403);
    assert!(
        said(&other).contains("belongs to host/mini-1"),
        "{}",
        said(&other)
    );

    let nobody = client(Some(pair(&kept(""), "nobody")));
    let answer = sent(&nobody, report(&it, "host/mini-1")).await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(
        said(&answer).contains("names no vantage"),
        "{}",
        said(&answer)
    );

    // Another authority's word is not even listened to.
    let foreign = client(Some(pair(&kept(""), "foreign")));
    assert!(sent(&foreign, plan.clone()).await.is_err());

    // Without a certificate it is the token that decides, and where there is one, the token alone.
    let without = client(None);
    assert_eq!(sent(&without, plan).await.unwrap().status, 401);
    let (name, value) = bearer(token("host/mini-2"));
    for client in [&without, &one] {
        let request = report(&it, "host/mini-2").header(name.clone(), value.clone());
        assert_eq!(sent(client, request).await.unwrap().status, 200);
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_from_the_next_connection_on() {
    let it = exporter().await;
    let dir = tempfile::tempdir().unwrap();
    let renew = |name: &str, key: &str| {
        for (from, to) in [
            (format!("{name}.pem"), "own.pem"),
            (format!("{key}.key"), "own.key"),
        ] {
            let fresh = dir.path().join("fresh");
            std::fs::copy(kept(&from), &fresh).unwrap();
            std::fs::rename(&fresh, dir.path().join(to)).unwrap();
        }
    };
    renew("mini-1", "mini-1");
    let own = client(Some(pair(dir.path(), "own")));
    // A connection of its own each time.
    let status = async |vantage: &str| {
        let close = axum::http::HeaderValue::from_static("close");
        let request = report(&it, vantage).header(axum::http::header::CONNECTION, close);
        sent(&own, request).await.unwrap().status
    };
    assert_eq!(status("host/mini-1").await, 200);
    renew("mini-2", "mini-2");
    assert_eq!(status("host/mini-1").await, 403);
    assert_eq!(status("host/mini-2").await, 200);
    // Half a renewal changes nothing.
    renew("mini-1", "mini-2");
    assert_eq!(status("host/mini-2").await, 200);
    it.stop().await;
}
