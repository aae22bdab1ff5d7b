//! Who may do what: every endpoint of every listener × every credential. An endpoint that this
//! table does not know fails it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use axum::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Running, Setup, healthy};
use pnwatch_edge::config::Reader;
use pnwatch_edge::http::Request;

/// What a request offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credential {
    None,
    /// A bearer token that nobody has.
    Wrong,
    /// A token that was right until its file changed.
    Expired,
    /// Another vantage's.
    OtherVantage,
    /// What a VM has: nothing of ours, so it may only guess.
    Vm,
    /// The vantage's own.
    Vantage,
    /// A reader's, as a browser sends it.
    Reader,
    /// A reader's name with another's secret.
    MixedReader,
}

use Credential as C;

const ALL: [C; 8] = [
    C::None,
    C::Wrong,
    C::Expired,
    C::OtherVantage,
    C::Vm,
    C::Vantage,
    C::Reader,
    C::MixedReader,
];

/// Who is served, by endpoint; `listener method path`.
const TABLE: &[(&str, &[C])] = &[
    ("ingest POST /v1/report", &[C::Vantage]),
    // A plan is the asker's own: another vantage's token gets that vantage's plan.
    ("ingest GET /v1/plan", &[C::Vantage, C::OtherVantage]),
    ("ingest GET /livez", &ALL),
    ("ingest GET /readyz", &ALL),
    ("page GET /", &[C::Reader]),
    ("page GET /accounts", &[C::Reader]),
    ("page GET /accounts/{name}", &[C::Reader]),
    ("page GET /budgets", &[C::Reader]),
    ("page GET /findings/{*id}", &[C::Reader]),
    ("page GET /nodes/{name}", &[C::Reader]),
    ("page GET /paths/{*name}", &[C::Reader]),
    ("page GET /runbooks", &[C::Reader]),
    ("page GET /runbooks/{name}", &[C::Reader]),
    ("page GET /vantages", &[C::Reader]),
    ("page GET /vantages/{*name}", &[C::Reader]),
    ("page GET /v1/events", &[C::Reader]),
    ("page GET /v1/explain", &[C::Reader]),
    ("page GET /v1/findings", &[C::Reader]),
    ("page GET /v1/gate", &[C::Reader]),
    ("page POST /v1/gate", &[C::Reader]),
    ("page GET /v1/view", &[C::Reader]),
    ("page GET /assets/icon.svg", &ALL),
    ("page GET /assets/page.css", &ALL),
    ("page GET /assets/page.js", &ALL),
    ("page GET /livez", &ALL),
    ("page GET /readyz", &ALL),
    // Names of accounts are labels: keep this listener on the scraper's network.
    ("metrics GET /metrics", &ALL),
    ("metrics GET /livez", &ALL),
    ("metrics GET /readyz", &ALL),
];

const EXPIRED: &str = "token-before-rotation";

async fn start() -> Running {
    let mut setup = Setup::new();
    let mut readers = Vec::new();
    for (name, secret) in [("oncall", "secret-of-oncall"), ("bot", "secret-of-bot")] {
        let file = setup.dir.path().join(name);
        std::fs::write(&file, secret).unwrap();
        readers.push(Reader {
            name: name.to_owned(),
            file,
        });
    }
    setup.serve().readers = readers;
    let own = setup.dir.path().join("host-mini-1");
    std::fs::write(&own, EXPIRED).unwrap();
    let it = setup.start().await;
    common::replace(&own, "token-of-mini-1");
    common::until("the rotated token", || async {
        let answer = it.send(ask(&it, "ingest GET /v1/plan", C::Vantage)).await;
        (answer.status == 200).then_some(())
    })
    .await;
    it
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

fn header(credential: C) -> Option<String> {
    Some(match credential {
        C::None => return None,
        C::Wrong => "Bearer token-of-nobody".to_owned(),
        C::Expired => format!("Bearer {EXPIRED}"),
        C::OtherVantage => "Bearer token-of-mini-2".to_owned(),
        C::Vm => "Bearer vm/mini-1/1".to_owned(),
        C::Vantage => "Bearer token-of-mini-1".to_owned(),
        C::Reader => basic("oncall", "secret-of-oncall"),
        C::MixedReader => basic("oncall", "secret-of-bot"),
    })
}

fn ask(it: &Running, endpoint: &str, credential: C) -> Request {
    let mut words = endpoint.split(' ');
    let (listener, method, path) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    );
    let address = match listener {
        "ingest" => it.at.ingest,
        "page" => it.at.page,
        _ => it.at.metrics,
    };
    let path = path
        .replace("/runbooks/{name}", "/runbooks/PNNodeUnreachable")
        .replace("/nodes/{name}", "/nodes/kura-fleet-1")
        .replace("/vantages/{*name}", "/vantages/host/mini-1")
        .replace("{name}", "acme")
        .replace("{*id}", "none")
        .replace("{*name}", "none");
    let url = format!(
        "http://{address}{path}{}",
        if path == "/v1/gate" { "?all=1" } else { "" }
    );
    let request = match (method, path.as_str()) {
        ("POST", "/v1/report") => Request::post(
            url,
            "application/json",
            serde_json::to_vec(&healthy("host/mini-1", 1))
                .unwrap()
                .into(),
        ),
        ("POST", _) => Request::post(url, "application/json", Vec::new().into()),
        _ => Request::get(url),
    };
    match header(credential) {
        None => request,
        Some(value) => request.header(
            HeaderName::from_static("authorization"),
            HeaderValue::try_from(value).unwrap(),
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_serves_exactly_whom_it_should() {
    let it = start().await;
    for (endpoint, served) in TABLE {
        for credential in ALL {
            // The stream does not end: that it begins is seen by its refusal alone.
            if *endpoint == "page GET /v1/events" && served.contains(&credential) {
                continue;
            }
            let answer = it.send(ask(&it, endpoint, credential)).await;
            let refused = matches!(answer.status, 401 | 403);
            assert_eq!(
                refused,
                !served.contains(&credential),
                "{endpoint} with {credential:?}: {} {}",
                answer.status,
                answer.first_line()
            );
            if refused {
                // A refusal tells no name of a customer's.
                assert!(!answer.first_line().contains("acme"), "{endpoint}");
            }
        }
    }
    it.stop().await;
}

#[test]
fn the_table_knows_every_endpoint() {
    let mut missing = Vec::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Stand-ins of tests are no listeners of ours.
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.extension().is_none_or(|end| end != "rs") || name.contains("tests") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for call in text.split(".route(").skip(1) {
                let place = call.trim_start().strip_prefix('"');
                let Some((place, _)) = place.and_then(|rest| rest.split_once('"')) else {
                    continue;
                };
                if !TABLE
                    .iter()
                    .any(|(endpoint, _)| endpoint.ends_with(&format!(" {place}")))
                {
                    missing.push(place.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "who may ask for {missing:?}?");
}
