//! The top of the file: `cluster`, `log`, and the sections of the daemons.

use pnwatch_core::name::Cluster;

use super::probe::Probe;
use super::relay::Vm;
use super::section::{Findings, FromNode, FromSection, Place, Section};
use super::serve::Serve;
use super::tree::Node;
use super::value::word;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which private network this is about. All clusters use the same addresses, so it is part
    /// of every identity.
    pub cluster: Cluster,
    /// What is logged, and how.
    pub log: Log,
    /// The prober, if this machine is a vantage.
    pub probe: Option<Probe>,
    /// The exporter, if this process is one.
    pub serve: Option<Serve>,
    /// The agent of a runner VM, if this is one.
    pub vm: Option<Vm>,
}

impl FromSection for Config {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        // One image serves every cluster: a VM does not know in which it runs.
        let in_vm = section.has("vm");
        let cluster = if in_vm && !section.has("cluster") {
            Cluster::new("vm").ok()
        } else {
            section.required("cluster", "NAME")
        };
        let log = section.or("log", Log::default());
        let probe = section.optional("probe");
        let serve = section.optional("serve");
        let vm = section.optional("vm");
        if in_vm && (section.has("probe") || section.has("serve")) {
            section.refuse(
                "vm",
                "a VM does nothing but tell its host's relay; keep `vm` in a file of its own",
            );
        }
        Some(Self {
            cluster: cluster?,
            log,
            probe,
            serve,
            vm,
        })
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// The least severe level that is logged; `RUST_LOG` wins.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may soon need one.
    Warn,
    /// One line per transition.
    #[default]
    Info,
    /// What a developer asks for.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// As the file writes it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, level)| *level == self)
            .map_or("info", |(name, _)| name)
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people on a terminal, logfmt elsewhere.
    #[default]
    Auto,
    /// `ts=… level=info msg="…" key=value`.
    Logfmt,
    /// One JSON object per line.
    Json,
}

impl FromSection for Log {
    fn from_section(section: &mut Section<'_>) -> Option<Self> {
        Some(Self {
            level: section.or("level", LogLevel::Info),
            format: section.or("format", LogFormat::Auto),
        })
    }
}

impl FromNode for LogLevel {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        word(node, place, findings, Self::WORDS)
    }
}

impl FromNode for LogFormat {
    fn from_node(node: &Node, place: &Place, findings: &mut Findings) -> Option<Self> {
        let words = &[
            ("auto", Self::Auto),
            ("logfmt", Self::Logfmt),
            ("json", Self::Json),
        ];
        word(node, place, findings, words)
    }
}
