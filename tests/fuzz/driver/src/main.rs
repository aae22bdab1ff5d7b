//! libFuzzer in front of the targets of `tests/fuzz/targets`; `tests/fuzz/run` starts it.
//!
//! `PNWATCH_FUZZ_TARGET` names the target. Besides those of the table there are three with a
//! planted fault each, by which `tests/fuzz/run --bites` shows that this machinery finds faults.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use pnwatch_fuzz_targets::{Run, TARGETS, target};

static CHOSEN: OnceLock<Run> = OnceLock::new();

fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some(run) = CHOSEN.get() {
        run(bytes);
    }
});

fn choose() {
    let name = std::env::var("PNWATCH_FUZZ_TARGET").unwrap_or_default();
    let run = match name.as_str() {
        "planted_panic" => planted_panic,
        "planted_overflow" => planted_overflow,
        "planted_hang" => planted_hang,
        "" => list(),
        name => target(name).unwrap_or_else(|| unknown(name)),
    };
    // Chosen once: libFuzzer initialises once.
    let _ = CHOSEN.set(run);
}

fn unknown(name: &str) -> ! {
    eprintln!("there is no target {name}; PNWATCH_FUZZ_TARGET= lists them");
    std::process::exit(64)
}

/// What there is.
fn list() -> ! {
    for (name, _) in TARGETS {
        println!("{name}");
    }
    std::process::exit(0)
}

/// The record's payload, if it starts with the magic number of its format.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let magic = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    (magic == 0x504e_5743).then_some(bytes.get(4..)?)
}

/// Trusts a length that stands in the input.
fn planted_panic(bytes: &[u8]) -> bool {
    let Some([length, rest @ ..]) = record(bytes) else {
        return false;
    };
    rest.is_empty() || rest[..usize::from(*length)].is_ascii()
}

/// Adds what a stranger says without looking.
fn planted_overflow(bytes: &[u8]) -> bool {
    let Some([count, more, ..]) = record(bytes) else {
        return false;
    };
    count + more > 0
}

/// Goes on by a step that a stranger says, which may be none.
fn planted_hang(bytes: &[u8]) -> bool {
    let Some(steps) = record(bytes) else {
        return false;
    };
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        at += usize::from(*step);
    }
    true
}
