//! Which vantage a client's certificate names.

use axum::http::StatusCode;
use pnwatch_core::name::Vantage;
use pnwatch_edge::tls::PeerNames;

use crate::answer::Refusal;

/// The vantage of a name NAME.host.pnwatch or NAME.node.pnwatch. A VM has no certificate: it
/// speaks through its host.
fn named(name: &str) -> Option<Vantage> {
    let name = name.strip_suffix(".pnwatch")?;
    let (name, kind) = name.rsplit_once('.')?;
    match kind {
        "host" | "node" => format!("{kind}/{name}").parse().ok(),
        _ => None,
    }
}

/// The one vantage that `names` name.
pub(super) fn vantage(names: &PeerNames) -> Result<Vantage, Refusal> {
    let mut found = names.iter().filter_map(named);
    let refuse = |what: &str| {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            format!(
                "the client certificate names {what}; issue one with exactly one DNS name NAME.host.pnwatch or NAME.node.pnwatch"
            ),
        )
    };
    match (found.next(), found.next()) {
        (Some(vantage), None) => Ok(vantage),
        (Some(one), Some(other)) => Err(refuse(&format!("{one} and {other}"))),
        (None, _) => Err(refuse("no vantage")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vantages_and_of_nothing() {
        let rows = [
            ("mini-1.host.pnwatch", Some("host/mini-1")),
            ("n1.node.pnwatch", Some("node/n1")),
            ("mini-1.office.host.pnwatch", Some("host/mini-1.office")),
            ("vm-1.vm.pnwatch", None),
            ("host.pnwatch", None),
            (".host.pnwatch", None),
            ("mini-1.host.example.dev", None),
            ("mini-1.host.pnwatch.", None),
            ("", None),
        ];
        for (name, expected) in rows {
            let said = named(name).map(|vantage| vantage.to_string());
            assert_eq!(said.as_deref(), expected, "{name}");
        }
    }
}
