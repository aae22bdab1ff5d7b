//! What is read again while the exporter runs: the configuration at SIGHUP, token files and the
//! listeners' certificate whenever they change.
//!
//! One task; between two looks it holds nothing. Whatever cannot be used keeps what was before
//! it, is told of once per state of the file, and shows in a metric.

use std::sync::Arc;
use std::time::Duration;

use pnwatch_edge::config::{Config, Serve};
use pnwatch_edge::tls::ServerTls;
use tokio::sync::Notify;

use crate::ingest::Tokens;
use crate::tally::Tally;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the configuration anew; an error is one line for the log.
pub type Reread = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What is followed.
pub struct Reload {
    /// Vantages' tokens.
    pub tokens: Arc<Tokens>,
    /// The listeners' certificate.
    pub tls: Option<Arc<ServerTls>>,
    /// The exporter's own gauges.
    pub tally: Arc<Tally>,
    /// How to read the configuration again; `None` = it is fixed.
    pub reread: Option<Reread>,
    /// The settings in use.
    pub settings: Serve,
    /// Asks for a look at everything at once.
    pub asked: Arc<Notify>,
}

impl Reload {
    /// Runs for ever.
    pub async fn run(mut self) {
        loop {
            let asked = tokio::select! {
                () = self.asked.notified() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let looked = tokio::task::spawn_blocking(move || {
                self.look(asked);
                self
            });
            let Ok(back) = looked.await else {
                tracing::error!("reading files again failed; restart the exporter");
                return;
            };
            self = back;
        }
    }

    /// Blocks on the disk.
    fn look(&mut self, asked: bool) {
        if asked {
            self.read_configuration();
        }
        self.tokens.refresh(&self.tally);
        let Some(tls) = &self.tls else { return };
        match tls.refresh(asked) {
            Ok(false) => {}
            Ok(true) => {
                self.tally.set_tls_good(true);
                tracing::info!("the listeners' certificate was read again");
            }
            Err(error) => {
                self.tally.set_tls_good(false);
                tracing::error!("the listeners' certificate stays as it was: {error}");
            }
        }
    }

    fn read_configuration(&mut self) {
        let Some(reread) = &self.reread else { return };
        let applied = reread().and_then(|config| {
            let fresh = config
                .serve
                .ok_or_else(|| "the section `serve:` is gone; put it back".to_owned())?;
            self.tokens
                .rebind(&fresh.tokens)
                .map_err(|error| error.to_string())?;
            Ok(fresh)
        });
        match applied {
            Ok(fresh) => {
                self.tally.set_config_good(true);
                let waiting = waiting(&self.settings, &fresh);
                self.settings.tokens.clone_from(&fresh.tokens);
                if waiting.is_empty() {
                    tracing::info!("the configuration was read again and is in use");
                } else {
                    tracing::warn!(
                        "the configuration was read again; restart the exporter for: {}",
                        waiting.join(", ")
                    );
                }
            }
            Err(why) => {
                self.tally.set_config_good(false);
                tracing::error!("the configuration stays as it was: {why}");
            }
        }
    }
}

/// Which settings differ and take effect at the next start only.
fn waiting(old: &Serve, fresh: &Serve) -> Vec<&'static str> {
    let differs = [
        ("serve.listen", old.listen != fresh.listen),
        ("serve.tls", old.tls != fresh.tls),
        ("serve.inventory", old.inventory != fresh.inventory),
        ("serve.alertmanager", old.alertmanager != fresh.alertmanager),
        ("serve.state_dir", old.state_dir != fresh.state_dir),
        ("serve.readers", old.readers != fresh.readers),
        ("serve.pace", old.pace != fresh.pace),
        ("serve.traffic", old.traffic != fresh.traffic),
        ("serve.slo", old.slo != fresh.slo),
        (
            "serve.blind_critical_after",
            old.blind_critical_after != fresh.blind_critical_after,
        ),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};
    use pnwatch_edge::config;

    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        /// A configuration with these vantages, each with a token that is its name.
        fn write(&self, vantages: &[&str], more: &str) {
            let dir = self.0.path();
            let mut text = format!(
                "cluster: staging\nserve:\n  inventory: {{ file: {}/inventory.yaml }}\n{more}  tokens:\n",
                dir.display()
            );
            for vantage in vantages {
                let file = dir.join(vantage.replace('/', "-"));
                std::fs::write(&file, format!("token-of-{vantage}")).unwrap();
                let line = format!("    - {{ vantage: {vantage}, file: {} }}\n", file.display());
                text.push_str(&line);
            }
            std::fs::write(dir.join("config.yaml"), text).unwrap();
        }

        fn reload(&self) -> Reload {
            let path = self.0.path().join("config.yaml");
            let settings = config::load(&path).unwrap().config.serve.unwrap();
            Reload {
                tokens: Arc::new(Tokens::read(&settings.tokens).unwrap()),
                tls: None,
                tally: Arc::default(),
                reread: Some(Arc::new(move || {
                    let loaded = config::load(&path).map_err(|error| error.to_string())?;
                    Ok(loaded.config)
                })),
                settings,
                asked: Arc::default(),
            }
        }
    }

    fn knows(reload: &Reload, vantage: &str) -> bool {
        let token = format!("Bearer token-of-{vantage}");
        let headers = HeaderMap::from_iter([(
            "authorization".parse().unwrap(),
            HeaderValue::try_from(token).unwrap(),
        )]);
        let found = reload.tokens.vantage(&headers);
        found.is_ok_and(|found| found.to_string() == vantage)
    }

    #[test]
    fn a_good_configuration_is_used_and_a_bad_one_changes_nothing() {
        let files = Files(tempfile::tempdir().unwrap());
        files.write(&["host/a"], "");
        let mut reload = files.reload();
        assert!(knows(&reload, "host/a") && !knows(&reload, "host/b"));

        files.write(&["host/b"], "  blind_critical_after: 1m\n");
        reload.look(false);
        assert!(knows(&reload, "host/a"), "nobody asked");
        reload.look(true);
        assert!(knows(&reload, "host/b") && !knows(&reload, "host/a"));
        assert!(reload.tally.config_good());
        let mut fresh = reload.settings.clone();
        fresh.blind_critical_after = Duration::from_mins(1);
        assert_eq!(
            waiting(&reload.settings, &fresh),
            ["serve.blind_critical_after"]
        );

        for bad in [
            "cluster: [",
            "cluster: staging\n",
            "cluster: staging\nserve: { tokens: 7 }\n",
        ] {
            std::fs::write(files.0.path().join("config.yaml"), bad).unwrap();
            reload.look(true);
            assert!(!reload.tally.config_good(), "{bad}");
            assert!(knows(&reload, "host/b"), "{bad}");
        }
        files.write(&["host/b", "host/c"], "");
        // A token that cannot be read is refused as a whole, too.
        std::fs::remove_file(files.0.path().join("host-c")).unwrap();
        reload.look(true);
        assert!(!reload.tally.config_good() && knows(&reload, "host/b"));
        files.write(&["host/b", "host/c"], "");
        reload.look(true);
        assert!(reload.tally.config_good() && knows(&reload, "host/c"));
    }
}
