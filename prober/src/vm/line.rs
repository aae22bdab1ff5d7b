//! The way to the relay: one connection that is kept open.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use pnwatch_edge::http::{Client, ClientError, ClientSettings, Request};

use crate::relay::talk::{Brief, MAX_TARGETS, TELL, Told, VERSION};

/// How long one message may take.
const WITHIN: Duration = Duration::from_millis(1500);
/// Largest brief.
const MAX_BRIEF: usize = 16 << 10;

/// See the [module](self).
pub(super) struct Line {
    tell: String,
    client: Client,
}

impl Line {
    pub(super) fn new(relay: SocketAddr) -> Result<Self, ClientError> {
        Ok(Self {
            tell: format!("http://{relay}{TELL}"),
            client: client()?,
        })
    }

    /// Tells, and hears what to do; or why not.
    pub(super) async fn tell(&self, told: &Told) -> Result<Brief, String> {
        let body = Bytes::from(serde_json::to_vec(told).unwrap_or_default());
        let request = Request::post(&self.tell, "application/json", body).within(WITHIN);
        let answer = self.client.send(request).await.map_err(|e| e.to_string())?;
        if answer.status != 200 {
            return Err(format!("HTTP {}: {}", answer.status, answer.first_line()));
        }
        brief(&answer.body)
    }
}

/// Reads and checks what a relay says; the error is a sentence. Total.
pub(crate) fn brief(bytes: &[u8]) -> Result<Brief, String> {
    let brief: Brief = serde_json::from_slice(bytes)
        .map_err(|error| format!("its brief does not read: {error}"))?;
    let fits = brief.version == VERSION
        && brief.targets.len() <= MAX_TARGETS
        && brief.control.len() <= MAX_TARGETS;
    if fits {
        Ok(brief)
    } else {
        Err("its brief has another version or breaks a bound; update the older side".into())
    }
}

fn client() -> Result<Client, ClientError> {
    Client::new(ClientSettings {
        plain: true,
        connect_timeout: Duration::from_secs(1),
        timeout: WITHIN,
        body_limit: MAX_BRIEF,
        ..ClientSettings::default()
    })
}
