//! `serve`: what the exporter needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pnwatch_core::assign::{LEAST, Sparse};
use pnwatch_core::name::Vantage;
use pnwatch_core::plan::Pace;

use super::bandwidth::Bandwidth;
use super::kubernetes::Kubernetes;
use super::section::{Findings, FromNode, FromSection, Place, Section};
use super::slo::Slo;
use super::traffic::Traffic;
use super::tree::Node;
use super::value::{BaseUrl, word};
use crate::tls::Keypair;

/// The exporter's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Its three listeners.
    pub listen: Listen,
    /// Where nodes, vantages and targets come from.
    pub inventory: InventorySource,
    /// Which token speaks for which vantage. One vantage may have two while a token is rotated.
    pub tokens: Vec<TokenBinding>,
    /// Who may read the page, the API and the gate; empty = everybody who reaches the listener.
    pub readers: Vec<Reader>,
    /// Where findings are pushed; `None` = nowhere.
    pub alertmanager: Option<Alertmanager>,
    /// Where budgets and open findings survive a restart; `None` = memory alone.
    pub state_dir: Option<PathBuf>,
    /// The certificate of listeners that speak https; `None` = all speak http.
    pub tls: Option<ListenTls>,
    /// How long all client vantages may be silent before that pages.
    pub blind_critical_after: Duration,
    /// How often probers check.
    pub pace: Pace,
    /// When not every vantage checks every target any more.
    pub sparse: Sparse,
    /// The cache pods' own traffic.
    pub traffic: Traffic,
    /// What makes throughput flat without being in the way.
    pub bandwidth: Bandwidth,
    /// What is promised.
    pub slo: Slo,
    /// What the gate may do.
    pub gate: Gate,
}

/// What the gate may do beyond reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gate {
    /// The file with the token that may ask the vantages for a burst (`active=1`); `None` =
    /// nobody may.
    pub token_file: Option<PathBuf>,
}

/// The exporter's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Reports and plans.
    pub ingest: SocketAddr,
    /// The page and the API.
    pub page: SocketAddr,
    /// `/metrics`, `/livez`, `/readyz`.
    pub metrics: SocketAddr,
}

/// The certificate of listeners, read again when a file changes and at SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    /// The certificate and its key.
    pub files: Keypair,
    /// The authorities of the certificates by which vantages may name themselves, PEM.
    pub client_ca_file: Option<PathBuf>,
    /// Which listeners speak https; the others stay as they are.
    pub listeners: Vec<Listener>,
}

/// One of the exporter's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Reports and plans.
    Ingest,
    /// The page and the API.
    Page,
    /// `/metrics`, `/livez`, `/readyz`.
    Metrics,
}

/// Where nodes, vantages and targets come from: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventorySource {
    /// An inventory file.
    pub file: Option<PathBuf>,
    /// Or the objects of a Kubernetes cluster.
    pub kubernetes: Option<Kubernetes>,
}

/// A token and the only vantage that it may speak for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBinding {
    /// The vantage.
    pub vantage: Vantage,
    /// The file that holds the token.
    pub file: PathBuf,
}

/// Somebody who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Their name, as a browser asks for it.
    pub name: String,
    /// The file that holds their secret.
    pub file: PathBuf,
}

/// Where findings are pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alertmanager {
    /// Every Alertmanager of the cluster, with its path prefix if it has one.
    pub urls: Vec<BaseUrl>,
    /// How often an open finding is sent again; `endsAt` is four times that.
    pub resend: Duration,
    /// How long one push may take.
    pub timeout: Duration,
    /// How often the heartbeat `PNHeartbeat` is sent; zero = never.
    pub heartbeat: Duration,
    /// A bearer token.
    pub token_file: Option<PathBuf>,
    /// The certificate authority of their certificates; `None` = the system's.
    pub ca_file: Option<PathBuf>,
    /// Where people open Alertmanager, for links to silences; `None` = no such links.
    pub external_url: Option<BaseUrl>,
    /// More request headers, such as `X-Scope-OrgID`.
    pub headers: BTreeMap<String, String>,
    /// Where the runbooks are served: `runbook_url` of what is pushed is
    /// `BASE/ALERTNAME.md#FAULT`. The page serves them at `/runbooks`.
    pub runbooks: Option<BaseUrl>,
    /// Where Grafana is served: `dashboard_url` of what is pushed.
    pub grafana: Option<BaseUrl>,
}

impl FromSection for Serve {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let listen = section.or("listen", Listen::default());
        let inventory = section.required("inventory", "{ file: PATH }");
        let tokens = section.or("tokens", Vec::new());
        let readers = section.or("readers", Vec::new());
        let alertmanager = section.optional("alertmanager");
        let state_dir = section.optional("state_dir");
        let tls = section.optional("tls");
        let blind_critical_after = between(section, "blind_critical_after", 600, 15, 86_400);
        let pace = section.or("pace", Pace::default());
        let sparse = section.or("sparse", Sparse::default());
        let traffic = section.or("traffic", Traffic::default());
        let bandwidth = section.or("bandwidth", Bandwidth::default());
        let slo = section.or("slo", Slo::default());
        let gate = section.or("gate", Gate::default());
        Some(Self {
            listen,
            inventory: inventory?,
            tokens,
            readers,
            alertmanager,
            state_dir,
            tls,
            blind_critical_after,
            pace,
            sparse,
            traffic,
            bandwidth,
            slo,
            gate,
        })
    }
}

impl FromSection for Gate {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let token_file = section.optional("token_file");
        Some(Self { token_file })
    }
}

