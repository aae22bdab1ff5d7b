//! Who may do what: every endpoint of every listener × every credential. An endpoint that this
//! table does not know fails it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use std::net::SocketAddr;

use axum::http::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Running, Setup, healthy};
use pnwatch_edge::config::Reader;
use pnwatch_edge::http::Request;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

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
    /// The same as a program sends it.
    ReaderToken,
    /// A reader's secret that was right until its file changed.
    ExpiredReader,
    /// A reader's name with another's secret.
    MixedReader,
    /// A pipeline's: the gate's token, which is a reader's secret as well.
    Pipeline,
}

use Credential as C;

const ALL: [C; 11] = [
    C::None,
    C::Wrong,
    C::Expired,
    C::OtherVantage,
    C::Vm,
    C::Vantage,
    C::Reader,
    C::ReaderToken,
    C::ExpiredReader,
    C::MixedReader,
    C::Pipeline,
];
const READERS: [C; 3] = [C::Reader, C::ReaderToken, C::Pipeline];

/// `listener method path`, the status for who is served, and who is; everybody else gets 401 or,
/// speaking for another, 403. `{…}` is filled in by [`ask`].
const TABLE: &[(&str, u16, &[C])] = &[
    ("ingest POST /v1/report", 200, &[C::Vantage]),
    // A plan is the asker's own: another vantage's token gets that vantage's plan.
    ("ingest GET /v1/plan", 200, &[C::Vantage, C::OtherVantage]),
    ("ingest GET /livez", 200, &ALL),
    ("ingest GET /readyz", 200, &ALL),
    ("page GET /", 200, &READERS),
    ("page GET /accounts", 200, &READERS),
    ("page GET /accounts/{name}", 200, &READERS),
    ("page GET /budgets", 200, &READERS),
    // There is none: served, and told so.
    ("page GET /findings/{*id}", 404, &READERS),
    ("page GET /nodes/{name}", 200, &READERS),
    ("page GET /paths/{*name}", 404, &READERS),
    ("page GET /runbooks", 200, &READERS),
    ("page GET /runbooks/{name}", 200, &READERS),
    ("page GET /vantages", 200, &READERS),
    ("page GET /vantages/{*name}", 200, &READERS),
    ("page GET /v1/events", 200, &READERS),
    ("page GET /v1/explain", 200, &READERS),
    ("page GET /v1/findings", 200, &READERS),
    ("page GET /v1/gate", 200, &READERS),
    ("page POST /v1/gate", 200, &READERS),
    // Asks machines for work.
    ("page POST /v1/gate?active=1", 200, &[C::Pipeline]),
    ("page GET /v1/view", 200, &READERS),
    ("page GET /assets/icon.svg", 200, &ALL),
    ("page GET /assets/page.css", 200, &ALL),
    ("page GET /assets/page.js", 200, &ALL),
    ("page GET /livez", 200, &ALL),
    ("page GET /readyz", 200, &ALL),
    // Names of accounts are labels: keep this listener on the scraper's network.
    ("metrics GET /metrics", 200, &ALL),
    ("metrics GET /livez", 200, &ALL),
    ("metrics GET /readyz", 200, &ALL),
];

const EXPIRED: &str = "token-before-rotation";
const EXPIRED_READER: &str = "secret-before-rotation";

async fn start() -> Running {
    let mut setup = Setup::new();
    let mut readers = Vec::new();
    for (name, secret) in [
        ("oncall", EXPIRED_READER),
        ("bot", "secret-of-bot"),
        ("pipeline", "secret-of-pipeline"),
    ] {
        let file = setup.dir.path().join(name);
        std::fs::write(&file, secret).unwrap();
        readers.push(Reader {
            name: name.to_owned(),
            file,
        });
    }
    setup.serve().gate.token_file = Some(setup.dir.path().join("pipeline"));
    setup.serve().readers = readers;
    let own = setup.dir.path().join("host-mini-1");
    std::fs::write(&own, EXPIRED).unwrap();
    let it = setup.start().await;
    common::replace(&own, "token-of-mini-1");
    common::replace(&it.path("oncall"), "secret-of-oncall");
    for (endpoint, credential) in [
        ("ingest GET /v1/plan", C::Vantage),
        ("page GET /v1/view", C::Reader),
    ] {
        common::until("the rotated secret", || async {
            let answer = it.send(ask(&it, endpoint, credential)).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    // What is known of the paths, so that there is something to be served.
    it.report(&healthy("host/mini-1", 1)).await;
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
        C::ReaderToken => "Bearer secret-of-oncall".to_owned(),
        C::ExpiredReader => basic("oncall", EXPIRED_READER),
        C::MixedReader => basic("oncall", "secret-of-bot"),
        C::Pipeline => "Bearer secret-of-pipeline".to_owned(),
    })
}

/// The words of an endpoint, its listener's address and a path that exists.
fn place<'a>(it: &Running, endpoint: &'a str) -> (SocketAddr, &'a str, String) {
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
    let path = match path.as_str() {
        "/v1/gate" => "/v1/gate?all=1".to_owned(),
        "/v1/gate?active=1" => "/v1/gate?all=1&active=1".to_owned(),
        "/v1/explain" => "/v1/explain?about=node/kura-fleet-1".to_owned(),
        _ => path,
    };
    (address, method, path)
}

