use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_edge::clock::ManualClock;
use pnwatch_exporter::kube::{IdentityError, Reviewer, connect};
use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi, Identity};
use std::sync::Arc;
use std::time::Duration;

const START: u64 = 1_790_000_000;

/// A token in the shape of a service account's, of the prober, that ends `seconds` after START.
pub(crate) fn token(audience: &str, seconds: u64, salt: &str) -> String {
    let claims = serde_json::json!({
        "aud": [audience], "exp": START + seconds, "jti": salt,
        "sub": "system:serviceaccount:pnwatch:pnwatch-prober",
    });
    let part = |v: &serde_json::Value| URL_SAFE_NO_PAD.encode(v.to_string());
    format!(
        "{}.{}.c2ln",
        part(&serde_json::json!({"alg": "RS256"})),
        part(&claims)
    )
}

fn prober() -> Identity {
    Identity::service_account("pnwatch", "pnwatch-prober")
        .audiences(&["pnwatch"])
        .bound_to_pod("prober-1", "p1")
        .bound_to_node("node-1", "n1")
}

struct Bench {
    api: FakeApi,
    clock: Arc<ManualClock>,
    reviewer: Reviewer,
}

async fn bench() -> Bench {
    let api = FakeApi::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, api.kubeconfig(ADMIN_TOKEN)).unwrap();
    let client = connect(Some(&file)).await.unwrap();
    let clock = Arc::new(ManualClock::new(Now {
        tick: Tick::from_millis(1_000_000),
        wall: Timestamp::from_unix_seconds(START),
    }));
    let shared: pnwatch_edge::clock::SharedClock = clock.clone();
    let reviewer = Reviewer::new(client, "pnwatch", "pnwatch/pnwatch-prober", shared);
    Bench {
        api,
        clock,
        reviewer,
    }
}

impl Bench {
    fn asked(&self) -> usize {
        let all = self.api.requests();
        all.iter().filter(|r| r.resource == "tokenreviews").count()
    }

    async fn ask(&self, token: &str) -> Result<String, IdentityError> {
        self.reviewer.vantage(token).await.map(|v| v.to_string())
    }
}

#[tokio::test]
async fn a_bound_token_speaks_for_its_node_and_is_asked_about_once() {
    let bench = bench().await;
    let token = token("pnwatch", 3600, "a");
    bench.api.token(&token, prober());
    for _ in 0..3 {
        assert_eq!(bench.ask(&token).await.as_deref(), Ok("node/node-1"));
    }
    assert_eq!(bench.asked(), 1);
    bench.clock.advance(Duration::from_secs(301));
    assert_eq!(bench.ask(&token).await.as_deref(), Ok("node/node-1"));
    assert_eq!(bench.asked(), 2, "asked again after five minutes");
    // A deleted Pod's token ends with the next question.
    bench.api.revoke(&token);
    bench.clock.advance(Duration::from_secs(301));
    assert!(matches!(
        bench.ask(&token).await,
        Err(IdentityError::Refused(_))
    ));
}

#[tokio::test]
async fn an_outage_rejects_nobody_whom_the_server_knew() {
    let bench = bench().await;
    let known = token("pnwatch", 3600, "a");
    let unknown = token("pnwatch", 3600, "b");
    bench.api.token(&known, prober());
    bench.api.token(&unknown, prober());
    assert!(bench.ask(&known).await.is_ok());
    bench.api.stop();
    for _ in 0..11 {
        bench.clock.advance(Duration::from_secs(301));
        assert_eq!(bench.ask(&known).await.as_deref(), Ok("node/node-1"));
    }
    assert!(matches!(
        bench.ask(&unknown).await,
        Err(IdentityError::Unavailable(_))
    ));
    bench.clock.advance(Duration::from_secs(400));
    let expired = bench.ask(&known).await;
    assert!(matches!(expired, Err(IdentityError::Refused(ref why)) if why.contains("expired")));
}

#[tokio::test]
async fn what_does_not_prove_node_account_and_audience_is_refused() {
    let bench = bench().await;
    let mut rows = Vec::new();
    let mut row = |salt: &str, identity: Identity| {
        let token = token("pnwatch", 3600, salt);
        bench.api.token(&token, identity);
        rows.push((salt.to_owned(), token));
    };
    row(
        "no node",
        Identity::service_account("pnwatch", "pnwatch-prober").audiences(&["pnwatch"]),
    );
    row(
        "another account",
        Identity::service_account("kura", "default")
            .audiences(&["pnwatch"])
            .bound_to_node("node-1", "n"),
    );
    row("another audience", prober().audiences(&["vault"]));
    row("a hostile node", prober().bound_to_node("node 1\n", "n"));
    rows.push(("unknown".into(), token("pnwatch", 3600, "unknown")));
    for (what, token) in &rows {
        let refused = bench.ask(token).await;
        assert!(
            matches!(refused, Err(IdentityError::Refused(_))),
            "{what}: {refused:?}"
        );
    }
    // A refusal is remembered, so that a flood of one token asks once.
    let asked = bench.asked();
    assert_eq!(asked, rows.len());
    for (_, token) in &rows {
        assert!(bench.ask(token).await.is_err());
    }
    assert_eq!(bench.asked(), asked);
    // What does not even claim to be ours asks nothing.
    for token in [
        "",
        "a",
        "a.b.c",
        "\u{0}.\u{0}",
        &token("vault", 3600, "x"),
        &token("pnwatch", 0, "y"),
        &"x".repeat(1 << 20),
    ] {
        assert!(matches!(
            bench.ask(token).await,
            Err(IdentityError::Refused(_))
        ));
    }
    assert_eq!(bench.asked(), asked);
}
