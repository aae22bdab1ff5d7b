//! The bare wire: paths, hostile requests, discovery, and the program itself.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi, objects};
use serde_json::{Value, json};

/// Sends bytes as they are and returns status code and body.
fn raw(address: &str, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // The server may close before it has read all of a request that it refuses.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer
        .split(' ')
        .nth(1)
        .and_then(|c| c.parse().ok())
        .unwrap_or(0);
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, b)| b.to_owned())
        .unwrap_or_default();
    (code, body)
}

fn call(api: &FakeApi, method: &str, path: &str, body: (&str, &[u8])) -> (u16, Value) {
    let (content_type, body) = body;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\
         content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (code, answer) = raw(
        &api.address().to_string(),
        &[head.as_bytes(), body].concat(),
    );
    (
        code,
        serde_json::from_str(&answer).unwrap_or(Value::String(answer)),
    )
}

fn get(api: &FakeApi, path: &str) -> (u16, Value) {
    call(api, "GET", path, ("", b""))
}

#[test]
fn discovery_and_health() {
    let api = FakeApi::start();
    for path in ["/healthz", "/readyz", "/livez"] {
        assert_eq!(get(&api, path), (200, json!("ok")));
    }
    assert_eq!(get(&api, "/version").1["minor"], "34");
    assert_eq!(get(&api, "/api").1["versions"], json!(["v1"]));
    let groups = get(&api, "/apis").1;
    assert!(
        groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .any(|g| g["name"] == "kura.tuist.dev")
    );
    assert_eq!(
        get(&api, "/apis/kura.tuist.dev").1["preferredVersion"]["version"],
        "v1alpha1"
    );
    let core = get(&api, "/api/v1").1;
    let names: Vec<_> = core["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].clone())
        .collect();
    assert!(
        names.contains(&json!("nodes/status")) && names.contains(&json!("pods")),
        "{names:?}"
    );
}

#[test]
fn whatever_is_unknown_is_a_404_status() {
    let api = FakeApi::start();
    for path in [
        "/",
        "/nope",
        "/api/v2/nodes",
        "/api/v1/gnomes",
        "/apis/x/v1/y",
        "/api/v1/nodes/n/scale",
        "/api/v1/nodes/n/status/x",
        "/api/v1/namespaces/default/nodes",
        "/apis/kura.tuist.dev/v2/kurainstances",
        "/api/v1/nodes/absent",
    ] {
        let (code, body) = get(&api, path);
        assert_eq!(
            (code, &body["kind"], &body["reason"]),
            (404, &json!("Status"), &json!("NotFound")),
            "{path}"
        );
    }
}

/// Method, path, content type and body, expected code.
type Case<'a> = (&'a str, &'a str, (&'a str, &'a [u8]), u16);

#[test]
fn hostile_requests_are_refused_and_do_no_harm() {
    let api = FakeApi::start();
    api.apply(objects::linux_node("n", "172.16.0.2")).unwrap();
    let json_type = "application/json";
    let deep = "[".repeat(100_000);
    let huge = vec![b'x'; 4 * 1024 * 1024];
    let cases: [Case<'_>; 20] = [
        ("POST", "/api/v1/nodes", (json_type, b"{"), 400),
        ("POST", "/api/v1/nodes", (json_type, b"[]"), 400),
        (
            "POST",
            "/api/v1/nodes",
            (json_type, b"{\"metadata\":7}"),
            400,
        ),
        ("POST", "/api/v1/nodes", (json_type, b"{}"), 422),
        (
            "POST",
            "/api/v1/nodes",
            (json_type, b"{\"metadata\":{\"name\":\"../x\"}}"),
            422,
        ),
        (
            "POST",
            "/api/v1/nodes",
            (
                json_type,
                b"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"}}",
            ),
            400,
        ),
        ("POST", "/api/v1/nodes", (json_type, deep.as_bytes()), 400),
        ("POST", "/api/v1/nodes", (json_type, &huge), 413),
        (
            "POST",
            "/api/v1/pods",
            (json_type, b"{\"metadata\":{\"name\":\"x\"}}"),
            405,
        ),
        (
            "PATCH",
            "/api/v1/nodes/n",
            ("application/json-patch+json", b"[]"),
            415,
        ),
        (
            "PATCH",
            "/api/v1/nodes/n",
            ("application/strategic-merge-patch+json", b"[]"),
            400,
        ),
        (
            "PATCH",
            "/api/v1/nodes/n",
            ("application/apply-patch+yaml", b"{}"),
            422,
        ),
        (
            "PATCH",
            "/api/v1/nodes/n?fieldManager=m",
            ("application/apply-patch+yaml", b"{a: [}"),
            400,
        ),
        (
            "PATCH",
            "/api/v1/nodes/n",
            ("application/merge-patch+json", b"7"),
            400,
        ),
        (
            "PATCH",
            "/api/v1/nodes/n",
            ("application/merge-patch+json", b"{\"metadata\":null}"),
            200,
        ),
        ("DELETE", "/api/v1/nodes", (json_type, b""), 405),
        ("GET", "/api/v1/nodes?limit=-1", ("", b""), 400),
        ("GET", "/api/v1/nodes?continue=zzz", ("", b""), 400),
        (
            "GET",
            "/api/v1/nodes?watch=1&resourceVersion=99999999",
            ("", b""),
            504,
        ),
        (
            "GET",
            "/api/v1/nodes?watch=1&sendInitialEvents=true",
            ("", b""),
            422,
        ),
    ];
    for (method, path, body, expected) in cases {
        let (code, answer) = call(&api, method, path, body);
        assert_eq!(code, expected, "{method} {path}: {answer}");
    }
    let node = api.get("nodes", "", "n").unwrap();
    assert_eq!(node["metadata"]["name"], "n");
    for junk in [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"GET /api/v1/nodes HTTP/1.1\r\nauthorization: \xff\r\nhost: x\r\nconnection: close\r\n\r\n"] {
        raw(&api.address().to_string(), junk);
    }
    assert_eq!(get(&api, "/healthz").0, 200);
}

