//! The values that a key can hold, each with the words of its refusal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pnwatch_core::link::Cidr;
use pnwatch_core::name::{Cluster, Vantage};

use super::section::{Findings, FromNode, Place};
use super::suggest;
use super::tree::{Node, Value};

/// Longest accepted list in a configuration.
const MAX_LIST: usize = 10_000;

pub(super) fn text<'a>(
    node: &'a Node,
    place: &Place,
    findings: &mut Findings,
    expected: &str,
) -> Option<&'a str> {
    let problem = match &node.value {
        Value::Text(text) if text.trim().is_empty() => format!("empty; write {expected}"),
        Value::Text(text) => return Some(text),
        Value::Null => format!("has no value; write {expected}, or remove the key"),
        value @ (Value::Bool(_) | Value::Int(_) | Value::Float(_)) => format!(
            "expected {expected}, found {}; if that is meant, put it in quotes",
            value.spoken()
        ),
        other => format!("expected {expected}, found {}", other.spoken()),
    };
    findings.problems.push(place.error(problem));
    None
}

/// A text that parses, with the parser's own words on failure.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    node: &Node,
    place: &Place,
    findings: &mut Findings,
    expected: &str,
) -> Option<T> {
    let text = text(node, place, findings, expected)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let found = super::tree::shortened(text);
            let problem = place.error(format!("{found:?} is not {expected}: {error}"));
            findings.problems.push(problem);
            None
        }
    }
}

impl FromNode for String {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        text(node, place, findings, "a text").map(str::to_owned)
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let found = node.value.spoken();
        let problem = place.error(format!("expected true or false, found {found}"));
        findings.problems.push(problem);
        None
    }
}

impl FromNode for usize {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        if let Value::Int(value) = node.value
            && let Ok(value) = Self::try_from(value)
        {
            return Some(value);
        }
        let found = node.value.spoken();
        let problem = place.error(format!("expected a whole number from 0 up, found {found}"));
        findings.problems.push(problem);
        None
    }
}

impl FromNode for PathBuf {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(node, place, findings, "a path")?;
        if text.contains('\0') {
            findings
                .problems
                .push(place.error("a path cannot hold a NUL byte"));
            return None;
        }
        Some(Self::from(text))
    }
}

impl FromNode for Cluster {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        parsed(node, place, findings, "a cluster name")
    }
}

impl FromNode for Vantage {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(
            node,
            place,
            findings,
            "node/NAME, host/NAME or vm/HOST/SLOT",
        )?;
        let whole = match findings.environment.expand(text) {
            Ok(whole) => whole,
            Err(why) => {
                findings.problems.push(place.error(why));
                return None;
            }
        };
        match whole.parse() {
            Ok(vantage) => Some(vantage),
            Err(error) => {
                let found = super::tree::shortened(&whole);
                let problem = place.error(format!("{found:?} is no vantage: {error}"));
                findings.problems.push(problem);
                None
            }
        }
    }
}

impl FromNode for Cidr {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(node, place, findings, "ADDRESS/LENGTH, like 172.16.0.0/22")?;
        match text.parse() {
            Ok(cidr) => Some(cidr),
            Err(error) => {
                findings.problems.push(place.error(format!("{error}")));
                None
            }
        }
    }
}

impl FromNode for SocketAddr {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(node, place, findings, "ADDRESS:PORT, like 127.0.0.1:9760")?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let found = super::tree::shortened(text);
        let port = text.rsplit(':').next().unwrap_or_default();
        let fix = if let Ok(ip) = text.parse::<std::net::IpAddr>() {
            let whole = SocketAddr::new(ip, 9760);
            format!("the port is missing; write \"{whole}\"")
        } else if text.contains(':') && port.parse::<u32>().is_ok_and(|port| port > 65_535) {
            "the port must be at most 65535".to_owned()
        } else if let Some(port) = text.strip_prefix(':') {
            format!("the address is missing; write 0.0.0.0:{port} for every IPv4 address")
        } else {
            "write ADDRESS:PORT with a numeric address, like 127.0.0.1:9760; names are not looked up"
                .to_owned()
        };
        let problem = place.error(format!("{found:?} is no address with a port: {fix}"));
        findings.problems.push(problem);
        None
    }
}

