//! One small network for the tests of several modules.

use pnwatch_core::inventory::{Inventory, InventoryFile};

/// One node, two hosts, an account per port.
pub(crate) fn inventory(ports: &[u16]) -> Inventory {
    let targets: Vec<_> = ports
        .iter()
        .map(|port| {
            serde_json::json!({"account": format!("a{port}"), "tenant": "t", "instance": "i",
                "node": "n1", "address": "172.16.0.2", "port": port})
        })
        .collect();
    let file = serde_json::json!({
        "pn_cidr": "172.16.0.0/22",
        "nodes": [{"name": "n1", "address": "172.16.0.2"}],
        "vantages": [{"vantage": "host/a", "address": "172.16.0.11"},
                     {"vantage": "host/b", "address": "172.16.0.12"}],
        "targets": targets,
    });
    let file: InventoryFile = serde_json::from_value(file).unwrap();
    file.into_inventory("test".parse().unwrap()).unwrap()
}
