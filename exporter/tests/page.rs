//! Page, API and events.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::time::Duration;

use axum::http::header;
use common::{ACCOUNT, NODE, Setup, healthy, path, report};
use pnwatch_edge::http::Request;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_hardened_and_live_and_ready_say_so() {
    let it = Setup::new().start().await;
    for path in [
        "/",
        "/v1/findings",
        "/v1/view",
        "/v1/explain?about=network",
        "/?live",
        "/vantages",
        "/accounts",
        "/budgets",
        "/accounts/acme",
        "/nodes/kura-fleet-1",
        "/vantages/host/mini-1",
        "/runbooks",
        "/runbooks/PNNodeUnreachable",
        "/runbooks/PNNodeUnreachable.md",
        "/assets/page.css",
        "/assets/page.js",
        "/assets/icon.svg",
        "/livez",
        "/readyz",
        "/nothing",
    ] {
        let answer = it.page(path).await;
        let expected = if path == "/nothing" { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{path}");
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
    for address in [it.at.metrics, it.at.ingest] {
        for path in ["/livez", "/readyz"] {
            let url = format!("http://{address}{path}");
            assert_eq!(it.send(Request::get(url)).await.status, 200);
        }
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebound_name_gets_nothing() {
    let it = Setup::new().start().await;
    let foreign = Request::get(format!("http://{}/v1/findings", it.at.page))
        .header(header::HOST, "evil.example".parse().unwrap());
    let answer = it.send(foreign).await;
    assert_eq!(answer.status, 421);
    assert!(answer.first_line().contains("127.0.0.1"));
    it.stop().await;
}

/// The first page, once it says `part`: a read may be a tenth of a second old.
async fn shows(it: &common::Running, part: &str) -> String {
    common::until(part, || async {
        let text = String::from_utf8(it.page("/").await.body.to_vec()).unwrap();
        text.contains(part).then_some(text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_finding_and_the_matrix() {
    let it = Setup::new().start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    let text = async |path: &str| String::from_utf8(it.page(path).await.body.to_vec()).unwrap();
    let calm = shows(&it, "paths healthy").await;
    for part in ["newest evidence", "kura-acme-1", "Nothing is wrong"] {
        assert!(calm.contains(part), "{part} is not in {calm}");
    }
    let found = it.lose_the_node(2).await;
    let id = found["id"].as_str().unwrap();
    let alarm = text("/").await;
    for part in [
        "<section class=\"mood critical\">",
        "node kura-fleet-1",
        "172.16.0.2",
        "aria-live=\"polite\"",
        "<th scope=\"row\">arp</th>",
        "class=\"down\"",
        "/runbooks/PNNodeUnreachable#",
        id,
    ] {
        assert!(alarm.contains(part), "{part} is not in {alarm}");
    }
    // No inline script or style: the policy would block it.
    assert!(!alarm.contains("<style") && !alarm.contains(" style=") && !alarm.contains("<script>"));
    // The live part is the main part of the page, and nothing else.
    let live = text("/?live").await;
    assert!(
        live.starts_with("<template id=\"title\">(1) node kura-fleet-1"),
        "{live}"
    );
    assert!(live.contains(id) && !live.contains("<html"), "{live}");
    for path in [
        format!("/findings/{id}"),
        "/nodes/kura-fleet-1".to_owned(),
        "/accounts/acme".to_owned(),
        "/vantages/host/mini-1".to_owned(),
    ] {
        let detail = text(&path).await;
        assert!(detail.contains(id), "{path}: {detail}");
    }
    for about in ["node/kura-fleet-1", "kura-fleet-1"] {
        let why = it.json(&format!("/v1/explain?about={about}")).await;
        assert_eq!(why["about"], "node/kura-fleet-1");
        assert_eq!(why["findings"][0]["id"], id, "{why}");
        assert!(
            why["applied"][0]["rule"]
                .as_str()
                .unwrap()
                .starts_with("node_"),
            "{why}"
        );
        assert!(!why["rejected"].as_array().unwrap().is_empty(), "{why}");
    }
    let path = it.json("/v1/explain?about=host/mini-1:account/acme").await;
    assert_eq!(path["about"], "host/mini-1:account/acme");
    for (asked, status, code) in [
        ("?about=nobody", 404, "unknown"),
        ("?about=node/nobody", 404, "unknown"),
        ("?about=moon/x", 400, "parameters"),
        ("?about=a:b:c", 400, "parameters"),
        ("", 400, "parameters"),
    ] {
        let answer = it.page(&format!("/v1/explain{asked}")).await;
        assert_eq!(answer.status, status, "{asked}");
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["error"]["code"], code, "{asked}");
    }
    let view = it.json("/v1/view").await;
    assert_eq!(view["findings_open"], 1);
    assert_eq!(view["targets"][0]["target"]["account"], "acme");
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_can_be_taken_elsewhere_and_its_paths_remember() {
    let manager = ["http://127.0.0.1:9".to_owned()];
    let it = Setup::new()
        .alertmanagers(&manager, Duration::from_mins(1))
        .start()
        .await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    let text = async |path: &str| String::from_utf8(it.page(path).await.body.to_vec()).unwrap();
    let found = it.lose_the_node(2).await;
    let id = found["id"].as_str().unwrap();
    let page = text(&format!("/findings/{id}")).await;
    for part in [
        // A silence for this finding alone, in the Alertmanager that people open.
        "href=\"http://alerts.example/am/#/silences/new?filter=%7Balertname%3D%22PNNodeUnreachable%22%2Ccluster%3D%22staging%22%2Cblame%3D%22node%22%2Csubject%3D%22kura-fleet-1%22%7D\"",
        // The same as Markdown.
        "<code>**critical: node kura-fleet-1",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(text("/").await.contains("<ol class=\"timeline\">"));
    // Every path has a place of its own, which remembers what its checks failed of.
    let vantage = text("/vantages/host/mini-1").await;
    let place = vantage
        .split("href=\"")
        .filter_map(|part| part.split('"').next())
        .find(|link| link.starts_with("/paths/host/mini-1/arp/"))
        .unwrap_or_else(|| panic!("no path in {vantage}"));
    let path = text(place).await;
    assert!(
        path.contains("Last failures") && path.contains("arp unanswered"),
        "{path}"
    );
    assert_eq!(
        it.page("/paths/host/mini-1/arp/node:nobody").await.status,
        404
    );
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_readers_read_where_readers_are_named() {
    let mut setup = Setup::new();
    let file = setup.dir.path().join("reader");
    std::fs::write(&file, "s3cret").unwrap();
    setup.serve().readers = vec![pnwatch_edge::config::Reader {
        name: "oncall".to_owned(),
        file,
    }];
    let it = setup.start().await;
    let ask = async |path: &str, authorization: Option<&str>| {
        let mut request = Request::get(format!("http://{}{path}", it.at.page));
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value.parse().unwrap());
        }
        it.send(request).await
    };
    for path in [
        "/",
        "/v1/findings",
        "/v1/view",
        "/v1/gate?all=1",
        "/runbooks",
        "/nothing",
    ] {
        for wrong in [None, Some("Bearer wrong"), Some("Basic b25jYWxsOndyb25n")] {
            let answer = ask(path, wrong).await;
            assert_eq!(answer.status, 401, "{path} {wrong:?}");
            assert!(
                answer.headers[header::WWW_AUTHENTICATE]
                    .to_str()
                    .unwrap()
                    .starts_with("Basic "),
                "a browser must ask"
            );
            assert!(!answer.first_line().contains("acme"));
        }
        for right in ["Bearer s3cret", "Basic b25jYWxsOnMzY3JldA=="] {
            assert_ne!(ask(path, Some(right)).await.status, 401, "{path}");
        }
    }
    // Health, style and script tell nothing.
    for path in ["/livez", "/readyz", "/assets/page.css", "/assets/page.js"] {
        assert_eq!(ask(path, None).await.status, 200, "{path}");
    }
    it.stop().await;
}

/// Reads events off a raw connection; the bounded client reads whole answers only.
struct Events {
    lines: tokio::io::Lines<BufReader<tokio::net::TcpStream>>,
}

impl Events {
    async fn open(address: std::net::SocketAddr) -> Self {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        Self {
            lines: BufReader::new(stream).lines(),
        }
    }

    /// The data of the next event of that name.
    async fn next(&mut self, name: &str) -> serde_json::Value {
        let read = async {
            let mut matches = false;
            loop {
                let line = self
                    .lines
                    .next_line()
                    .await
                    .unwrap()
                    .expect("the stream goes on");
                if let Some(event) = line.strip_prefix("event: ") {
                    matches = event == name;
                } else if let Some(data) = line.strip_prefix("data: ")
                    && matches
                {
                    return serde_json::from_str(data).unwrap();
                }
            }
        };
        tokio::time::timeout(common::DEADLINE, read).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_begin_with_a_snapshot_and_tell_transitions() {
    let it = Setup::new().start().await;
    it.report(&healthy("host/mini-1", 1)).await;
    it.report(&healthy("host/mini-2", 1)).await;
    shows(&it, "paths healthy").await;
    let mut events = Events::open(it.at.page).await;
    let snapshot = events.next("snapshot").await;
    assert_eq!(snapshot["open"], serde_json::json!([]));
    assert_eq!(snapshot["reporting"], 2);
    assert_eq!(events.next("heartbeat").await["open"], 0);
    let found = it.lose_the_node(2).await;
    let told = events.next("transition").await;
    assert_eq!(told["change"], "opened");
    assert_eq!(told["finding"]["id"], found["id"]);
    let mut late = Events::open(it.at.page).await;
    assert_eq!(late.next("snapshot").await["open"][0]["id"], found["id"]);
    // A stop ends the streams.
    let started = std::time::Instant::now();
    it.stop().await;
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_said() {
    let it = Setup::new().start().await;
    let empty = shows(&it, "waiting for the first report").await;
    for part in [
        "<section class=\"mood blind\">",
        "waiting for the first report",
        "host/mini-1 sees: it has never reported",
        "No check was reported yet",
    ] {
        assert!(empty.contains(part), "{part} is not in {empty}");
    }
    for path in [
        "/accounts/nobody",
        "/nodes/none",
        "/vantages/host/x",
        "/findings/y",
    ] {
        assert_eq!(it.page(path).await.status, 404, "{path}");
    }
    // A layer without a meaning here is no unknown one.
    let arp = path(NODE, "arp", "not_applicable", 900, 100);
    let up = ["tcp", "http"].map(|layer| path(ACCOUNT, layer, "reached", 900, 100));
    let paths = [arp, up[0].clone(), up[1].clone()];
    it.report(&report("host/mini-1", 1, &paths)).await;
    let calm = shows(&it, "all 2 paths healthy").await;
    for part in ["<li class=\"none\"><abbr>ARP</abbr>", "n/a"] {
        assert!(calm.contains(part), "{part} is not in {calm}");
    }
    it.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_subjects_stay_text() {
    let it = Setup::new().start().await;
    let hostile = "\"><script>alert(1)</script>";
    it.external([hostile]).await;
    common::until("the finding", || async {
        let found = it.json("/v1/findings").await;
        found["data"].as_array().unwrap().first().cloned()
    })
    .await;
    let page = String::from_utf8(it.page("/").await.body.to_vec()).unwrap();
    assert!(!page.contains("<script>alert"), "{page}");
    let link = page.split("href=\"/findings/").nth(1).unwrap();
    let link = link.split('"').next().unwrap();
    assert!(link.contains("%3Cscript%3E"), "{link}");
    assert_eq!(it.page(&format!("/findings/{link}")).await.status, 200);
    it.stop().await;
}
