//! A real exporter, and the prober's own way to it.

use std::sync::Arc;

use pnwatch_core::name::Slot;
use pnwatch_core::wire::{LinkReport, PathReport, REPORT_VERSION, Report, VmReport};
use pnwatch_edge::config::{BaseUrl, ExporterEndpoint};
use pnwatch_edge::http::{Client, ClientSettings};
use pnwatch_prober::transport::{HttpTransport, Transport};
use serde_json::{Value, json};

use crate::serving::Serving;

const VANTAGES: [&str; 2] = ["host/mini-1", "host/mini-2"];

/// Addresses of the PN stand in the inventory and are never dialled.
const INVENTORY: &str = "pn_cidr: 172.16.0.0/22
nodes:
  - { name: kura-fleet-1, address: 172.16.0.2 }
vantages:
  - { vantage: host/mini-1, address: 172.16.0.11 }
  - { vantage: host/mini-2, address: 172.16.0.12 }
targets:
  - { account: acme, instance: kura-acme-1, node: kura-fleet-1, address: 172.16.0.2, port: 30080 }
  - { account: other, instance: kura-other-1, node: kura-fleet-1, address: 172.16.0.2, port: 30081 }
";

pub(crate) struct Exporter {
    serving: Serving,
    client: Client,
    seq: u64,
}

impl Exporter {
    pub(crate) async fn start() -> Self {
        Self {
            serving: Serving::start(INVENTORY, &VANTAGES).await,
            client: Client::new(ClientSettings::default()).unwrap(),
            seq: 0,
        }
    }

    /// Delivers a report as the prober of the host `vantage` does, with what its VM told it.
    pub(crate) async fn report(
        &mut self,
        vantage: &str,
        link: LinkReport,
        paths: Vec<PathReport>,
        vm: Vec<PathReport>,
    ) {
        self.seq += 1;
        let endpoint = ExporterEndpoint {
            url: BaseUrl::new(&self.serving.ingest).unwrap(),
            token_file: Some(self.serving.token_file(vantage)),
            ca_file: None,
            identity: None,
            proxy: None,
        };
        let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new(&endpoint).unwrap());
        let empty = json!({
            "version": REPORT_VERSION, "cluster": "staging", "vantage": vantage,
            "boot_id": "boot-1", "seq": self.seq, "sent_at": "2026-11-20T12:20:00Z",
        });
        let vm = VmReport {
            slot: Slot::new("1").unwrap(),
            boot_id: "boot-1-1".to_owned(),
            stopping: false,
            paths: vm,
        };
        let report = Report {
            paths,
            link: Some(link),
            vms: vec![vm],
            ..Report::from_json(empty.to_string().as_bytes()).unwrap()
        };
        transport.report(&report).await.unwrap();
    }

    /// Open findings: blame, subject, fault, severity.
    pub(crate) async fn findings(&self) -> Vec<[String; 4]> {
        let url = format!("{}/v1/findings", self.serving.page);
        let answer = self.client.get(&url).await.unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let open = body["data"].as_array().unwrap().clone();
        open.iter()
            .map(|finding| {
                ["blame", "subject", "fault", "severity"]
                    .map(|key| finding[key].as_str().unwrap().to_owned())
            })
            .collect()
    }
}
