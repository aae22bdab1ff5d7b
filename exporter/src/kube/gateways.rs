//! Looks at the https gateways that are handed out: what their names resolve to and, if asked to,
//! whether they answer over a certificate that fits.
//!
//! One task, one look at each gateway every [`EVERY`]. Only an address that the status hands out
//! too is ever dialled. Dropping it loses the count of bad looks and nothing else.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use http::header::CONNECTION;
use pnwatch_core::kube::Gateway;
use pnwatch_core::kube::gateway::{Answer, Gateways, Look, Resolved};
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::{GatewayLook, Kubernetes};
use pnwatch_edge::http::{CallError, Client, ClientError, ClientSettings, Request};
use pnwatch_edge::tls::ChainExpiry;
use tokio::sync::watch as latest;
use tokio::time::MissedTickBehavior;

use super::InventorySnapshot;
use crate::owner::Handle;

/// Between two looks at one gateway.
const EVERY: Duration = Duration::from_secs(15);
/// How long resolving a name, and how long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most looks under way.
const CONCURRENT: usize = 16;
/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// Looks at gateways.
pub(super) struct Looker {
    /// `None` = names alone.
    client: Option<Client>,
    expiry: ChainExpiry,
    clock: SharedClock,
}

impl Looker {
    /// As configured; `None` = nothing is looked at.
    fn new(
        how: GatewayLook,
        ca_file: Option<PathBuf>,
        clock: SharedClock,
    ) -> Result<Option<Self>, ClientError> {
        let expiry = ChainExpiry::default();
        let client = match how {
            GatewayLook::None => return Ok(None),
            GatewayLook::Dns => None,
            GatewayLook::Https => Some(Client::new(ClientSettings {
                ca_file,
                expiry: Some(expiry.clone()),
                connect_timeout: PATIENCE,
                timeout: PATIENCE,
                body_limit: MAX_ANSWER,
                ..ClientSettings::default()
            })?),
        };
        Ok(Some(Self {
            client,
            expiry,
            clock,
        }))
    }

    /// Looks for ever, and tells the engine; ends with the engine.
    pub(super) async fn run(
        self,
        mut readings: latest::Receiver<InventorySnapshot>,
        engine: Handle,
    ) {
        let mut all = Gateways::default();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let gateways = readings.borrow_and_update().gateways.clone();
            all.keep(&gateways);
            for some in gateways.chunks(CONCURRENT) {
                let at = self.clock.now().tick;
                let looks: Vec<_> = some.iter().map(|gateway| self.look(gateway)).collect();
                for (gateway, look) in some.iter().zip(join_all(looks).await) {
                    all.take(gateway, &look, at);
                }
            }
            // An engine that has no room now is told at the next look.
            let told = all.diagnoses(self.clock.now());
            let _ = engine.set_external("gateways", told).await;
        }
    }

    async fn look(&self, gateway: &Gateway) -> Look {
        let name = resolve(&gateway.host, gateway.port).await;
        let expected = IpAddr::V4(gateway.address);
        let only = matches!(&name, Resolved::To(found)
            if !found.is_empty() && found.iter().all(|address| *address == expected));
        let answer = match &self.client {
            Some(client) if only => Some(self.ask(client, gateway).await),
            _ => None,
        };
        Look { name, answer }
    }

    async fn ask(&self, client: &Client, gateway: &Gateway) -> Answer {
        let url = format!("https://{}:{}/up", gateway.host, gateway.port);
        // A connection of its own: a new certificate is seen at the next look.
        let request = Request::get(url).header(CONNECTION, HeaderValue::from_static("close"));
        match client.send(request).await {
            Ok(response) => Answer::Status {
                code: response.status,
                valid_for: self.expiry.left(&gateway.host, self.clock.now().wall),
            },
            Err(CallError::Connect { why, .. }) if why.contains("certificate") => {
                Answer::Refused(why)
            }
            Err(CallError::Timeout { .. }) => Answer::Silent(format!(
                "within {} s; is port {} filtered?",
                PATIENCE.as_secs(),
                gateway.port
            )),
            Err(CallError::Connect { why, .. } | CallError::Broken { why, .. }) => {
                Answer::Silent(why)
            }
            Err(error) => Answer::Silent(error.to_string()),
        }
    }
}

/// What the system's resolver says, each address once.
async fn resolve(host: &str, port: u16) -> Resolved {
    let asked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    match asked {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Resolved::To(addresses)
        }
        Ok(Err(error)) => failed(error.to_string()),
        Err(_) => Resolved::Unasked(format!(
            "no answer of the resolver within {} s",
            PATIENCE.as_secs()
        )),
    }
}

/// Tells a name that does not exist from a resolver that does not answer: getaddrinfo(3) says
/// the second in its texts of `EAI_AGAIN`, `EAI_FAIL` and `EAI_SYSTEM`, which the standard library
/// passes on as text alone.
fn failed(said: String) -> Resolved {
    const NOT_THE_NAME: [&str; 4] = [
        "Temporary failure",
        "Non-recoverable failure",
        "System error",
        "Try again",
    ];
    if NOT_THE_NAME.iter().any(|text| said.contains(text)) {
        Resolved::Unasked(said)
    } else {
        Resolved::Nothing(said)
    }
}

/// Starts the looks in `task`, if any are wanted; a client that cannot be made leaves them out
/// and is named.
pub(super) fn start(
    config: &Kubernetes,
    clock: &SharedClock,
    (readings, engine): (latest::Receiver<InventorySnapshot>, Handle),
    task: &mut tokio::task::JoinSet<()>,
) {
    let ca_file = config.gateway_ca_file.clone();
    match Looker::new(config.gateways, ca_file, Arc::clone(clock)) {
        Ok(Some(looker)) => {
            task.spawn(looker.run(readings, engine));
        }
        Ok(None) => {}
        Err(error) => tracing::error!("gateways are not looked at: {error}"),
    }
}

#[cfg(test)]
mod tests;
