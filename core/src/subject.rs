//! What a check is about, as one key that is the same in plan, report and metrics.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::{Account, Instance, NameError, Node, Text, Vantage};
use crate::outcome::{Layer, labels};

labels!(
    /// How an account's cache is reached.
    TargetKind {
        /// Node address and `NodePort`, plain HTTP.
        Nodeport => "nodeport",
        /// The https gateway of `status.privateURL`.
        Gateway => "gateway",
    }
);

impl Serialize for TargetKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_label())
    }
}

impl<'de> Deserialize<'de> for TargetKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_label(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("kind must be nodeport or gateway, not {text:?}"))
        })
    }
}

/// What a check is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A cache node's PN address, with or without any account (ARP).
    Node(Node),
    /// One account's endpoint (TCP, HTTP).
    Account(Account, Instance, TargetKind),
    /// Another machine on the PN that is `ARPed` as a witness.
    Neighbour(Vantage),
    /// What must answer when the PN does not (off the PN).
    Control,
}

impl Subject {
    /// Sorts before every endpoint of `account`, and after those of accounts before it.
    pub(crate) fn first_of(account: &Account) -> Self {
        Self::Account(account.clone(), Instance::first(), TargetKind::Nodeport)
    }
}

/// Why a text is no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Not one of the four forms.
    #[error(
        "a subject is written node:NAME, account:ACCOUNT/INSTANCE/KIND, neighbour:VANTAGE or control"
    )]
    Form,
    /// A name in it is invalid.
    #[error("{0}")]
    Name(#[from] NameError),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node:{node}"),
            Self::Account(account, instance, kind) => {
                write!(f, "account:{account}/{instance}/{kind}")
            }
            Self::Neighbour(vantage) => write!(f, "neighbour:{vantage}"),
            Self::Control => f.write_str("control"),
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        match text.split_once(':') {
            None if text == "control" => Ok(Self::Control),
            Some(("node", name)) => Ok(Self::Node(Node::new(name)?)),
            Some(("neighbour", name)) => Ok(Self::Neighbour(name.parse()?)),
            Some(("account", rest)) => {
                let mut parts = rest.splitn(3, '/');
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(account), Some(instance), Some(kind)) => Ok(Self::Account(
                        Account::new(account)?,
                        Instance::new(instance)?,
                        TargetKind::from_label(kind).ok_or(SubjectError::Form)?,
                    )),
                    _ => Err(SubjectError::Form),
                }
            }
            _ => Err(SubjectError::Form),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::new())
    }
}

/// One vantage's view of one subject at one layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey {
    /// Where the checks start.
    pub vantage: Vantage,
    /// What they are about.
    pub subject: Subject,
    /// The layer they exercise.
    pub layer: Layer,
}

impl fmt::Display for PathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} ({})", self.vantage, self.subject, self.layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back_as_written() {
        for text in [
            "node:kura-fleet-1",
            "account:tuist/kura-tuist-scw-fr-par/nodeport",
            "neighbour:host/mini-1",
            "control",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "node:",
            "account:a/b",
            "account:a/b/c",
            "control:x",
            "x:y",
        ] {
            assert!(text.parse::<Subject>().is_err(), "{text:?}");
        }
    }
}
