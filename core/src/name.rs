//! Names of things, validated once at the edge and bounded for ever after.
//!
//! Every name is 1 to 253 bytes of `[A-Za-z0-9._-]` (the length of a DNS name, RFC 1035
//! §2.3.4), so that it can stand in a label, a URL path, a file name and a shell word. A copy of a
//! name shares its text.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest accepted name in bytes (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 253;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text was empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text was longer than [`MAX_NAME`].
    #[error("a name may have at most {MAX_NAME} bytes, this one has {0}")]
    TooLong(usize),
    /// The text held a character outside `[A-Za-z0-9._-]`.
    #[error("a name may hold only letters, digits, '.', '_' and '-', not {0:?}")]
    Character(char),
    /// The vantage did not read `node/NAME`, `host/NAME` or `vm/HOST/SLOT`.
    #[error("a vantage is written node/NAME, host/NAME or vm/HOST/SLOT")]
    Vantage,
}

pub(crate) fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong(text.len()));
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Validates `text` as a name.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text::new())
            }
        }
    };
}

name!(
    /// A private network with everything on it; an address alone identifies nothing.
    Cluster
);
name!(
    /// A cache node (Kubernetes node name).
    Node
);
name!(
    /// A Mac host.
    Host
);
name!(
    /// A customer account, by its handle.
    Account
);
name!(
    /// The tenant that `/up` must name.
    Tenant
);
name!(
    /// A cache instance (`KuraInstance` name).
    Instance
);
name!(
    /// A VM slot of a host.
    Slot
);

impl Instance {
    /// The first of all names in their order: `-` is the lowest byte that a name may hold.
    pub(crate) fn first() -> Self {
        Self("-".into())
    }
}

/// Where checks start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vantage {
    /// A Linux cache node. Explains, never proves.
    Node(Node),
    /// A Mac host: a client vantage.
    Host(Host),
    /// A runner VM, named by host and slot, never by Pod: a client vantage.
    Vm(Host, Slot),
}

/// The kind of a [`Vantage`], as the metric label `vantage_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VantageKind {
    /// A Linux cache node.
    Node,
    /// A Mac host.
    Host,
    /// A runner VM.
    Vm,
}

impl VantageKind {
    /// The metric label.
    pub fn as_label(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Host => "host",
            Self::Vm => "vm",
        }
    }

    /// Host and VM see what a build sees.
    pub fn is_client(self) -> bool {
        !matches!(self, Self::Node)
    }
}

impl Vantage {
    /// The kind.
    pub fn kind(&self) -> VantageKind {
        match self {
            Self::Node(_) => VantageKind::Node,
            Self::Host(_) => VantageKind::Host,
            Self::Vm(..) => VantageKind::Vm,
        }
    }

    /// Host and VM see what a build sees.
    pub fn is_client(&self) -> bool {
        self.kind().is_client()
    }

    /// Whether its word counts about what it shares with others: nodes, accounts, the network.
    ///
    /// Code in a VM is a customer's. What a VM says is weighed against its own host alone: it
    /// can neither accuse nor clear anything else, nor open a gate.
    pub fn is_witness(&self) -> bool {
        matches!(self, Self::Host(_))
    }

    /// The host that this vantage is or lives on.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Node(_) => None,
            Self::Host(host) | Self::Vm(host, _) => Some(host),
        }
    }
}

impl fmt::Display for Vantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node/{node}"),
            Self::Host(host) => write!(f, "host/{host}"),
            Self::Vm(host, slot) => write!(f, "vm/{host}/{slot}"),
        }
    }
}

impl FromStr for Vantage {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut parts = text.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("node"), Some(name), None) => Ok(Self::Node(Node::new(name)?)),
            (Some("host"), Some(name), None) => Ok(Self::Host(Host::new(name)?)),
            (Some("vm"), Some(host), Some(slot)) => {
                Ok(Self::Vm(Host::new(host)?, Slot::new(slot)?))
            }
            _ => Err(NameError::Vantage),
        }
    }
}

impl Serialize for Vantage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Vantage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::new())
    }
}

/// Parses a text where it lies: a report has thousands of names, and none is kept as it came.
pub(crate) struct Text<T>(PhantomData<T>);

impl<T> Text<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Visitor<'_> for Text<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vantage_reads_back_as_written() {
        for text in ["node/a-1", "host/mini.local", "vm/mini-1/0"] {
            assert_eq!(text.parse::<Vantage>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        for text in ["", "a b", "a\"b", "a\nb", "../x/", "é", "<script>", "a;b"] {
            assert!(Account::new(text).is_err(), "{text:?}");
        }
        assert!(Account::new("a".repeat(MAX_NAME)).is_ok());
        assert!(Account::new("a".repeat(MAX_NAME + 1)).is_err());
        for text in ["host", "vm/a", "vm/a/b/c", "mac/a", "host/", "node/a/b"] {
            assert!(text.parse::<Vantage>().is_err(), "{text:?}");
        }
    }
}
