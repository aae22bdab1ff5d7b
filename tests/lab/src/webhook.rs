//! The receiver of pages: an HTTP listener inside the monitoring namespace that stamps each
//! notification the moment it arrives and keeps it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

use crate::net::Namespace;

/// One alert in a notification (Alertmanager's webhook format, version 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When it began, by its own word.
    #[serde(
        default,
        rename(deserialize = "startsAt"),
        deserialize_with = "optional_time",
        serialize_with = "as_optional_text"
    )]
    pub starts_at: Option<Timestamp>,
}

impl Alert {
    /// A label's value, empty if it is absent (as Alertmanager itself reads it).
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Deserialize)]
struct Payload {
    receiver: String,
    alerts: Vec<Alert>,
}

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// Wall time of its arrival.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Which receiver of the Alertmanager configuration it was for.
    pub receiver: String,
    /// What it was about.
    pub alerts: Vec<Alert>,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn optional_time<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

#[expect(clippy::ref_option, reason = "the signature serde asks for")]
fn as_optional_text<S: serde::Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

/// A running receiver; it ends when dropped.
#[derive(Debug)]
pub struct Webhook {
    arrived: Arc<Mutex<Vec<Notification>>>,
    url: String,
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Clone)]
struct Sink {
    arrived: Arc<Mutex<Vec<Notification>>>,
    file: Arc<Mutex<File>>,
}

impl Webhook {
    /// Listens on a free loopback port of `namespace`; notifications are also appended to
    /// `dir/notifications.jsonl`.
    pub fn start(namespace: &Namespace, dir: &Path) -> Result<Self> {
        let listener = namespace
            .inside(|| TcpListener::bind("127.0.0.1:0"))?
            .context("the webhook cannot listen")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}/", listener.local_addr()?);
        let path = dir.join("notifications.jsonl");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink {
            arrived: Arc::clone(&arrived),
            file: Arc::new(Mutex::new(file)),
        };
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                        return;
                    };
                    let router = axum::Router::new().fallback(post(receive)).with_state(sink);
                    tokio::select! {
                        _ = axum::serve(listener, router) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            arrived,
            url,
            stop: Some(stop),
        })
    }

    /// Where to post to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many notifications have arrived.
    pub fn count(&self) -> usize {
        self.arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The notifications from the `from`-th on.
    pub fn since(&self, from: usize) -> Vec<Notification> {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.get(from..).unwrap_or_default().to_vec()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn receive(State(sink): State<Sink>, body: Bytes) -> StatusCode {
    let at = Timestamp::now();
    let payload: Payload = match serde_json::from_slice(&body) {
        Ok(payload) => payload,
        Err(error) => {
            eprintln!("pnwatch-lab: a notification cannot be read: {error}");
            return StatusCode::BAD_REQUEST;
        }
    };
    let notification = Notification {
        at,
        receiver: payload.receiver,
        alerts: payload.alerts,
    };
    if let Ok(mut line) = serde_json::to_vec(&notification) {
        line.push(b'\n');
        let mut file = sink.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&line) {
            eprintln!("pnwatch-lab: cannot record a notification: {error}");
        }
    }
    sink.arrived
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(notification);
    StatusCode::OK
}
