//! The faults, their wire form, and the switch that orders and confirms them.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How the stand-in misbehaves. The wire form is `{"kind": "http_500"}`; `slow` also has `ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Healthy.
    #[default]
    None,
    /// Connections are accepted, requests are never answered.
    Hang,
    /// The request is read, then the connection is closed without a byte.
    Eof,
    /// The request is read, then the connection is reset (RST).
    Reset,
    /// Every route answers 500.
    #[serde(rename = "http_500")]
    Http500,
    /// The cache routes answer 503, the probe routes are well.
    Shed,
    /// `/up` and `/metrics` name another tenant.
    WrongTenant,
    /// `/ready` answers 503 with `draining`, all else is well.
    Draining,
    /// The answer is not HTTP.
    NotHttp,
    /// Head and half of the body, then nothing.
    StallBody,
    /// Every answer is late by this much.
    Slow {
        /// Milliseconds before the answer's first byte.
        ms: u64,
    },
    /// The accept queue is full: SYNs are dropped without an answer, as on a black hole.
    AcceptQueueFull,
    /// The listening socket is closed: connections are refused.
    StopListening,
}

/// A fault's name that the stand-in does not know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown fault {name:?}; one of none, hang, eof, reset, http_500, shed, wrong_tenant, draining, not_http, stall_body, slow=MS, accept_queue_full, stop_listening"
)]
pub struct UnknownFault {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        Ok(match name {
            "none" => Self::None,
            "hang" => Self::Hang,
            "eof" => Self::Eof,
            "reset" => Self::Reset,
            "http_500" => Self::Http500,
            "shed" => Self::Shed,
            "wrong_tenant" => Self::WrongTenant,
            "draining" => Self::Draining,
            "not_http" => Self::NotHttp,
            "stall_body" => Self::StallBody,
            "accept_queue_full" => Self::AcceptQueueFull,
            "stop_listening" => Self::StopListening,
            other => {
                let ms = other.strip_prefix("slow=").and_then(|ms| ms.parse().ok());
                Self::Slow {
                    ms: ms.ok_or_else(|| UnknownFault {
                        name: other.to_owned(),
                    })?,
                }
            }
        })
    }
}

impl Fault {
    /// What the listener does with new connections under this fault.
    pub(crate) fn listening(self) -> Listening {
        match self {
            Self::AcceptQueueFull => Listening::QueueFull,
            Self::StopListening => Listening::Closed,
            _ => Listening::Open,
        }
    }

    /// What replaces HTTP on an open connection under this fault.
    pub(crate) fn spoils_connection(self) -> Option<Spoil> {
        match self {
            Self::Hang => Some(Spoil::Hang),
            Self::Eof => Some(Spoil::Eof),
            Self::Reset => Some(Spoil::Reset),
            Self::NotHttp => Some(Spoil::NotHttp),
            Self::StallBody => Some(Spoil::StallBody),
            _ => None,
        }
    }

    /// The delay before an answer.
    pub(crate) fn delay(self) -> Duration {
        match self {
            Self::Slow { ms } => Duration::from_millis(ms),
            _ => Duration::ZERO,
        }
    }
}

/// State of the listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    Open,
    QueueFull,
    Closed,
}

/// A fault below HTTP: what the peer gets instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    Hang,
    Eof,
    Reset,
    NotHttp,
    StallBody,
}

/// Orders a fault and learns when the listener has taken it.
///
/// The order is numbered, so that a confirmation of an older order is not taken for this one.
#[derive(Debug)]
pub(crate) struct FaultSwitch {
    ordered: watch::Sender<(u64, Fault)>,
    taken: watch::Sender<u64>,
}

impl FaultSwitch {
    pub(crate) fn new() -> Self {
        Self {
            ordered: watch::Sender::new((0, Fault::None)),
            taken: watch::Sender::new(0),
        }
    }

    pub(crate) fn current(&self) -> Fault {
        self.ordered.borrow().1
    }

    pub(crate) async fn switch_and_confirm(&self, fault: Fault) {
        let mut number = 0;
        self.ordered.send_modify(|order| {
            number = order.0 + 1;
            *order = (number, fault);
        });
        let mut taken = self.taken.subscribe();
        // The sender lives in self: this waits only for the listener.
        let _ = taken.wait_for(|taken| *taken >= number).await;
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<(u64, Fault)> {
        self.ordered.subscribe()
    }

    pub(crate) fn confirm(&self, number: u64) {
        self.taken.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wire_form_agree() {
        for name in [
            "none",
            "hang",
            "eof",
            "reset",
            "http_500",
            "shed",
            "wrong_tenant",
            "draining",
            "not_http",
            "stall_body",
            "accept_queue_full",
            "stop_listening",
        ] {
            let parsed: Fault = name.parse().unwrap();
            let json = serde_json::to_value(parsed).unwrap();
            assert_eq!(json, serde_json::json!({ "kind": name }));
            assert_eq!(serde_json::from_value::<Fault>(json).unwrap(), parsed);
        }
        assert_eq!("slow=250".parse(), Ok(Fault::Slow { ms: 250 }));
        assert_eq!(
            serde_json::to_value(Fault::Slow { ms: 250 }).unwrap(),
            serde_json::json!({"kind": "slow", "ms": 250})
        );
    }

    #[test]
    fn an_unknown_name_is_refused() {
        for name in ["", "slow", "slow=", "slow=-1", "hung"] {
            assert_eq!(
                name.parse::<Fault>(),
                Err(UnknownFault {
                    name: name.to_owned()
                })
            );
        }
    }
}
