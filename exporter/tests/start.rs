//! What keeps an exporter from starting: one clear line and the right exit code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by failing")]

mod common;

use common::Setup;
use pnwatch_exporter::ServeError;

async fn fails(setup: Setup, code: u8, says: &[&str]) {
    let error: ServeError = setup.failure().await;
    let text = error.to_string();
    assert_eq!(error.exit_code(), code, "{text}");
    assert!(!text.contains('\n'), "{text}");
    for part in says {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[tokio::test]
async fn missing_and_unreadable_files() {
    let mut setup = Setup::new();
    setup.serve().inventory.file = Some(setup.dir.path().join("none.yaml"));
    fails(
        setup,
        66,
        &["serve.inventory.file", "none.yaml", "name an existing file"],
    )
    .await;

    let mut setup = Setup::new();
    let folder = setup.dir.path().to_owned();
    setup.serve().inventory.file = Some(folder);
    fails(setup, 66, &["serve.inventory.file"]).await;

    let setup = Setup::new();
    std::fs::remove_file(setup.dir.path().join("host-mini-1")).unwrap();
    fails(setup, 66, &["serve.tokens", "host/mini-1", "cannot read"]).await;

    let setup = Setup::new();
    std::fs::write(setup.dir.path().join("host-mini-1"), " \n").unwrap();
    fails(setup, 66, &["host/mini-1", "is empty", "write the secret"]).await;
}

#[tokio::test]
async fn bad_content() {
    let setup = Setup::new();
    let file = setup.dir.path().join("inventory.yaml");
    std::fs::write(&file, "pn_cidr: 172.16.0.0/22\nnods: []\n").unwrap();
    fails(setup, 78, &["inventory.yaml", "nods"]).await;

    let setup = Setup::new();
    std::fs::write(setup.dir.path().join("host-mini-2"), "token-of-mini-1").unwrap();
    fails(setup, 78, &["host/mini-1", "host/mini-2", "same token"]).await;

    let mut setup = Setup::new();
    setup.config.serve = None;
    fails(setup, 78, &["serve:"]).await;
}

#[tokio::test]
async fn a_port_in_use() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = Setup::new();
    setup.serve().listen.page = holder.local_addr().unwrap();
    fails(setup, 69, &["serve.listen.page", "in use"]).await;
}
