//! A total, bounded, streaming reader of the needed families of the Prometheus text format
//! (version 0.0.4; `OpenMetrics` exemplars and `# EOF` are tolerated).
//!
//! Lines are handled one by one, so that memory does not grow with the body. What is not
//! needed is skipped without being looked at; a needed line that does not parse is counted.

use std::collections::BTreeMap;

use super::names::{Names, RouteClass};

/// Most bytes of one body; what is longer is cut and proves nothing.
pub const MAX_BODY: usize = 16 << 20;
/// Most bytes of one line; longer lines are skipped and counted.
pub const MAX_LINE: usize = 8 << 10;
/// Most public routes kept by name; beyond, only the sums count.
pub const MAX_ROUTES: usize = 256;
/// Most bytes of a route that is kept by name.
pub const MAX_ROUTE_BYTES: usize = 256;
/// Most labels looked at on one line.
const MAX_LABELS: usize = 32;
/// No counter gets there: an exabyte, or a request each nanosecond for thirty years. Below it the
/// sum over any body is finite.
const MAX_VALUE: f64 = 1e18;

/// Cumulative numbers of one public route.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RouteCount {
    /// Requests of any status.
    pub total: f64,
    /// Requests answered 429 or 503: shed.
    pub shed: f64,
}

/// What one body said: cumulative numbers since the process started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scrape {
    /// The body ended after a whole line and within [`MAX_BODY`]. Otherwise nothing that is
    /// absent here may be taken for absent there.
    pub complete: bool,
    /// The requests family was there.
    pub has_requests: bool,
    /// Public requests.
    pub public: f64,
    /// Requests between cache pods.
    pub internal: f64,
    /// Requests without a usable route label: with these nothing can be called zero.
    pub unclassified: f64,
    /// Public routes by name, at most [`MAX_ROUTES`].
    pub routes: BTreeMap<String, RouteCount>,
    /// Public requests by the latency histogram; `None` = the family is absent.
    pub latency_count: Option<f64>,
    /// Bytes sent to clients.
    pub egress: Option<f64>,
    /// Start of the process, Unix seconds.
    pub started: Option<f64>,
    /// Tenant by the info series.
    pub tenant: Option<String>,
    /// Region by the info series.
    pub region: Option<String>,
    /// Needed lines that did not parse, and lines that were too long.
    pub rejected: u32,
}

/// Sums of the requests family under one of its two names.
#[derive(Debug, Default)]
struct Requests {
    seen: bool,
    public: f64,
    internal: f64,
    unclassified: f64,
    all: f64,
    routes: BTreeMap<String, RouteCount>,
}

/// Reads a body chunk by chunk.
#[derive(Debug)]
pub struct Parser<'n> {
    names: &'n Names,
    partial: Vec<u8>,
    skipping: bool,
    bytes: usize,
    cut: bool,
    single: Requests,
    doubled: Requests,
    egress: [Option<f64>; 2],
    scrape: Scrape,
}

impl<'n> Parser<'n> {
    /// A reader of the families in `names`.
    pub fn new(names: &'n Names) -> Self {
        Self {
            names,
            partial: Vec::new(),
            skipping: false,
            bytes: 0,
            cut: false,
            single: Requests::default(),
            doubled: Requests::default(),
            egress: [None; 2],
            scrape: Scrape::default(),
        }
    }

