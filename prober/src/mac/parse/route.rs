//! `route -n get ADDRESS` (route(8) of macOS).

use core::net::Ipv4Addr;

use super::{after, device, lines};

/// Where a packet to an address leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// The device.
    pub device: Option<String>,
    /// The gateway, if one is in between.
    pub gateway: Option<Ipv4Addr>,
    /// The route says no: `REJECT` or `BLACKHOLE`.
    pub refuses: bool,
}

/// The answer; `None` where there is none (no route, or an output that is not one).
pub fn get(text: &str) -> Option<Route> {
    let mut route = None::<Route>;
    for line in lines(text) {
        if after(line, "route to").is_some() {
            route = Some(Route::default());
        }
        let Some(route) = &mut route else {
            continue;
        };
        if let Some(name) = after(line, "interface") {
            route.device = device(name);
        } else if let Some(gateway) = after(line, "gateway") {
            // A neighbour's entry names its link here, which is no gateway.
            route.gateway = gateway.parse().ok();
        } else if let Some(flags) = after(line, "flags") {
            let mut flags = flags.trim_matches(['<', '>']).split(',');
            route.refuses = flags.any(|flag| matches!(flag, "REJECT" | "BLACKHOLE"));
        }
    }
    route.filter(|route| route.device.is_some())
}