impl FromNode for Duration {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let problem = match &node.value {
            Value::Int(0) => "0 has no unit; write 0s".to_owned(),
            Value::Int(number) => without_unit(&number.to_string()),
            Value::Float(number) => {
                format!("{number} is no duration; write whole numbers with units, like 1s 500ms")
            }
            Value::Text(text) => match humantime::parse_duration(text.trim()) {
                Ok(duration) => return Some(duration),
                Err(_) if text.trim().parse::<u64>().is_ok() => without_unit(text.trim()),
                Err(_) => format!(
                    "{:?} is no duration; write it like 500ms, 30s, 5m or 1h 30m",
                    super::tree::shortened(text)
                ),
            },
            other => format!(
                "expected a duration like 500ms, 30s or 5m, found {}",
                other.spoken()
            ),
        };
        findings.problems.push(place.error(problem));
        None
    }
}

fn without_unit(number: &str) -> String {
    format!("{number:?} has no unit; write {number}ms or {number}s")
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let items = match &node.value {
            Value::List(items) if items.len() <= MAX_LIST => items,
            Value::List(items) => {
                let found = items.len();
                let problem =
                    place.error(format!("{found} entries; at most {MAX_LIST} are accepted"));
                findings.problems.push(problem);
                return None;
            }
            Value::Null => return Some(Self::new()),
            other => {
                let found = other.spoken();
                let problem = place.error(format!(
                    "expected a list (lines that begin with `- `), found {found}"
                ));
                findings.problems.push(problem);
                return None;
            }
        };
        let mut list = Self::with_capacity(items.len());
        let mut refused = false;
        for (index, item) in items.iter().enumerate() {
            let place = Place {
                path: format!("{}[{index}]", place.path),
                line: if item.line > 0 { item.line } else { place.line },
            };
            match T::from_node(item, &place, findings) {
                Some(value) => list.push(value),
                None => refused = true,
            }
        }
        (!refused).then_some(list)
    }
}

impl FromNode for BTreeMap<String, String> {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let found = node.value.spoken();
            let problem = place.error(format!("expected NAME: VALUE lines, found {found}"));
            findings.problems.push(problem);
            return None;
        };
        let mut map = Self::new();
        for (key, line, node) in entries {
            let place = Place {
                path: format!("{}.{}", place.path, super::tree::shortened(key)),
                line: *line,
            };
            let value = String::from_node(node, &place, findings)?;
            map.insert(key.clone(), value);
        }
        Some(map)
    }
}

/// An `http://` or `https://` URL that was checked once: no credentials, no query, no fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Checks `text`; the error is the reason and the fix.
    pub fn new(text: &str) -> Result<Self, String> {
        let uri: http::Uri = text
            .parse()
            .map_err(|error| format!("{error}; write it like http://198.51.100.7:9760"))?;
        let authority = uri.authority();
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(other) => {
                return Err(format!(
                    "{other}:// is not spoken; write http:// or https://"
                ));
            }
            None => return Err(format!("the scheme is missing; write \"http://{text}\"")),
        }
        let host = authority
            .map(http::uri::Authority::host)
            .unwrap_or_default();
        if host.is_empty() {
            return Err("the host is missing; write it like http://198.51.100.7:9760".to_owned());
        }
        if authority.is_some_and(|a| a.as_str().contains('@')) {
            return Err("credentials do not belong in a URL; name their file beside it (token_file, proxy_credentials_file)".to_owned());
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("remove everything from the `?` or `#` on".to_owned());
        }
        if authority.is_some_and(|a| a.as_str().len() > host.len() && a.port_u16().is_none()) {
            return Err("the port must be a number from 1 to 65535".to_owned());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The URL without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether TLS is spoken there.
    pub fn is_https(&self) -> bool {
        let scheme = self.0.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("https")
    }

    /// The URL with `path` (which begins with `/`) appended.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromNode for BaseUrl {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let text = text(node, place, findings, "a URL like http://198.51.100.7:9760")?;
        match Self::new(text) {
            Ok(url) => Some(url),
            Err(why) => {
                // What stands before an `@` may be a password.
                let found = super::tree::shortened(text.rsplit('@').next().unwrap_or_default());
                let problem = place.error(format!("{found:?} is no usable URL: {why}"));
                findings.problems.push(problem);
                None
            }
        }
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(
    node: &Node,
    place: &Place,
    findings: &mut Findings,
    words: &[(&'static str, T)],
) -> Option<T> {
    let names: Vec<&'static str> = words.iter().map(|(name, _)| *name).collect();
    let text = text(
        node,
        place,
        findings,
        &format!("one of {}", names.join(", ")),
    )?;
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == text) {
        return Some(*value);
    }
    let found = super::tree::shortened(text);
    let advice = match suggest::nearest(text, &names) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("write one of {}", names.join(", ")),
    };
    let problem = place.error(format!("{found:?} is not known; {advice}"));
    findings.problems.push(problem);
    None
}
