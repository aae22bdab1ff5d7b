//! A Lease for the one who writes, by the rules of client-go: the holder's silence is measured
//! by the own clock since its last sign of life was *seen*, so that clocks need not agree; a
//! write carries the resource version, so that two takers cannot both win.

use std::time::Duration;

use ::kube::api::PostParams;
use ::kube::{Api, Client, Error};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use pnwatch_core::time::{Now, Tick};

/// A holder that shows no life for this long has lost the Lease.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// A holder trusts its Lease this long after its last sign of life: less than others wait.
const HELD: Duration = Duration::from_secs(10);
/// How often the holder shows life.
const RENEW: Duration = Duration::from_secs(5);

/// One contender for a Lease.
pub(super) struct Contender {
    api: Api<Lease>,
    name: String,
    holder: String,
    renewed: Option<Tick>,
    asked: Option<Tick>,
    /// The other's last sign of life, and when it was seen.
    other: Option<(String, Tick)>,
}

impl Contender {
    /// `holder` must differ between replicas.
    pub(super) fn new(client: Client, namespace: &str, name: &str, holder: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            holder: holder.to_owned(),
            renewed: None,
            asked: None,
            other: None,
        }
    }

    /// Takes, renews or watches the Lease as is due; whether it is held now.
    pub(super) async fn turn(&mut self, now: Now) -> Result<bool, Error> {
        if self.asked.is_none_or(|at| now.tick.since(at) >= RENEW) {
            self.asked = Some(now.tick);
            match self.contend(now).await {
                Ok(true) => self.renewed = Some(now.tick),
                Ok(false) => self.renewed = None,
                // Held until it has run out: the server's silence takes nothing away.
                Err(error) if !self.holds(now.tick) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(self.holds(now.tick))
    }

    /// Ends before the Lease does, so that two never write at once.
    fn holds(&self, now: Tick) -> bool {
        self.renewed.is_some_and(|at| now.since(at) < HELD)
    }

    async fn contend(&mut self, now: Now) -> Result<bool, Error> {
        let Some(found) = self.api.get_opt(&self.name).await? else {
            let fresh = self.lease(None, now);
            return won(self.api.create(&PostParams::default(), &fresh).await);
        };
        let spec = found.spec.as_ref();
        let holder = spec
            .and_then(|s| s.holder_identity.as_deref())
            .unwrap_or_default();
        if holder != self.holder && !holder.is_empty() {
            let life = format!("{holder} {:?}", spec.and_then(|s| s.renew_time.as_ref()));
            match &self.other {
                Some((seen, since)) if *seen == life => {
                    if now.tick.since(*since) < LEASE {
                        return Ok(false);
                    }
                }
                _ => {
                    self.other = Some((life, now.tick));
                    return Ok(false);
                }
            }
            tracing::info!(from = %holder, "the writer of node conditions is silent: taking over");
        }
        let mine = self.lease(Some(&found), now);
        won(self
            .api
            .replace(&self.name, &PostParams::default(), &mine)
            .await)
    }

    fn lease(&self, found: Option<&Lease>, now: Now) -> Lease {
        let stamp = i64::try_from(now.wall.as_unix_nanos() / 1000)
            .ok()
            .and_then(|micros| k8s_openapi::jiff::Timestamp::from_microsecond(micros).ok())
            .map(MicroTime);
        let old = found.and_then(|l| l.spec.clone()).unwrap_or_default();
        let mine = old.holder_identity.as_deref() == Some(self.holder.as_str());
        let meta = ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        Lease {
            metadata: found.map_or(meta, |l| l.metadata.clone()),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.holder.clone()),
                lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
                acquire_time: if mine {
                    old.acquire_time
                } else {
                    stamp.clone()
                },
                renew_time: stamp,
                lease_transitions: Some(old.lease_transitions.unwrap_or(0) + i32::from(!mine)),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// A conflict means that another was faster: no error.
fn won<T>(result: Result<T, Error>) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
