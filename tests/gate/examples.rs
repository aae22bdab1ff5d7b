//! The files of `deploy/gate`: scripts run for real under dash, manifests evaluated as their
//! controllers document it, on real answers.

use std::path::Path;

use serde_json::{Value, json};

use crate::exporter::Exporter;
use crate::run::{PNWATCH, Ran, example, pnwatch, program, run};

async fn dash(script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = program("dash");
    command
        .arg(example(script))
        .args(arguments)
        .env("PNWATCH", PNWATCH)
        .envs(environment.iter().copied());
    run(command).await
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_actions_script() {
    let mut it = Exporter::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (summary, outputs) = (file("summary"), file("outputs"));
    let url = it.url.clone();
    let runner = [
        ("PNWATCH_URL", url.as_str()),
        ("GITHUB_STEP_SUMMARY", &summary),
        ("GITHUB_OUTPUT", &outputs),
    ];
    let with = |more: &[(&'static str, &'static str)]| {
        let mut all = runner.to_vec();
        all.extend_from_slice(more);
        all
    };
    let ran = dash("gate.sh", &[], &with(&[("GATE_ALL", "true")])).await;
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    it.until("open").await;
    let named = [
        ("GATE_ACCOUNT", " acme\nacme "),
        ("GATE_NODE", "kura-fleet-1"),
        ("GATE_MIN_VANTAGES", "2"),
        ("GATE_COVERAGE", "1"),
        ("GATE_FRESH", "30s"),
        ("GATE_SINCE", "2026-01-01T00:00:00Z"),
        ("GATE_FOR", "1ms"),
        ("GATE_TIMEOUT", "20s"),
    ];
    let ran = dash("gate.sh", &[], &with(&named)).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(read(outputs.as_ref()).ends_with(&format!(
        "verdict=open\nok=true\noverridden=false\nheadline={}\n",
        "open, 1 of 1 targets measured"
    )));
    it.until("closed").await;
    let ran = dash("gate.sh", &[], &with(&[("GATE_ALL", "1")])).await;
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("::error title="), "{}", ran.out);
    let override_it = [("GATE_ALL", "true"), ("GATE_OVERRIDE", "drill $(id); `id`")];
    let ran = dash("gate.sh", &[], &with(&override_it)).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("drill $(id); `id`"), "{}", ran.out);
    // A name is a name, whatever it looks like.
    for hostile in ["--override=x", "*", "a;id", "$(id)"] {
        let ran = dash(
            "gate.sh",
            &[],
            &[("PNWATCH_URL", &url), ("GATE_ACCOUNT", hostile)],
        )
        .await;
        assert_eq!(ran.code, 64, "{hostile}: {}{}", ran.out, ran.err);
    }
    for (environment, code) in [
        (vec![("GATE_ALL", "true")], 64),
        (vec![("GATE_ALL", "perhaps"), ("PNWATCH_URL", &url)], 64),
        (
            vec![
                ("GATE_ALL", "true"),
                ("PNWATCH_URL", &url),
                ("PNWATCH", "/nonexistent"),
            ],
            78,
        ),
        (vec![("GATE_OVERRIDE", "x"), ("PNWATCH", "/nonexistent")], 0),
    ] {
        let ran = dash("gate.sh", &[], &environment).await;
        assert_eq!(ran.code, code, "{environment:?}: {}", ran.err);
    }
}

