//! Every parser of bytes from outside, as a function that holds its promises for any input:
//! no panic, no overflow, bounded results, and what was read reads the same once written.
//!
//! Three things call them: the replay of the committed corpora (`tests/replay.rs`, in every
//! `tests/run`), libFuzzer (`tests/fuzz/run`, hours), and a person with one file. A parser that
//! is private is reached by its crate's feature `fuzzing`.
//!
//! # Adding a target
//! 1. A function here that takes any bytes, calls the parser as the daemon does, asserts what must
//!    hold and says whether the parser made something of them; a line in [`TARGETS`].
//! 2. At least one real input of it in `tests/fuzz/corpus/NAME/`, and what was hostile so far.
//! 3. `tests/fuzz/run NAME`.

mod cluster;
mod config;
mod http;
mod link;
mod mac;
mod site;
mod wire;
mod witness;

/// One target: its name, which is also its corpus' directory, and what it runs.
pub type Target = (&'static str, Run);

/// What a target does with an input; whether the parser made something of it.
pub type Run = fn(&[u8]) -> bool;

/// All targets, by name.
pub const TARGETS: &[Target] = &[
    ("arp", link::arp),
    ("brief", wire::brief),
    ("config", config::config),
    ("gate_query", http::gate_query),
    ("heartbeat", cluster::heartbeat),
    ("http_response", http::response),
    ("inventory", config::inventory),
    ("kube", cluster::objects),
    ("mac_apart", mac::apart),
    ("mac_arp", mac::arp),
    ("mac_ifconfig", mac::ifconfig),
    ("mac_ipconfig", mac::ipconfig),
    ("mac_kernel", mac::kernel),
    ("mac_pf", mac::pf),
    ("mac_route", mac::route),
    ("metrics_text", http::metrics),
    ("neighbours", link::neighbours),
    ("netlink", link::netlink),
    ("nft", link::nft),
    ("plan", wire::plan),
    ("plan_query", http::plan_query),
    ("proc_tables", link::proc_tables),
    ("prometheus", cluster::prometheus),
    ("reply", wire::reply),
    ("report", wire::report),
    ("report_body", wire::report_body),
    ("spool", wire::spool),
    ("token", cluster::token),
    ("vm_talk", wire::vm_talk),
    ("witness", witness::witness),
];

/// The target called `name`.
pub fn target(name: &str) -> Option<Run> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, run)| *run)
}
