//! Whether the files that a configuration names can be used.

use std::path::Path;

use pnwatch_core::name::Cluster;

use super::inventory::read_inventory;
use super::load::ConfigError;
use super::problem::Problem;
use super::top::Config;
use crate::secret::{Secret, SecretError};
use crate::tls;

/// Reads every named file once.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(probe) = &config.probe {
        for (index, exporter) in probe.exporters.iter().enumerate() {
            let at = |key: &str| format!("probe.exporters[{index}].{key}");
            secret(
                &at("token_file"),
                exporter.token_file.as_deref(),
                &mut found,
            );
            authority(&at("ca_file"), exporter.ca_file.as_deref(), &mut found);
            identity(&at("certificate"), exporter.identity.as_ref(), &mut found);
            let proxy = exporter.proxy.as_ref();
            let credentials = proxy.and_then(|proxy| proxy.credentials_file.as_deref());
            secret(&at("proxy_credentials_file"), credentials, &mut found);
        }
        if let Some(file) = &probe.plan_file {
            inventory("probe.plan_file", file, &config.cluster, &mut found);
        }
        directory("probe.state_dir", probe.state_dir.as_deref(), &mut found);
    }
    if let Some(serve) = &config.serve {
        if let Some(file) = &serve.inventory.file {
            inventory("serve.inventory.file", file, &config.cluster, &mut found);
        }
        let kubernetes = serve.inventory.kubernetes.as_ref();
        if let Some(file) = kubernetes.and_then(|k| k.kubeconfig.as_deref()) {
            readable("serve.inventory.kubernetes.kubeconfig", file, &mut found);
        }
        let gateways = kubernetes.and_then(|k| k.gateway_ca_file.as_deref());
        let at = "serve.inventory.kubernetes.gateway_ca_file";
        authority(at, gateways, &mut found);
        if let Some(tls) = &serve.tls {
            match tls::ServerTls::read(&tls.files, tls.client_ca_file.as_deref()) {
                Ok(_) => {}
                Err(error @ tls::TlsError::Unreadable { .. }) => {
                    found.push(Problem::unreadable("serve.tls", 0, error.to_string()));
                }
                Err(error) => found.push(Problem::error("serve.tls", 0, error.to_string())),
            }
        }
        for (index, token) in serve.tokens.iter().enumerate() {
            let path = format!("serve.tokens[{index}].file");
            secret(&path, Some(&token.file), &mut found);
        }
        for (index, reader) in serve.readers.iter().enumerate() {
            let path = format!("serve.readers[{index}].file");
            secret(&path, Some(&reader.file), &mut found);
        }
        if let Some(manager) = &serve.alertmanager {
            let at = |key: &str| format!("serve.alertmanager.{key}");
            secret(&at("token_file"), manager.token_file.as_deref(), &mut found);
            authority(&at("ca_file"), manager.ca_file.as_deref(), &mut found);
        }
        if let Some(prometheus) = &serve.traffic.prometheus {
            let at = |key: &str| format!("serve.traffic.prometheus.{key}");
            secret(
                &at("token_file"),
                prometheus.token_file.as_deref(),
                &mut found,
            );
            authority(&at("ca_file"), prometheus.ca_file.as_deref(), &mut found);
        }
        let gate = serve.gate.token_file.as_deref();
        secret("serve.gate.token_file", gate, &mut found);
        directory("serve.state_dir", serve.state_dir.as_deref(), &mut found);
    }
    found
}

/// Whether the file can be opened; whoever uses it says whether it makes sense.
fn readable(path: &str, file: &Path, found: &mut Vec<Problem>) {
    if let Err(error) = std::fs::File::open(file) {
        let message = format!(
            "cannot read {}: {error}; create it or let this user read it",
            file.display()
        );
        found.push(Problem::unreadable(path, 0, message));
    }
}

fn secret(path: &str, file: Option<&Path>, found: &mut Vec<Problem>) {
    match file.map(Secret::read) {
        None | Some(Ok(_)) => {}
        Some(Err(error @ SecretError::Unreadable { .. })) => {
            found.push(Problem::unreadable(path, 0, error.to_string()));
        }
        Some(Err(error)) => found.push(Problem::error(path, 0, error.to_string())),
    }
}

fn authority(path: &str, file: Option<&Path>, found: &mut Vec<Problem>) {
    match file.map(tls::read_authorities) {
        None | Some(Ok(_)) => {}
        Some(Err(error @ tls::TlsError::Unreadable { .. })) => {
            found.push(Problem::unreadable(path, 0, error.to_string()));
        }
        Some(Err(error)) => found.push(Problem::error(path, 0, error.to_string())),
    }
}

fn identity(path: &str, files: Option<&tls::Keypair>, found: &mut Vec<Problem>) {
    match files.map(tls::Keypair::check) {
        None | Some(Ok(())) => {}
        Some(Err(error @ tls::TlsError::Unreadable { .. })) => {
            found.push(Problem::unreadable(path, 0, error.to_string()));
        }
        Some(Err(error)) => found.push(Problem::error(path, 0, error.to_string())),
    }
}

fn inventory(path: &str, file: &Path, cluster: &Cluster, found: &mut Vec<Problem>) {
    match read_inventory(file, cluster.clone()) {
        Ok(_) => {}
        Err(error @ ConfigError::Unreadable { .. }) => {
            found.push(Problem::unreadable(path, 0, error.to_string()));
        }
        Err(error) => found.push(Problem::error(path, 0, error.to_string())),
    }
}

/// It need not exist yet, but nothing else may stand in its place.
fn directory(path: &str, dir: Option<&Path>, found: &mut Vec<Problem>) {
    let Some(dir) = dir else { return };
    if dir.exists() && !dir.is_dir() {
        let message = format!("{} is no directory; name another place", dir.display());
        found.push(Problem::error(path, 0, message));
    }
}