impl FromSection for Sparse {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let default = Self::default();
        let vantages = section.or("vantages", default.vantages);
        if vantages < LEAST {
            section.refuse(
                "vantages",
                format!(
                    "{vantages} are too few to confirm one another while one is away; write {LEAST} or more"
                ),
            );
        }
        Some(Self {
            above: section.or("above", default.above),
            vantages,
        })
    }
}

impl Default for Listen {
    /// Probers and Prometheus come from elsewhere; the page shows account names, so it stays on
    /// the machine unless the file says otherwise (and then names its readers).
    fn default() -> Self {
        Self {
            ingest: SocketAddr::from(([0, 0, 0, 0], 9760)),
            page: SocketAddr::from(([127, 0, 0, 1], 9761)),
            metrics: SocketAddr::from(([0, 0, 0, 0], 9762)),
        }
    }
}

impl FromSection for Listen {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let default = Self::default();
        let listen = Self {
            ingest: section.or("ingest", default.ingest),
            page: section.or("page", default.page),
            metrics: section.or("metrics", default.metrics),
        };
        let all = [
            ("ingest", listen.ingest),
            ("page", listen.page),
            ("metrics", listen.metrics),
        ];
        for (i, (key, address)) in all.iter().enumerate() {
            // Port 0 asks the system for a free one.
            let twin = all[..i]
                .iter()
                .find(|(_, earlier)| earlier == address && address.port() != 0);
            if let Some((other, _)) = twin {
                section.refuse(
                    key,
                    format!("{address} is the address of `{other}` too; give each its own port"),
                );
            }
        }
        Some(listen)
    }
}

impl FromSection for ListenTls {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let certificate = section.required("certificate", "PATH");
        let key = section.required("key", "PATH");
        let listeners = section.or("listeners", vec![Listener::Ingest, Listener::Page]);
        Some(Self {
            files: Keypair {
                certificate: certificate?,
                key: key?,
            },
            client_ca_file: section.optional("client_ca_file"),
            listeners,
        })
    }
}

impl FromNode for Listener {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let words = &[
            ("ingest", Self::Ingest),
            ("page", Self::Page),
            ("metrics", Self::Metrics),
        ];
        word(node, place, findings, words)
    }
}

impl FromSection for InventorySource {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let file: Option<PathBuf> = section.optional("file");
        let kubernetes = section.optional("kubernetes");
        match (section.has("file"), section.has("kubernetes")) {
            (true, true) => section.refuse(
                "kubernetes",
                "`file` is there too, and two sources could contradict one another; keep one",
            ),
            (false, false) => {
                section.refuse(
                    "file",
                    "required, but missing; write `file: PATH` or a `kubernetes` section",
                );
            }
            _ => {}
        }
        (file.is_some() || kubernetes.is_some()).then_some(Self { file, kubernetes })
    }
}

impl FromSection for TokenBinding {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let vantage = section.required("vantage", "node/NAME, host/NAME or vm/HOST/SLOT");
        let file = section.required("file", "PATH");
        Some(Self {
            vantage: vantage?,
            file: file?,
        })
    }
}

impl FromSection for Reader {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let name: Option<String> = section.required("name", "NAME");
        let file = section.required("file", "PATH");
        if name
            .as_deref()
            .is_some_and(|n| n.is_empty() || n.len() > 64 || n.contains(':') || !n.is_ascii())
        {
            // RFC 7617 §2: a user-id cannot hold a colon.
            section.refuse(
                "name",
                "must be 1 to 64 ASCII characters without a colon; a browser sends it before one",
            );
        }
        Some(Self {
            name: name?,
            file: file?,
        })
    }
}

impl FromSection for Alertmanager {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let urls: Option<Vec<BaseUrl>> = section.required("urls", "[\"http://ADDRESS:9093\"]");
        if urls.as_ref().is_some_and(Vec::is_empty) {
            section.refuse(
                "urls",
                "names no Alertmanager; add one, or remove the section to push nowhere",
            );
        }
        let resend = between(section, "resend", 60, 5, 600);
        let timeout = between(section, "timeout", 5, 1, 60);
        let heartbeat = between(section, "heartbeat", 10, 0, 600);
        let token_file = section.optional("token_file");
        let ca_file = section.optional("ca_file");
        let external_url = section.optional("external_url");
        let headers = headers(section);
        let runbooks = section.optional("runbooks");
        let grafana = section.optional("grafana");
        Some(Self {
            urls: urls?,
            resend,
            timeout,
            heartbeat,
            token_file,
            ca_file,
            external_url,
            headers,
            runbooks,
            grafana,
        })
    }
}

/// More request headers.
pub(super) fn headers(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let headers: BTreeMap<String, String> = section.or("headers", BTreeMap::new());
    if let Some(name) = headers.iter().find_map(|(name, value)| {
        let usable =
            http::HeaderName::try_from(name).is_ok() && http::HeaderValue::try_from(value).is_ok();
        (!usable).then_some(name)
    }) {
        section.refuse(
            "headers",
            format!("{name:?} and its value do not make an HTTP header; use letters, digits and `-` in the name, one line of text as the value"),
        );
    }
    headers
}

/// A duration in whole seconds with a default and limits.
pub(super) fn between(
    section: &mut Section<'_>,
    key: &'static str,
    default_s: u64,
    least_s: u64,
    most_s: u64,
) -> Duration {
    let given = section.or(key, Duration::from_secs(default_s));
    let (least, most) = (Duration::from_secs(least_s), Duration::from_secs(most_s));
    if given < least || given > most {
        section.refuse(
            key,
            format!(
                "{} is out of range; write {} to {}",
                humantime::format_duration(given),
                humantime::format_duration(least),
                humantime::format_duration(most)
            ),
        );
    }
    given
}
