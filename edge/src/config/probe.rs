//! `probe`: what the prober needs.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use pnwatch_core::link::Cidr;
use pnwatch_core::name::{Vantage, VantageKind};
use pnwatch_core::plan::Pace;

use super::relay::Relay;
use super::section::{FromSection, Section};
use super::value::BaseUrl;
use crate::http::Proxy;
use crate::tls::Keypair;

/// The prober's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Who this is.
    pub vantage: Vantage,
    /// The PN device.
    pub interface: String,
    /// Other devices whose bandwidth is told; the default route's and the PN device's parent
    /// are found by themselves.
    pub devices: Vec<String>,
    /// The PN's address range.
    pub pn_cidr: Cidr,
    /// Every exporter replica: the plan comes from it, reports go to it.
    pub exporters: Vec<ExporterEndpoint>,
    /// An inventory file instead of exporters.
    pub plan_file: Option<PathBuf>,
    /// Where the last plan and unsent reports survive a restart; `None` = memory alone.
    pub state_dir: Option<PathBuf>,
    /// What must answer when the PN does not: TCP addresses off the PN.
    pub control: Vec<SocketAddr>,
    /// The prober's own `/livez`, `/readyz`, `/metrics`; always a loopback address.
    pub listen: SocketAddr,
    /// How often to check where the plan comes from `plan_file`; an exporter's plan brings its
    /// own.
    pub pace: Pace,
    /// The endpoint for the VMs behind this host; `None` = none is opened.
    pub relay: Option<Relay>,
}

/// One exporter replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExporterEndpoint {
    /// Its ingest listener.
    pub url: BaseUrl,
    /// The bearer token of this vantage.
    pub token_file: Option<PathBuf>,
    /// The certificate authority of its certificate; `None` = the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate that names this vantage, where the exporter takes certificates.
    pub identity: Option<Keypair>,
    /// The proxy that leads to it; `None` = it is reached straight.
    pub proxy: Option<Proxy>,
}

/// Longest device name: `IFNAMSIZ` - 1 (netdevice(7)).
const MAX_INTERFACE: usize = 15;

impl FromSection for Probe {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let vantage: Option<Vantage> = section.required("vantage", "node/NAME or host/NAME");
        let device = match vantage.as_ref().map(Vantage::kind) {
            Some(VantageKind::Host) => "vlan0",
            Some(VantageKind::Node | VantageKind::Vm) | None => "pn0",
        };
        if matches!(vantage, Some(Vantage::Vm(..))) {
            section.refuse(
                "vantage",
                "a VM has neither name nor token: write `vm: { relay: GATEWAY:9764 }` at the top of its file instead of `probe`; its host names it",
            );
        }
        let interface = section.or("interface", device.to_owned());
        if !is_device_name(&interface) {
            section.refuse(
                "interface",
                format!(
                    "{interface:?} is no device name: 1 to {MAX_INTERFACE} characters, no space, no `/`; see `ip link` or `ifconfig -l`"
                ),
            );
        }
        let devices: Vec<String> = section.or("devices", Vec::new());
        refuse_devices(section, &devices);
        let pn_cidr = section.required("pn_cidr", "172.16.0.0/22");
        let exporters = section.or("exporters", Vec::new());
        let plan_file = section.optional("plan_file");
        let state_dir = section.optional("state_dir");
        let control: Vec<SocketAddr> = section.or("control", Vec::new());
        let listen = section.or("listen", SocketAddr::from(([127, 0, 0, 1], 9763)));
        if !listen.ip().is_loopback() {
            let port = listen.port();
            section.refuse(
                "listen",
                format!("the prober listens on loopback only; write 127.0.0.1:{port}"),
            );
        }
        let pace = section.or("pace", Pace::default());
        let relay = section.optional("relay");
        if relay.is_some() && !matches!(vantage, Some(Vantage::Host(_)) | None) {
            section.refuse(
                "relay",
                "only a host has VMs behind it; remove the section, or write `vantage: host/NAME`",
            );
        }
        refuse_combinations(section, pn_cidr, &control);
        Some(Self {
            vantage: vantage?,
            interface,
            devices,
            pn_cidr: pn_cidr?,
            exporters,
            plan_file,
            state_dir,
            control,
            listen,
            pace,
            relay,
        })
    }
}

