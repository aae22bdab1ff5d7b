//! Readers of command outputs: text in, plain facts out.
//!
//! Every input may be cut off, of another version, of another language or hostile: what is not
//! understood is left out, nothing is guessed, no input panics. Each reader looks at most at
//! [`MAX_LINES`] lines and keeps bounded lists.

pub mod arp;
pub mod ifconfig;
pub mod ipconfig;
pub mod kernel;
pub mod netstat;
pub mod pf;
pub mod route;

/// Most lines of one output that are looked at.
pub const MAX_LINES: usize = 4096;
/// Most bytes of a name that is kept: `IFNAMSIZ` (net/if.h) with its final zero.
const NAME: usize = 16;

/// The lines that count.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take(MAX_LINES)
}

/// A device's name, if it is one: what may travel on the wire and stand in a command.
pub(super) fn device(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let ok = !name.is_empty() && name.len() < NAME && name.chars().all(plain);
    ok.then(|| name.to_owned())
}

/// What follows `key` and its separator in `key : value` or `key: value`.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.trim().strip_prefix(key)?.trim_start();
    Some(rest.strip_prefix(':')?.trim())
}

/// Decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
