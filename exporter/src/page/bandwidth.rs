//! What goes over the nodes' devices: peaks of one second, so that a burst of ten seconds is
//! seen that a rate over five minutes hides.

use pnwatch_core::name::Vantage;
use pnwatch_core::view::{VantageView, View};
use pnwatch_core::wire::DeviceReport;

use super::markup::Html;
use super::words;

/// Nodes of the brief list.
const FEW: usize = 8;

/// The PN devices of every node, the busiest first.
pub(super) fn brief(page: &mut Html, view: &View) {
    let mut rows: Vec<(&VantageView, &DeviceReport)> = view
        .vantages
        .iter()
        .filter(|seen| matches!(seen.vantage, Vantage::Node(_)))
        .flat_map(|seen| seen.devices.iter().map(move |device| (seen, device)))
        .filter(|(_, device)| device.plane == "pn")
        .collect();
    if rows.is_empty() {
        return;
    }
    rows.sort_by_key(|(_, device)| std::cmp::Reverse(busiest(device)));
    rows.truncate(FEW);
    table(page, &rows);
}

/// The devices of one vantage.
pub(super) fn of(page: &mut Html, seen: &VantageView) {
    let rows: Vec<_> = seen.devices.iter().map(|device| (seen, device)).collect();
    if !rows.is_empty() {
        table(page, &rows);
    }
}

fn busiest(device: &DeviceReport) -> u64 {
    let peaks = device.peaks.iter();
    peaks.map(|p| p.receive.max(p.transmit)).max().unwrap_or(0)
}

fn table(page: &mut Html, rows: &[(&VantageView, &DeviceReport)]) {
    page.raw("<section aria-labelledby=\"bandwidth-title\">")
        .raw("<h2 id=\"bandwidth-title\">Bandwidth</h2><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"bandwidth-title\">")
        .raw("<table class=\"budgets\"><thead><tr><th scope=\"col\">Device</th>")
        .raw("<th scope=\"col\">Sent, peak second of 60</th><th scope=\"col\">Received</th>")
        .raw("<th scope=\"col\">Speed</th><th scope=\"col\">Dropped</th></tr></thead><tbody>");
    for (seen, device) in rows {
        let peak = device.peaks.iter().max_by_key(|p| p.window_s);
        page.raw("<tr><th scope=\"row\">");
        page.link("/vantages/", &seen.vantage.to_string(), &seen.vantage)
            .raw("<small>")
            .text(format!("{} ({})", device.device, device.plane))
            .raw("</small></th>");
        for bytes in [peak.map(|p| p.transmit), peak.map(|p| p.receive)] {
            page.raw("<td>");
            match bytes {
                Some(bytes) => {
                    page.text(words::bits(bytes.saturating_mul(8)));
                    if let Some(speed) = device.speed_bps.filter(|speed| *speed > 0) {
                        let share = bytes as f64 * 8.0 / speed as f64;
                        page.text(format!(" · {:.0} %", share * 100.0));
                    }
                }
                None => {
                    page.raw("<span class=\"quiet\">not yet</span>");
                }
            }
            page.raw("</td>");
        }
        page.raw("<td>");
        match device.speed_bps {
            Some(speed) => page.text(words::bits(speed)),
            None => page.raw("<span class=\"quiet\">the driver does not tell</span>"),
        };
        let dropped = device.receive_drops.saturating_add(device.transmit_drops);
        page.raw("</td><td>").text(dropped).raw("</td></tr>");
    }
    page.raw("</tbody></table></div></section>");
}