/// Room for the PN device, the public one and the parents in a report.
const MAX_DEVICES: usize = 50;

fn refuse_devices(section: &mut Section<'_>, devices: &[String]) {
    if let Some(name) = devices.iter().find(|name| !is_device_name(name)) {
        section.refuse(
            "devices",
            format!(
                "{name:?} is no device name: 1 to {MAX_INTERFACE} characters, no space, no `/`; see `ip link` or `ifconfig -l`"
            ),
        );
    }
    if devices.len() > MAX_DEVICES {
        section.refuse(
            "devices",
            format!("{} devices; name at most {MAX_DEVICES}", devices.len()),
        );
    }
}

fn is_device_name(name: &str) -> bool {
    (1..=MAX_INTERFACE).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        && name != "."
        && name != ".."
}

fn refuse_combinations(section: &mut Section<'_>, pn_cidr: Option<Cidr>, control: &[SocketAddr]) {
    match (section.has("exporters"), section.has("plan_file")) {
        (true, true) => section.refuse(
            "plan_file",
            "a plan comes from `exporters` or from `plan_file`, not from both; remove one",
        ),
        (false, false) => section.refuse(
            "exporters",
            "required, but missing; write `exporters: [{ url: http://ADDRESS:9760 }]`, or `plan_file: PATH` to run without an exporter",
        ),
        _ => {}
    }
    let Some(pn_cidr) = pn_cidr else { return };
    let on_pn = control
        .iter()
        .find(|address| matches!(address.ip(), IpAddr::V4(ip) if pn_cidr.contains(ip)));
    if let Some(address) = on_pn {
        section.refuse(
            "control",
            format!(
                "{address} lies inside the PN ({pn_cidr}); name an address that must answer when the PN does not"
            ),
        );
    }
}

impl FromSection for ExporterEndpoint {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let url = section.required("url", "http://ADDRESS:9760");
        let token_file = section.optional("token_file");
        let ca_file = section.optional("ca_file");
        let certificate: Option<PathBuf> = section.optional("certificate");
        let key: Option<PathBuf> = section.optional("key");
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Keypair { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                section.refuse(
                    "certificate",
                    "write `key: PATH` of its private key beside it",
                );
                None
            }
            (None, Some(_)) => {
                section.refuse(
                    "key",
                    "write `certificate: PATH` of its certificate beside it",
                );
                None
            }
        };
        let proxy = proxy(section);
        Some(Self {
            url: url?,
            token_file,
            ca_file,
            identity,
            proxy,
        })
    }
}

fn proxy(section: &mut Section<'_>) -> Option<Proxy> {
    let url: Option<BaseUrl> = section.optional("proxy");
    let credentials_file = section.optional("proxy_credentials_file");
    if credentials_file.is_some() && !section.has("proxy") {
        section.refuse(
            "proxy_credentials_file",
            "write `proxy: http://HOST:PORT` beside it",
        );
    }
    let url = url?;
    if !url.as_str().starts_with("http://") {
        section.refuse(
            "proxy",
            "a proxy is spoken to in plain HTTP (what it forwards has TLS of its own); write http://HOST:PORT",
        );
    }
    Some(Proxy {
        url,
        credentials_file,
    })
}

impl FromSection for Pace {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let default = Self::default();
        let mut millis = |key, default_ms, least_ms| {
            let given = section.or(key, Duration::from_millis(default_ms));
            let least = Duration::from_millis(least_ms);
            let most = Duration::from_mins(5);
            if given < least || given > most {
                section.refuse(
                    key,
                    format!(
                        "{} is out of range; write {} to 5m",
                        humantime::format_duration(given),
                        humantime::format_duration(least)
                    ),
                );
            }
            u64::try_from(given.as_millis()).unwrap_or(default_ms)
        };
        // The least values cap what one prober can put on the wire.
        Some(Self {
            arp_ms: millis("arp", default.arp_ms, 200),
            tcp_ms: millis("tcp", default.tcp_ms, 200),
            neighbour_ms: millis("neighbour", default.neighbour_ms, 200),
            control_ms: millis("control", default.control_ms, 200),
            burst_arp_ms: millis("burst_arp", default.burst_arp_ms, 50),
            burst_tcp_ms: millis("burst_tcp", default.burst_tcp_ms, 50),
            ready_ms: millis("ready", default.ready_ms, 1000),
        })
    }
}
