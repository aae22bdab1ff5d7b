//! The client: from a kubeconfig, or as the Pod that this runs in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use ::kube::{Client, Config};

/// How long a connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence after which an answer is given up. Watches are ended by the server before that.
const SILENCE: Duration = Duration::from_secs(320);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("serve.inventory.kubernetes.kubeconfig: {path} cannot be used: {source}", path = path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<KubeconfigError>,
    },
    /// This is no Pod with a service account.
    #[error(
        "serve.inventory.kubernetes: this is no Pod with a service account ({0}); set kubeconfig"
    )]
    InCluster(Box<::kube::config::InClusterError>),
    /// The client cannot be made.
    #[error("the Kubernetes client cannot be made: {0}")]
    Client(Box<::kube::Error>),
}

/// A client of the API server. Without a kubeconfig: of the cluster that this Pod runs in.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(|e| ConnectError::InCluster(Box::new(e)))?,
        Some(path) => {
            let unusable = |source| ConnectError::Kubeconfig {
                path: path.to_owned(),
                source: Box::new(source),
            };
            let file = Kubeconfig::read_from(path).map_err(unusable)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(unusable)?
        }
    };
    // Retries are ours: the client's own would hide a 503 for minutes.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    Client::try_from(config).map_err(|e| ConnectError::Client(Box::new(e)))
}
