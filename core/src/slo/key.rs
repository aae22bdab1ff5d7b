//! What a series counts.

use core::fmt;
use core::str::FromStr;

use crate::fault::Blame;
use crate::name::{Account, NameError, VantageKind};
use crate::outcome::labels;

labels!(
    /// What is promised.
    Measure {
        /// The endpoint is reached.
        Reachability => "reachability",
        /// `/up` is answered fast enough.
        Latency => "latency",
    }
);

/// Longest subject of a charge, in bytes: `vm/HOST/SLOT`.
const MAX_SUBJECT: usize = 2 * crate::name::MAX_NAME + 8;

/// What a series counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesKey {
    /// Checks of one account from one kind of vantage.
    Account {
        /// Whose.
        account: Account,
        /// From where.
        kind: VantageKind,
        /// Of what.
        measure: Measure,
    },
    /// Bad events that a finding about `subject` explains.
    Charged {
        /// Who is blamed.
        blame: Blame,
        /// Name of the blamed thing.
        subject: String,
    },
}

/// Why a text is no series key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not one of the two forms.
    #[error("a series is written account/NAME/KIND/MEASURE or charged/BLAME/SUBJECT")]
    Form,
    /// The account is no name.
    #[error("{0}")]
    Name(#[from] NameError),
}

impl SeriesKey {
    /// Reachability of `account` from `kind`.
    pub fn reachability(account: Account, kind: VantageKind) -> Self {
        Self::Account {
            account,
            kind,
            measure: Measure::Reachability,
        }
    }

    /// What is promised of it; `None` for charges.
    pub fn measure(&self) -> Option<Measure> {
        match self {
            Self::Account { measure, .. } => Some(*measure),
            Self::Charged { .. } => None,
        }
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account {
                account,
                kind,
                measure,
            } => write!(f, "account/{account}/{}/{measure}", kind.as_label()),
            Self::Charged { blame, subject } => write!(f, "charged/{blame}/{subject}"),
        }
    }
}

impl FromStr for SeriesKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if let Some(rest) = text.strip_prefix("charged/") {
            let (blame, subject) = rest.split_once('/').ok_or(KeyError::Form)?;
            if subject.is_empty() || subject.len() > MAX_SUBJECT {
                return Err(KeyError::Form);
            }
            return Ok(Self::Charged {
                blame: Blame::from_label(blame).ok_or(KeyError::Form)?,
                subject: subject.to_owned(),
            });
        }
        let rest = text.strip_prefix("account/").ok_or(KeyError::Form)?;
        let mut parts = rest.splitn(3, '/');
        let (Some(account), Some(kind), Some(measure)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyError::Form);
        };
        let kind = [VantageKind::Node, VantageKind::Host, VantageKind::Vm]
            .into_iter()
            .find(|k| k.as_label() == kind)
            .ok_or(KeyError::Form)?;
        Ok(Self::Account {
            account: Account::new(account)?,
            kind,
            measure: Measure::from_label(measure).ok_or(KeyError::Form)?,
        })
    }
}
