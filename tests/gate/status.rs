//! `pnwatch status` against a real exporter.

use crate::exporter::Exporter;
use crate::run::pnwatch;

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_how_bad_it_is() {
    let mut it = Exporter::start().await;
    let look = async |url: &str| {
        let ran = pnwatch(&["status", "--url", url]).await;
        for line in ran.out.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        ran
    };
    let ran = look(&it.url).await;
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("no client vantage reports"), "{}", ran.out);
    it.until("open").await;
    let ran = look(&it.url).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("FINE  staging  "), "{}", ran.out);
    assert!(
        ran.out
            .contains("\nacme            kura-acme-1          kura-fleet-1         up "),
        "{}",
        ran.out
    );
    it.until_found().await;
    let ran = look(&it.url).await;
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.starts_with("CRITICAL  staging  ") && ran.out.contains("kura-fleet-1"),
        "{}",
        ran.out
    );
    let ran = pnwatch(&["status", "--json", "--url", &it.url]).await;
    assert_eq!(ran.code, 1);
    let all: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&all["version"], &all["exit_code"]), (&1.into(), &1.into()));
    assert_eq!(all["view"]["targets"][0]["target"]["account"], "acme");
    let url = it.url.clone();
    drop(it);
    let ran = pnwatch(&["status", "--url", &url]).await;
    assert_eq!(ran.code, 69, "{}", ran.err);
    let ran = pnwatch(&["status"]).await;
    assert_eq!(ran.code, 64, "{}", ran.err);
}