    /// Takes the next bytes in. `false`: the bound is reached, more would be ignored.
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        let room = MAX_BODY.saturating_sub(self.bytes);
        self.cut |= chunk.len() > room;
        let mut rest = chunk.get(..room).unwrap_or(chunk);
        self.bytes = self.bytes.saturating_add(rest.len());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            if self.skipping {
                self.skipping = false;
            } else if self.partial.is_empty() {
                self.line(head);
            } else if self.keep(head) {
                let line = core::mem::take(&mut self.partial);
                self.line(&line);
                self.partial = line;
                self.partial.clear();
            } else {
                self.skipping = false;
            }
        }
        if !self.skipping && !rest.is_empty() {
            self.keep(rest);
        }
        !self.cut
    }

    /// Appends to the unfinished line; too long a line is given up.
    fn keep(&mut self, bytes: &[u8]) -> bool {
        if self.partial.len().saturating_add(bytes.len()) > MAX_LINE {
            self.partial.clear();
            self.skipping = true;
            self.reject();
            return false;
        }
        self.partial.extend_from_slice(bytes);
        true
    }

    /// What the body said.
    pub fn finish(self) -> Scrape {
        let mut scrape = self.scrape;
        // A number at the end of a body without a newline may be half a number.
        scrape.complete = !self.cut && !self.skipping && self.partial.is_empty() && self.bytes > 0;
        // Both names at once would count every request twice.
        let requests = if self.doubled.all >= self.single.all && self.doubled.seen {
            self.doubled
        } else {
            self.single
        };
        scrape.has_requests = requests.seen;
        scrape.public = requests.public;
        scrape.internal = requests.internal;
        scrape.unclassified = requests.unclassified;
        scrape.routes = requests.routes;
        scrape.egress = match self.egress {
            [Some(a), Some(b)] => Some(a.max(b)),
            [a, b] => a.or(b),
        };
        scrape
    }

    fn reject(&mut self) {
        self.scrape.rejected = self.scrape.rejected.saturating_add(1);
    }

    fn line(&mut self, line: &[u8]) {
        if line.len() > MAX_LINE {
            self.reject();
            return;
        }
        let line = line.trim_ascii();
        if line.is_empty() || line.first() == Some(&b'#') {
            return;
        }
        let end = line
            .iter()
            .position(|byte| matches!(byte, b'{' | b' ' | b'\t'))
            .unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let Some(wanted) = self.wanted(name) else {
            return;
        };
        let Some((labels, value)) = core::str::from_utf8(rest)
            .ok()
            .and_then(|rest| Labels::parse(rest, self.names))
        else {
            self.reject();
            return;
        };
        self.take(wanted, labels, value);
    }

    fn wanted(&self, name: &[u8]) -> Option<Wanted> {
        let names = self.names;
        let suffixed = |base: &str, suffix: &[u8]| {
            name.strip_prefix(base.as_bytes())
                .is_some_and(|rest| rest == suffix)
        };
        if suffixed(&names.requests, b"_total") {
            Some(Wanted::Requests { doubled: true })
        } else if suffixed(&names.requests, b"") {
            Some(Wanted::Requests { doubled: false })
        } else if suffixed(&names.latency, b"_count") {
            Some(Wanted::Latency)
        } else if suffixed(&names.egress, b"_total") {
            Some(Wanted::Egress { doubled: true })
        } else if suffixed(&names.egress, b"") {
            Some(Wanted::Egress { doubled: false })
        } else if suffixed(&names.started, b"") {
            Some(Wanted::Started)
        } else if suffixed(&names.node_info, b"") {
            Some(Wanted::NodeInfo)
        } else {
            None
        }
    }

    fn take(&mut self, wanted: Wanted, labels: Labels, value: f64) {
        match wanted {
            Wanted::Requests { doubled } => {
                let requests = if doubled {
                    &mut self.doubled
                } else {
                    &mut self.single
                };
                requests.add(self.names, labels, value);
            }
            Wanted::Latency => {
                *self.scrape.latency_count.get_or_insert(0.0) += value;
            }
            Wanted::Egress { doubled } => {
                if let Some(sum) = self.egress.get_mut(usize::from(doubled)) {
                    *sum.get_or_insert(0.0) += value;
                }
            }
            Wanted::Started => self.scrape.started = Some(value),
            Wanted::NodeInfo => {
                self.scrape.tenant = labels.tenant.or(self.scrape.tenant.take());
                self.scrape.region = labels.region.or(self.scrape.region.take());
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Requests { doubled: bool },
    Latency,
    Egress { doubled: bool },
    Started,
    NodeInfo,
}

impl Requests {
    fn add(&mut self, names: &Names, labels: Labels, value: f64) {
        self.seen = true;
        self.all += value;
        let Some(route) = labels.route.filter(|route| !route.is_empty()) else {
            self.unclassified += value;
            return;
        };
        match names.classify(&route) {
            RouteClass::Internal => self.internal += value,
            RouteClass::Probe => {}
            RouteClass::Public => {
                self.public += value;
                let known = self.routes.contains_key(&route);
                let fits = route.len() <= MAX_ROUTE_BYTES && self.routes.len() < MAX_ROUTES;
                if known || fits {
                    let count = self.routes.entry(route).or_default();
                    count.total += value;
                    if matches!(labels.status.as_deref(), Some("429" | "503")) {
                        count.shed += value;
                    }
                }
            }
        }
    }
}

/// The labels that matter.
#[derive(Debug, Default)]
struct Labels {
    route: Option<String>,
    status: Option<String>,
    tenant: Option<String>,
    region: Option<String>,
}

impl Labels {
    /// Reads `{…} value [timestamp] [# exemplar]`; `None` if that is not what it is.
    fn parse(text: &str, names: &Names) -> Option<(Self, f64)> {
        let mut labels = Self::default();
        let mut rest = text.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = labels.read(inside, names)?;
        }
        let mut words = rest.split_ascii_whitespace();
        let value: f64 = words.next()?.parse().ok()?;
        if !(0.0..=MAX_VALUE).contains(&value) {
            return None;
        }
        match words.next() {
            None | Some("#") => {}
            Some(stamp) => {
                stamp.parse::<f64>().ok()?;
                if words.next().is_some_and(|word| word != "#") {
                    return None;
                }
            }
        }
        Some((labels, value))
    }

    /// Reads up to and with the closing brace; returns what follows it.
    fn read<'t>(&mut self, mut rest: &'t str, names: &Names) -> Option<&'t str> {
        for _ in 0..=MAX_LABELS {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return Some(after);
            }
            let (name, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
            self.keep(name.trim(), value, names);
            rest = after.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after,
                None if rest.starts_with('}') => rest,
                None => return None,
            };
        }
        None
    }

    fn keep(&mut self, name: &str, value: String, names: &Names) {
        let slot = if name == names.route_label {
            &mut self.route
        } else if name == names.status_label {
            &mut self.status
        } else if name == names.tenant_label {
            &mut self.tenant
        } else if name == names.region_label {
            &mut self.region
        } else {
            return;
        };
        *slot = Some(value);
    }
}

/// Reads up to the closing quote; control characters become `?` so that no text of a pod
/// can break a line of ours.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                // A control character stays one behind a backslash.
                c if c == 'n' || c.is_control() => value.push('?'),
                c => value.push(c),
            },
            c if c.is_control() => value.push('?'),
            c => value.push(c),
        }
    }
    None
}
