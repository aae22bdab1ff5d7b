//! Looks at the https gateways that are handed out: what their names resolve to and, if asked to,
//! whether they answer over a certificate that fits.
//!
//! One task, one look at each gateway every [`EVERY`]. Only an address that the status hands out
//! too is ever dialled. Dropping it loses the count of bad looks and nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use pnwatch_core::kube::Gateway;
use pnwatch_core::kube::gateway::{Gateways, Look};
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::{GatewayLook, Kubernetes};
use pnwatch_edge::http::{Client, ClientError, ClientSettings};
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
    clock: SharedClock,
}

impl Looker {
    /// As configured; `None` = nothing is looked at.
    pub(super) fn new(
        config: &Kubernetes,
        clock: SharedClock,
    ) -> Result<Option<Self>, ClientError> {
        let client = match config.gateways {
            GatewayLook::None => return Ok(None),
            GatewayLook::Dns => None,
            GatewayLook::Https => Some(Client::new(ClientSettings {
                ca_file: config.gateway_ca_file.clone(),
                connect_timeout: PATIENCE,
                timeout: PATIENCE,
                body_limit: MAX_ANSWER,
                ..ClientSettings::default()
            })?),
        };
        Ok(Some(Self { client, clock }))
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
        let addresses = resolve(&gateway.host, gateway.port).await;
        let expected = IpAddr::V4(gateway.address);
        let only = addresses.as_ref().is_ok_and(|found| {
            !found.is_empty() && found.iter().all(|address| *address == expected)
        });
        let answer = match &self.client {
            Some(client) if only => {
                let url = format!("https://{}:{}/up", gateway.host, gateway.port);
                let asked = client.get(&url).await;
                Some(asked.map(|r| r.status).map_err(|error| error.to_string()))
            }
            _ => None,
        };
        Look { addresses, answer }
    }
}

/// What the system's resolver says, each address once.
async fn resolve(host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    let asked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    match asked {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "no answer of the resolver within {} s",
            PATIENCE.as_secs()
        )),
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
    match Looker::new(config, Arc::clone(clock)) {
        Ok(Some(looker)) => {
            task.spawn(looker.run(readings, engine));
        }
        Ok(None) => {}
        Err(error) => tracing::error!("gateways are not looked at: {error}"),
    }
}
