//! `pnwatch serve` as a child on free ports of loopback: the room of every test that talks to a
//! real exporter. It ends with this value.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub(crate) struct Serving {
    _child: Child,
    dir: TempDir,
    /// Where reports go, and where the page is: base URLs.
    pub(crate) ingest: String,
    pub(crate) page: String,
}

impl Serving {
    /// Starts it with an inventory (YAML); `hosts` may report, each with its [`token`].
    pub(crate) async fn start(inventory: &str, hosts: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inventory_file = dir.path().join("inventory.yaml");
        std::fs::write(&inventory_file, inventory).unwrap();
        let mut tokens = String::new();
        for vantage in hosts {
            let file = token_file(&dir, vantage);
            std::fs::write(&file, token(vantage)).unwrap();
            let file = file.display();
            writeln!(tokens, "    - {{ vantage: {vantage}, file: {file} }}").unwrap();
        }
        let config = format!(
            "cluster: staging\nlog: {{ format: json }}\nserve:\n  inventory: {{ file: {} }}\n  listen: {{ ingest: \
             \"127.0.0.1:0\", page: \"127.0.0.1:0\", metrics: \"127.0.0.1:0\" }}\n  tokens:\n{tokens}",
            inventory_file.display()
        );
        let file = dir.path().join("pnwatch.yaml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pnwatch"))
            .arg("serve")
            .arg("--config")
            .arg(&file)
            // Variables of whoever runs the tests change nothing.
            .env_clear()
            .kill_on_drop(true)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        // The pipe ends with the daemon: this cannot wait for ever.
        let at: Value = loop {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| unreachable!("it does not serve: {said:?}"));
            match serde_json::from_str::<Value>(&line) {
                Ok(line) if line["message"] == "serving" => break line,
                _ => said.push(line),
            }
        };
        // Nobody must make it wait for a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let at = |name: &str| format!("http://{}", at[name].as_str().unwrap());
        Self {
            ingest: at("ingest"),
            page: at("page"),
            _child: child,
            dir,
        }
    }

    /// The file that holds the token of `vantage`.
    #[allow(dead_code, reason = "each test reads its part")]
    pub(crate) fn token_file(&self, vantage: &str) -> PathBuf {
        token_file(&self.dir, vantage)
    }
}

fn token_file(dir: &TempDir, vantage: &str) -> PathBuf {
    dir.path().join(vantage.replace('/', "-"))
}

/// The token of `vantage`.
pub(crate) fn token(vantage: &str) -> String {
    format!("token-of-{}", vantage.replace('/', "-"))
}