fn ask(it: &Running, endpoint: &str, credential: C) -> Request {
    let (address, method, path) = place(it, endpoint);
    let url = format!("http://{address}{path}");
    let request = match (method, path.as_str()) {
        ("POST", "/v1/report") => {
            let report = serde_json::to_vec(&healthy("host/mini-1", 2)).unwrap();
            Request::post(url, "application/json", report.into())
        }
        ("GET", _) => Request::get(url),
        _ => {
            let mut request = Request::post(url, "application/json", Vec::new().into());
            request.method = method.parse().unwrap();
            request
        }
    };
    match header(credential) {
        None => request,
        Some(value) => request.header(
            HeaderName::from_static("authorization"),
            HeaderValue::try_from(value).unwrap(),
        ),
    }
}

/// The status and what was said. A stream does not end: of one, the first line is enough.
async fn answer(it: &Running, endpoint: &str, credential: C) -> (u16, String) {
    if !endpoint.ends_with("/v1/events") {
        let answer = it.send(ask(it, endpoint, credential)).await;
        return (answer.status, answer.first_line());
    }
    let (address, method, path) = place(it, endpoint);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let offered = header(credential).map(|value| format!("authorization: {value}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{}\r\n",
        offered.unwrap_or_default()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    timeout(common::DEADLINE, reader.read_line(&mut line))
        .await
        .unwrap()
        .unwrap();
    (line[9..12].parse().unwrap(), line)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_serves_exactly_whom_it_should() {
    let it = start().await;
    let mut wrong = Vec::new();
    for (endpoint, status, served) in TABLE {
        for credential in ALL {
            let (got, said) = answer(&it, endpoint, credential).await;
            let right = if served.contains(&credential) {
                got == *status
            } else {
                // A refusal tells no name of a customer's.
                matches!(got, 401 | 403) && !said.contains("acme")
            };
            if !right {
                wrong.push(format!("{endpoint} with {credential:?}: {got} {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    it.stop().await;
}

/// Every answer is a read, and a report the only thing that is taken: with no other method does
/// anybody get anywhere, whatever they offer.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_method_is_served() {
    let it = start().await;
    let mut wrong = Vec::new();
    for (endpoint, _, _) in TABLE {
        let (listener, path) = endpoint.split_once(' ').unwrap();
        let path = path.split_once(' ').unwrap().1;
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let other = format!("{listener} {method} {path}");
            if TABLE.iter().any(|(known, _, _)| *known == other) {
                continue;
            }
            for credential in [C::None, C::Vantage, C::Pipeline] {
                let (got, said) = answer(&it, &other, credential).await;
                if !matches!(got, 401 | 403 | 404 | 405) {
                    wrong.push(format!("{other} with {credential:?}: {got} {said}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    it.stop().await;
}

#[test]
fn the_table_knows_every_endpoint() {
    let mut missing = Vec::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![folder];
    let mut seen = 0;
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
            for (methods, place) in routes(&std::fs::read_to_string(&path).unwrap()) {
                seen += 1;
                assert!(!methods.is_empty(), "how is {place} asked for?");
                for method in methods {
                    let end = format!(" {method} {place}");
                    if !TABLE.iter().any(|(known, _, _)| known.ends_with(&end)) {
                        missing.push(end);
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "who may ask for {missing:?}?");
    assert!(
        seen > 15,
        "the routes are written in another way now: {seen}"
    );
}

/// Every path that a source file routes, with the methods that it is routed for.
fn routes(text: &str) -> Vec<(Vec<&'static str>, String)> {
    let calls = text.split(".route(").skip(1);
    calls
        .filter_map(|call| {
            let (place, rest) = call.trim_start().strip_prefix('"')?.split_once('"')?;
            let mut depth = 1;
            let end = rest.find(|letter| {
                depth += i32::from(letter == '(') - i32::from(letter == ')');
                depth == 0
            })?;
            let rest = &rest[..end];
            let known = [
                ("get(", "GET"),
                ("post(", "POST"),
                ("put(", "PUT"),
                ("patch(", "PATCH"),
                ("delete(", "DELETE"),
                ("any(", "ANY"),
            ];
            let methods = known.iter().filter(|(call, _)| rest.contains(call));
            Some((methods.map(|(_, name)| *name).collect(), place.to_owned()))
        })
        .collect()
}
