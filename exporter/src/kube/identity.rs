//! Who a service account's token speaks for: the node of the Pod that it is bound to.
//!
//! The API server alone decides (`TokenReview`); what it said is kept until the token expires, so
//! that an outage of it rejects nobody whom it knew. While it answers, it is asked again every
//! few minutes, so that a deleted Pod's token ends early. A token whose own (unproven) words do
//! not even claim the right audience, account and time is refused without a question.
//! Safe to call from many tasks; a dropped call loses nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::kube::api::PostParams;
use ::kube::{Api, Client};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use pnwatch_core::name::{Node, Vantage};
use pnwatch_core::time::{Tick, Timestamp};
use pnwatch_edge::clock::SharedClock;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this an accepted token is asked about again.
const ASK_AGAIN: Duration = Duration::from_mins(5);
/// How long a refusal is remembered.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// Most tokens remembered; each node has one or two.
const MAX_KNOWN: usize = 4096;
/// Longest token accepted, in bytes.
const MAX_TOKEN: usize = 16 << 10;
/// Where the API server names the node of the token's Pod (Kubernetes 1.32 and later).
const NODE: &str = "authentication.kubernetes.io/node-name";

/// Why a token speaks for nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is none of ours: no question was asked, or the answer was no.
    #[error("the service account token is refused: {0}")]
    Refused(String),
    /// It cannot be checked now.
    #[error("the token cannot be checked now, the Kubernetes API does not answer: {0}; send again")]
    Unavailable(String),
}

#[derive(Debug, Clone)]
enum Known {
    Yes {
        vantage: Vantage,
        expires: Timestamp,
        asked: Tick,
    },
    No {
        why: String,
        asked: Tick,
    },
}

/// Asks the API server whom tokens stand for, and remembers.
pub struct Reviewer {
    api: Api<TokenReview>,
    audience: String,
    user: String,
    clock: SharedClock,
    known: Mutex<BTreeMap<[u8; 32], Known>>,
}

/// What a token says of itself, unproven.
#[derive(Deserialize)]
struct Claims {
    exp: u64,
    #[serde(default)]
    aud: Audiences,
    #[serde(default)]
    sub: String,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Audiences {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl Reviewer {
    /// For tokens of `account` (`NAMESPACE/NAME`) with `audience`.
    pub fn new(client: Client, audience: &str, account: &str, clock: SharedClock) -> Self {
        Self {
            api: Api::all(client),
            audience: audience.to_owned(),
            user: format!("system:serviceaccount:{}", account.replacen('/', ":", 1)),
            clock,
            known: Mutex::default(),
        }
    }

    /// The vantage that `token` speaks for.
    pub async fn vantage(&self, token: &str) -> Result<Vantage, IdentityError> {
        let expires = self.plausible(token)?;
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.clock.now().tick;
        let remembered = self.remembered(&hash, now);
        match &remembered {
            Some(Known::Yes { vantage, asked, .. }) if now.since(*asked) < ASK_AGAIN => {
                return Ok(vantage.clone());
            }
            Some(Known::No { why, .. }) => return Err(IdentityError::Refused(why.clone())),
            _ => {}
        }
        match self.ask(token).await {
            Ok(vantage) => {
                let yes = Known::Yes {
                    vantage: vantage.clone(),
                    expires,
                    asked: now,
                };
                self.remember(hash, yes, now);
                Ok(vantage)
            }
            Err(IdentityError::Refused(why)) => {
                let no = Known::No {
                    why: why.clone(),
                    asked: now,
                };
                self.remember(hash, no, now);
                Err(IdentityError::Refused(why))
            }
            // What the server said before holds until the token expires.
            Err(unavailable) => match remembered {
                Some(Known::Yes { vantage, .. }) => Ok(vantage),
                _ => Err(unavailable),
            },
        }
    }

    fn plausible(&self, token: &str) -> Result<Timestamp, IdentityError> {
        plausible(token, &self.audience, &self.user, self.clock.now().wall)
    }

    async fn ask(&self, token: &str) -> Result<Vantage, IdentityError> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![self.audience.clone()]),
            },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let answer = tokio::time::timeout(PATIENCE, self.api.create(&params, &review)).await;
        let status = match answer {
            Ok(Ok(review)) => review.status.unwrap_or_default(),
            Ok(Err(error)) => return Err(IdentityError::Unavailable(error.to_string())),
            Err(_) => return Err(IdentityError::Unavailable("no answer in 5 s".into())),
        };
        let refused = |why: &str| Err(IdentityError::Refused(why.to_owned()));
        if status.authenticated != Some(true) {
            return refused("the Kubernetes API does not know it");
        }
        // An authenticator that knows no audiences answers without any: then nothing is proven.
        if !status
            .audiences
            .unwrap_or_default()
            .contains(&self.audience)
        {
            return refused("the Kubernetes API did not confirm its audience");
        }
        let user = status.user.unwrap_or_default();
        if user.username.as_deref() != Some(self.user.as_str()) {
            return refused(&format!("it is not of {}", self.user));
        }
        let node = user
            .extra
            .as_ref()
            .and_then(|extra| extra.get(NODE)?.first());
        match node.map(|name| Node::new(name.as_str())) {
            Some(Ok(node)) => Ok(Vantage::Node(node)),
            _ => refused(
                "it is bound to no node: use a projected token of a Pod (Kubernetes 1.32 or later)",
            ),
        }
    }

    fn remembered(&self, hash: &[u8; 32], now: Tick) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|k| self.holds(k, now)).cloned()
    }

    fn holds(&self, known: &Known, now: Tick) -> bool {
        match known {
            Known::Yes { expires, .. } => *expires > self.clock.now().wall,
            Known::No { asked, .. } => now.since(*asked) < REFUSED_FOR,
        }
    }

    fn remember(&self, hash: [u8; 32], entry: Known, now: Tick) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, entry| self.holds(entry, now));
        }
        // Refusals never push out what is known to be good.
        if known.len() >= MAX_KNOWN {
            known.retain(|_, entry| matches!(entry, Known::Yes { .. }));
        }
        if known.len() < MAX_KNOWN || known.contains_key(&hash) {
            known.insert(hash, entry);
        }
    }
}

/// When `token` expires, if it claims to be one of ours at `now`. Proves nothing. Total.
pub(crate) fn plausible(
    token: &str,
    audience: &str,
    user: &str,
    now: Timestamp,
) -> Result<Timestamp, IdentityError> {
    let refused = |why: &str| Err(IdentityError::Refused(why.to_owned()));
    if token.len() > MAX_TOKEN {
        return refused("it is too long for a token");
    }
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    let Some(claims) = claims else {
        return refused("it is no service account token");
    };
    let fits = match &claims.aud {
        Audiences::None => false,
        Audiences::One(one) => *one == audience,
        Audiences::Many(many) => many.iter().any(|one| one == audience),
    };
    if !fits {
        return refused(&format!("its audience is not {audience}"));
    }
    if claims.sub != user {
        return refused(&format!("it is not of {user}"));
    }
    let expires = Timestamp::from_unix_seconds(claims.exp);
    if expires <= now {
        return refused("it has expired");
    }
    Ok(expires)
}
