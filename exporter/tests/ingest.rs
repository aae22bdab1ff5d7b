//! What a prober can get wrong, each with its status, code and a sentence that names the fix.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use pnwatch_edge::http::{Request, Response};
use serde_json::{Value, json};

use common::{NODE, Running, Setup, bearer, gzip, healthy, path, report};

fn error(answer: &Response) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
    let message = text("message");
    assert!(!message.contains('\n') && message.len() < 400, "{message}");
    (answer.status, text("code"), message)
}

fn with(request: Request, token: &str) -> Request {
    let (name, value) = bearer(token);
    request.header(name, value)
}

fn encoded(request: Request, how: &'static str) -> Request {
    request.header(
        HeaderName::from_static("content-encoding"),
        HeaderValue::from_static(how),
    )
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

async fn refused(it: &Running, request: Request, status: u16, code: &str, says: &[&str]) {
    let answer = it.send(request).await;
    let (got, got_code, message) = error(&answer);
    assert_eq!((got, got_code.as_str()), (status, code), "{message}");
    for part in says {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_report_is_judged_and_answered_with_the_plan() {
    let it = Setup::new().start().await;
    let answer = it.report(&healthy("host/mini-1", 1)).await;
    assert_eq!(answer["burst"], json!([]));
    let id = answer["plan_id"].as_str().unwrap();
    assert_eq!(id.len(), 16);
    // The same again is a duplicate; identity encoding is accepted, too.
    let again = with(
        it.post(bytes(&healthy("host/mini-1", 1))),
        "token-of-mini-1",
    );
    assert_eq!(it.send(again).await.status, 200);
    let plain = with(
        it.post(bytes(&healthy("host/mini-1", 2))),
        "token-of-mini-1",
    );
    assert_eq!(it.send(plain).await.status, 200);
    for (result, count) in [("fresh", 2.0), ("duplicate", 1.0), ("malformed", 0.0)] {
        let name =
            format!("pnwatch_ingest_reports_total{{cluster=\"staging\",result=\"{result}\"}}");
        assert_eq!(it.metric(&name).await, Some(count), "{result}");
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_is_decided_by_the_token() {
    let it = Setup::new().start().await;
    let body = bytes(&healthy("host/mini-1", 1));
    let unauthorized = (401, "unauthorized");
    let (status, code) = unauthorized;
    refused(
        &it,
        it.post(body.clone()),
        status,
        code,
        &["no token", "token_file"],
    )
    .await;
    let wrong = with(it.post(body.clone()), "token-of-nobody");
    refused(&it, wrong, status, code, &["not known", "serve.tokens"]).await;
    let empty = with(it.post(body.clone()), "");
    refused(&it, empty, status, code, &["Bearer TOKEN"]).await;
    let basic = it.post(body.clone()).header(
        HeaderName::from_static("authorization"),
        HeaderValue::from_static("Basic dG9rZW4="),
    );
    refused(&it, basic, status, code, &["Bearer"]).await;
    let other = with(it.post(body.clone()), "token-of-mini-2");
    let says = ["host/mini-2", "host/mini-1", "probe.vantage"];
    refused(&it, other, 403, "wrong_vantage", &says).await;
    let plan = Request::get(format!("http://{}/v1/plan", it.at.ingest));
    refused(&it, plan, 401, "unauthorized", &["no token"]).await;
    // Nothing of it was counted as evidence.
    assert_eq!(it.json("/v1/view").await["paths"], json!([]));
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_and_bombs_end_in_one_sentence() {
    let it = Setup::new().start().await;
    let mine = |request| with(request, "token-of-mini-1");
    let large = mine(it.post(vec![b' '; 10 << 20]));
    refused(
        &it,
        large,
        413,
        "too_large",
        &["10485760 bytes", "1024 KiB"],
    )
    .await;
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let bomb = encoded(mine(it.post(bomb)), "gzip");
    refused(&it, bomb, 413, "too_large", &["unpacked", "4096 KiB"]).await;
    // Without a token nobody's body is even looked at.
    let stranger = it.post(vec![b' '; 512 << 10]);
    refused(&it, stranger, 401, "unauthorized", &["no token"]).await;
    let good = it.report(&healthy("host/mini-1", 1)).await;
    assert!(good["plan_id"].is_string());
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_announced_length_is_bounded_too() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let it = Setup::new().start().await;
    let mut stream = tokio::net::TcpStream::connect(it.at.ingest).await.unwrap();
    let head = "POST /v1/report HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-of-mini-1\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x1_0000], b"\r\n"].concat();
    for _ in 0..160 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_report_is_refused_by_name() {
    let it = Setup::new().start().await;
    let mine = |body: Vec<u8>| with(it.post(body), "token-of-mini-1");
    let bad = "malformed";
    refused(&it, mine(b"{".to_vec()), 400, bad, &["not valid", "line 1"]).await;
    refused(&it, mine(Vec::new()), 400, bad, &["not valid"]).await;
    let no_gzip = encoded(mine(b"{}".to_vec()), "gzip");
    refused(&it, no_gzip, 400, bad, &["gzip"]).await;
    let zstd = encoded(mine(b"{}".to_vec()), "zstd");
    refused(&it, zstd, 415, "encoding", &["zstd", "gzip or identity"]).await;
    let mut version = healthy("host/mini-1", 1);
    version["version"] = json!(2);
    let says = ["version 2", "update the older side"];
    refused(&it, mine(bytes(&version)), 400, "wrong_version", &says).await;
    let mut cluster = healthy("host/mini-1", 1);
    cluster["cluster"] = json!("production");
    let says = ["production", "staging", "probe.exporters"];
    refused(&it, mine(bytes(&cluster)), 400, "wrong_cluster", &says).await;
    let mut vantage = healthy("host/mini-1", 1);
    vantage["vantage"] = json!("host/<script>");
    refused(
        &it,
        mine(bytes(&vantage)),
        400,
        bad,
        &["a name may hold only"],
    )
    .await;
    let nothing = Request::get(format!("http://{}/v2/report", it.at.ingest));
    refused(&it, nothing, 404, "not_found", &["/v2/report"]).await;
    for (result, count) in [
        ("malformed", 5.0),
        ("wrong_version", 1.0),
        ("wrong_cluster", 1.0),
    ] {
        let name =
            format!("pnwatch_ingest_reports_total{{cluster=\"staging\",result=\"{result}\"}}");
        assert_eq!(it.metric(&name).await, Some(count), "{result}");
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_two_hosts_becomes_a_finding() {
    let it = Setup::new().start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    assert_eq!(it.json("/v1/findings").await["data"], json!([]));
    let found = it.lose_the_node(2).await;
    for (key, value) in [
        ("cluster", "staging"),
        ("blame", "node"),
        ("subject", "kura-fleet-1"),
        ("alertname", "PNNodeUnreachable"),
        ("severity", "critical"),
    ] {
        assert_eq!(found[key], value, "{found}");
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_takes_over_and_an_unreadable_one_stays() {
    let it = Setup::new().start().await;
    let file = it.path("host-mini-1");
    common::replace(&file, "token-that-is-new");
    let status = async |token: &str, seq| {
        let body = bytes(&report(
            "host/mini-1",
            seq,
            &[path(NODE, "arp", "reached", 900, 10)],
        ));
        it.send(with(it.post(Bytes::from(body)), token))
            .await
            .status
    };
    common::until("the new token", async || {
        (status("token-that-is-new", 1).await == 200).then_some(())
    })
    .await;
    assert_eq!(status("token-of-mini-1", 2).await, 401);
    std::fs::remove_file(&file).unwrap();
    let unreadable = "pnwatch_token_files_unreadable{cluster=\"staging\"}";
    common::until("the metric", async || {
        (it.metric(unreadable).await == Some(1.0)).then_some(())
    })
    .await;
    assert_eq!(status("token-that-is-new", 3).await, 200);
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_does_not_report_by_itself() {
    let mut setup = Setup::new();
    let file = setup.dir.path().join("vm");
    std::fs::write(&file, "token-of-a-vm").unwrap();
    let serve = setup.config.serve.as_mut().unwrap();
    serve.tokens.push(pnwatch_edge::config::TokenBinding {
        vantage: "vm/mini-1/0".parse().unwrap(),
        file,
    });
    let it = setup.start().await;
    let own = with(it.post(bytes(&healthy("vm/mini-1/0", 1))), "token-of-a-vm");
    let says = ["its host's relay", "serve.tokens"];
    refused(&it, own, 403, "wrong_vantage", &says).await;
    // Through its host it is heard, under the host's name and a slot.
    let mut through = healthy("host/mini-1", 1);
    let seen = path(common::ACCOUNT, "tcp", "unreached:syn_unanswered", 900, 10);
    through["vms"] = json!([{ "slot": "0", "boot_id": "b-1", "paths": [seen] }]);
    it.report(&through).await;
    // The view is a snapshot, at most a second old.
    common::until("a path of the VM", || async {
        let view = it.json("/v1/view").await;
        let paths = view["paths"].to_string();
        paths.contains("vm/mini-1/0").then_some(())
    })
    .await;
    it.stop().await;
}