#[test]
fn an_apply_patch_may_be_yaml() {
    let api = FakeApi::start();
    let yaml =
        b"apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {a: \"1\", 'on': 'yes'}}\n";
    let (code, node) = call(
        &api,
        "PATCH",
        "/api/v1/nodes/n?fieldManager=m",
        ("application/apply-patch+yaml", yaml),
    );
    assert_eq!(
        (code, &node["metadata"]["labels"]),
        (201, &json!({"a": "1", "on": "yes"}))
    );
}

#[test]
fn anonymous_callers_see_health_alone() {
    let api = FakeApi::start();
    let address = api.address().to_string();
    let ask = |path: &str| {
        raw(
            &address,
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        )
    };
    assert_eq!(ask("/readyz").0, 200);
    let (code, body) = ask("/api/v1/nodes");
    assert_eq!(code, 403);
    assert!(body.contains("system:anonymous"), "{body}");
}

#[test]
fn the_program_serves_what_it_loads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    let node = objects::linux_node("n", "172.16.0.2");
    std::fs::write(
        &file,
        format!("{node}\n---\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: kura\n"),
    )
    .unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_pnwatch-kubeapi"))
        .args(["--listen", "127.0.0.1:0", "--load"])
        .arg(&file)
        .arg("--kubeconfig")
        .arg(folder.path().join("kubeconfig"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(program.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let address = url.trim().trim_start_matches("http://").to_owned();
    let ask = format!(
        "GET /api/v1/nodes HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    );
    let (code, body) = raw(&address, ask.as_bytes());
    program.kill().unwrap();
    program.wait().unwrap();
    assert_eq!(code, 200);
    assert!(body.contains("172.16.0.2"), "{body}");
    let kubeconfig = std::fs::read_to_string(folder.path().join("kubeconfig")).unwrap();
    assert!(kubeconfig.contains(url.trim()));
}

#[test]
fn ready_made_objects_are_all_of_known_kinds() {
    let api = FakeApi::start();
    let instance = objects::Instance::new("tuist", "n", "172.16.0.2", 30815);
    let mut all = instance.all();
    all.extend([
        instance.june(),
        instance.pruned(),
        objects::mac_node("m"),
        objects::runner_pod("vm", "m"),
    ]);
    all.extend([
        objects::machine("x", Some("n"), true),
        objects::kura_crd(&["phase", "nodeAddress"]),
    ]);
    let count = all.len();
    let applied = api
        .apply(json!({"apiVersion": "v1", "kind": "List", "items": all}))
        .unwrap();
    assert_eq!(applied["items"].as_array().unwrap().len(), count);
    assert_eq!(
        api.list("kurainstances").len(),
        1,
        "june, later and pruned are one instance"
    );
    assert!(
        api.get("services", "kura", "kura-tuist-scw-fr-par-external")
            .is_some()
    );
    assert!(
        api.apply(json!({"apiVersion": "v1", "kind": "Gnome"}))
            .is_err()
    );
    assert!(api.apply(json!(7)).is_err());
}
