//! Why the exporter cannot run: one line each, and the exit code of sysexits.h.

use pnwatch_edge::config::ConfigError;
use pnwatch_edge::http::ClientError;
use pnwatch_edge::listen::ListenError;
use pnwatch_edge::tls::TlsError;

use crate::ingest::TokenError;
use crate::kube::ConnectError;
use crate::page::ReaderError;

/// Why the exporter cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The file has no `serve:` section.
    #[error("the config has no `serve:` section; add it, or run `pnwatch probe`")]
    NoSection,
    /// The inventory cannot be used.
    #[error("serve.inventory.file: {0}")]
    Inventory(#[source] ConfigError),
    /// No source of inventory is named.
    #[error("serve.inventory names neither `file` nor `kubernetes`; add one")]
    NoInventory,
    /// The Kubernetes API cannot be used.
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    /// A token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A reader's secret cannot be used.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The listeners' certificate cannot be used.
    #[error("serve.tls: {0}")]
    Tls(#[from] TlsError),
    /// The Alertmanager client cannot be built.
    #[error("serve.alertmanager: {0}")]
    Client(#[from] ClientError),
    /// The client that asks for traffic cannot be built.
    #[error("serve.traffic: {0}")]
    Traffic(#[source] ClientError),
    /// A header of a section cannot be sent.
    #[error("{0}.headers: {1:?} cannot be sent; use letters, digits and `-`")]
    Header(&'static str, String),
    /// The system refuses to tell of signals.
    #[error("cannot listen for SIGHUP: {0}; look at the process's limits")]
    Signals(#[source] std::io::Error),
    /// A task ended that never should.
    #[error("the {0} task ended; this is a fault of pnwatch: restart it and report the log")]
    Died(&'static str),
}

impl ServeError {
    /// 66 no input, 69 unavailable, 70 internal, 77 not permitted, 78 configuration.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Inventory(ConfigError::Unreadable { .. })
            | Self::Reader(_)
            | Self::Token(TokenError::Unusable { .. })
            | Self::Tls(TlsError::Unreadable { .. }) => 66,
            Self::Listen(error) => error.exit_code(),
            Self::NoSection
            | Self::NoInventory
            | Self::Inventory(_)
            | Self::Kubernetes(_)
            | Self::Token(TokenError::Shared { .. })
            | Self::Client(_)
            | Self::Tls(_)
            | Self::Traffic(_)
            | Self::Header(..) => 78,
            Self::Signals(_) => 71,
            Self::Died(_) => 70,
        }
    }
}
