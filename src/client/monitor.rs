//! How client commands reach the exporter: its address, values in a query, the runtime, and
//! what it says made fit for a terminal.

use std::fmt::Write as _;

/// The variable that holds the address when the command line does not.
const VARIABLE: &str = "PNWATCH_URL";

/// The base URL without a slash at its end, or what is wrong with it.
pub(super) fn base(given: Option<&str>) -> Result<String, String> {
    let from_environment = std::env::var(VARIABLE).ok();
    let url = given.or(from_environment.as_deref()).unwrap_or_default();
    let url = url.trim().trim_end_matches('/');
    if url.is_empty() {
        return Err(format!(
            "name the exporter: --url http://pnwatch:9761, or ${VARIABLE}"
        ));
    }
    let named = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    if named.is_none_or(str::is_empty) || url.contains(['?', '#']) {
        return Err(format!(
            "--url {:?} is no address; write it like http://pnwatch:9761",
            url.chars().take(100).collect::<String>()
        ));
    }
    Ok(url.to_owned())
}

/// A runtime for a few calls, one after the other.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            format!("the async runtime did not start: {error}; check the limits of open files")
        })
}

/// One line without control characters: what comes off the network must not steer a terminal,
/// nor begin a line of its own, which a workflow would read as a command. Nor may it turn the
/// direction of writing or hide (Unicode's separators, bidirectional and zero-width characters).
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}'
            | '\u{FEFF}' => ' ',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(base(Some("http://x:1/")), Ok("http://x:1".to_owned()));
        for bad in ["", "x:1", "ftp://x", "http://", "http://x/?a"] {
            assert!(
                base(Some(bad)).unwrap_err().contains("http://pnwatch:9761"),
                "{bad}"
            );
        }
    }

    #[test]
    fn values_are_encoded() {
        assert_eq!(encode("a-b.c_d~1"), "a-b.c_d~1");
        assert_eq!(
            encode("2026-06-22T09:14:30+02:00 &é"),
            "2026-06-22T09%3A14%3A30%2B02%3A00%20%26%C3%A9"
        );
    }
}