/// Every input reaches the script as a variable that it reads, and no input is pasted into it.
#[test]
fn the_action_hands_every_input_to_its_script() {
    let action = yaml("action.yml").remove(0);
    let script = read(&example("gate.sh"));
    let step = &action["runs"]["steps"][0];
    let environment = step["env"].as_object().unwrap();
    let inputs: Vec<&String> = action["inputs"].as_object().unwrap().keys().collect();
    assert_eq!(environment.len(), inputs.len());
    for input in inputs {
        let pasted = format!("${{{{ inputs.{input} }}}}");
        let (variable, _) = environment
            .iter()
            .find(|(_, value)| **value == pasted)
            .unwrap_or_else(|| panic!("{input} goes nowhere"));
        assert!(script.contains(variable), "{variable} is never read");
    }
    assert!(!step["run"].as_str().unwrap().contains("${{"));
    assert_eq!(action["runs"]["using"], "composite");
    for output in action["outputs"].as_object().unwrap().keys() {
        let value = action["outputs"][output]["value"].as_str().unwrap();
        assert_eq!(value, format!("${{{{ steps.gate.outputs.{output} }}}}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_example() {
    let mut it = Exporter::start().await;
    let ask = async |url: &str, query: &str| dash("curl.sh", &[url, query], &[]).await;
    assert_eq!(ask(&it.url, "all=1").await.code, 2);
    it.until("open").await;
    let ran = ask(&it.url, "account=acme&wait=1s").await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(ask(&it.url, "al=1").await.code, 64);
    assert_eq!(ask(&it.url, "account=nobody").await.code, 2);
    it.until("closed").await;
    assert_eq!(ask(&it.url, "all=1").await.code, 1);
    assert_eq!(dash("curl.sh", &[&it.url], &[]).await.code, 64);
    let url = it.url.clone();
    drop(it);
    assert_eq!(ask(&url, "all=1").await.code, 69);
    // It accepts and says nothing; and another service that says 200 to everything.
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", hangs.local_addr().unwrap());
    let ran = dash("curl.sh", &[&hanging, "all=1"], &[("GATE_MAX_TIME", "1")]).await;
    assert_eq!(ran.code, 75, "{}", ran.err);
    let config = pnwatch_standin::StandinConfig::loopback("acme");
    let other = pnwatch_standin::Standin::start(config).await.unwrap();
    let url = format!("http://{}/up?", other.address());
    let ran = ask(&url, "all=1").await;
    assert_eq!(ran.code, 78, "{}{}", ran.out, ran.err);
    let ran = pnwatch(&[
        "gate",
        "--all",
        "--url",
        &format!("http://{}", other.address()),
    ])
    .await;
    assert_eq!(ran.code, 78, "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runners_hook_never_fails_a_job() {
    use pnwatch_standin::{Fault, Standin, StandinConfig};
    let it = Standin::start(StandinConfig::loopback("acme"))
        .await
        .unwrap();
    let url = format!("http://{}", it.address());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    let hook = async |more: &[(&str, &str)]| {
        std::fs::write(&file, "KEPT=1\n").unwrap();
        let mut environment = vec![("GITHUB_ENV", file.to_str().unwrap())];
        environment.extend_from_slice(more);
        let ran = dash("job-started.sh", &[], &environment).await;
        assert_eq!(ran.code, 0, "{more:?}: {}{}", ran.out, ran.err);
        read(&file)
    };
    let handed = ("TUIST_CACHE_ENDPOINT", url.as_str());
    assert_eq!(hook(&[handed]).await, "KEPT=1\n");
    it.set_fault(Fault::AcceptQueueFull).await;
    assert_eq!(hook(&[handed]).await, "KEPT=1\nTUIST_CACHE_ENDPOINT=\n");
    // Nothing measured: the endpoint stays, or goes if that is wanted.
    let without = ("PNWATCH", "/nonexistent");
    let drop_it = ("PNWATCH_ON_UNMEASURED", "drop");
    assert_eq!(hook(&[]).await, "KEPT=1\n");
    assert_eq!(hook(&[handed, without]).await, "KEPT=1\n");
    assert_eq!(
        hook(&[handed, without, drop_it]).await,
        "KEPT=1\nTUIST_CACHE_ENDPOINT=\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dispatch_hook_unsets_what_is_proven_bad() {
    use pnwatch_standin::{Fault, Standin, StandinConfig};
    let it = Standin::start(StandinConfig::loopback("acme"))
        .await
        .unwrap();
    let url = format!("http://{}", it.address());
    let guard = async |more: &[(&str, &str)]| {
        let mut command = program("dash");
        command
            .args(["-euc", ". \"$0\"; pnwatch_guard; env"])
            .arg(example("dispatch.sh"))
            .env("PNWATCH", PNWATCH)
            .envs(more.iter().copied());
        let ran = run(command).await;
        assert_eq!(ran.code, 0, "{more:?}: {}{}", ran.out, ran.err);
        let line = ran
            .out
            .lines()
            .find_map(|line| line.strip_prefix("TUIST_CACHE_ENDPOINT="));
        line.map(ToOwned::to_owned)
    };
    let handed = ("TUIST_CACHE_ENDPOINT", url.as_str());
    assert_eq!(guard(&[handed]).await.as_deref(), Some(url.as_str()));
    assert_eq!(guard(&[]).await, None);
    it.set_fault(Fault::WrongTenant).await;
    // No tenant is expected, so none is wrong.
    assert_eq!(guard(&[handed]).await.as_deref(), Some(url.as_str()));
    it.set_fault(Fault::Hang).await;
    assert_eq!(guard(&[handed]).await, None);
    let fallback = ("PNWATCH_FALLBACK_URL", "https://public.example");
    assert_eq!(
        guard(&[handed, fallback]).await.as_deref(),
        Some("https://public.example")
    );
    let without = ("PNWATCH", "/nonexistent");
    assert_eq!(
        guard(&[handed, without]).await.as_deref(),
        Some(url.as_str())
    );
    let drop_it = ("PNWATCH_ON_UNMEASURED", "drop");
    assert_eq!(guard(&[handed, without, drop_it]).await, None);
}

/// The documents of a YAML file.
fn yaml(name: &str) -> Vec<Value> {
    read(&example(name))
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}")))
        .collect()
}

/// The containers of Job and Pod run the command: with the exporter's real address in place of
/// the cluster's, and no time to lose, they end as the gate says.
#[tokio::test(flavor = "multi_thread")]
async fn the_job_and_the_helm_test_fail_unless_open() {
    let job = yaml("job.yaml").remove(0);
    let pod = yaml("helm-test.yaml").remove(0);
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    let mut it = Exporter::start().await;
    for (verdict, code) in [("unknown", 2), ("open", 0), ("closed", 1)] {
        if verdict != "unknown" {
            it.until(verdict).await;
        }
        for spec in [&job["spec"]["template"]["spec"], &pod["spec"]] {
            assert_eq!(spec["restartPolicy"], "Never");
            assert_eq!(spec["nodeSelector"]["kubernetes.io/os"], "linux");
            let arguments: Vec<String> = spec["containers"][0]["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|argument| argument.as_str().unwrap())
                .map(|argument| match argument.split_once('=') {
                    Some(("--url", _)) => format!("--url={}", it.url),
                    Some(("--timeout", _)) => "--timeout=0s".to_owned(),
                    Some(("--for", _)) => "--for=1ms".to_owned(),
                    _ => argument.to_owned(),
                })
                .collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let ran = pnwatch(&arguments).await;
            assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
        }
    }
}

/// A condition of the form `result.NAME == VALUE && …`, as `expr` evaluates it.
fn holds(condition: &str, result: &Value) -> bool {
    condition.split("&&").all(|part| {
        let (left, right) = part.split_once("==").expect("a comparison");
        let field = left
            .trim()
            .strip_prefix("result.")
            .expect("a field of result");
        let wanted: Value = serde_json::from_str(right.trim()).expect("a literal");
        let seen = &result[field];
        assert!(!seen.is_null(), "{field} is not in {result}");
        *seen == wanted
    })
}

/// Argo Rollouts' documented order: an error unless 2xx and JSON; failed if the failure
/// condition holds; successful if the success condition holds; else inconclusive.
fn argo(metric: &Value, status: u16, body: &Value) -> &'static str {
    if !(200..300).contains(&status) {
        return "Error";
    }
    assert_eq!(metric["provider"]["web"]["jsonPath"], "{$.data}");
    let result = &body["data"];
    if holds(metric["failureCondition"].as_str().unwrap(), result) {
        "Failed"
    } else if holds(metric["successCondition"].as_str().unwrap(), result) {
        "Successful"
    } else {
        "Inconclusive"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_and_flagger_by_their_documented_evaluation() {
    let template = yaml("argo-rollouts.yaml").remove(0);
    let metric = &template["spec"]["metrics"][0];
    let web = &metric["provider"]["web"];
    let url = web["url"].as_str().unwrap();
    let path = url
        .strip_prefix("{{args.url}}")
        .unwrap()
        .replace("{{args.account}}", "acme")
        .replace("for=15s", "for=1ms");
    // The exporter's answer must come before the provider gives up.
    assert!(path.contains("wait=10s") && web["timeoutSeconds"].as_u64().unwrap() > 15);
    let path = path.replace("wait=10s", "wait=100ms");

    let flagger = yaml("flagger.yaml");
    let hook = &flagger[0]["spec"]["analysis"]["webhooks"][0];
    assert_eq!(hook["type"], "confirm-promotion");
    let address = hook["url"].as_str().unwrap();
    let at = address.find("/v1/gate?").unwrap();
    let webhook = address[at..].replace("for=30s", "for=1ms");
    assert!(webhook.contains("strict=1"));
    // What Flagger sends with each call.
    let payload = json!({
        "name": "example", "namespace": "default", "phase": "WaitingPromotion", "metadata": {},
    });
    let query = flagger[1]["spec"]["query"].as_str().unwrap();
    promql_parser::parser::parse(query).unwrap();
    assert!(query.contains("pnwatch_target_state{account=\"acme\"}"));
    let range = &flagger[0]["spec"]["analysis"]["metrics"][0]["thresholdRange"];
    assert_eq!((&range["min"], &range["max"]), (&json!(1), &json!(2)));

    let mut it = Exporter::start().await;
    for (verdict, measured, promoted) in [
        ("unknown", "Inconclusive", false),
        ("open", "Successful", true),
        ("closed", "Failed", false),
    ] {
        if verdict != "unknown" {
            it.until(verdict).await;
        }
        let (status, body) = it.get(&path).await;
        assert_eq!(argo(metric, status, &body), measured, "{body}");
        let status = it.post(format!("{}{webhook}", it.url), &payload).await;
        assert_eq!(status == 200, promoted, "{verdict}: HTTP {status}");
    }
    // A wrong question is an error, never a success.
    let (status, body) = it.get("/v1/gate?acount=acme").await;
    assert_eq!(argo(metric, status, &body), "Error");
}
