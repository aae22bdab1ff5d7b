//! Logging: logfmt or JSON off a terminal, words for people on one, always on stderr.
//!
//! Owns the process's one subscriber. [`Throttle`] keeps a source from flooding the log.

mod logfmt;
mod throttle;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

pub use self::logfmt::Logfmt;
pub use self::throttle::Throttle;
use crate::config::{Log, LogFormat};

/// Starts logging. `RUST_LOG` wins over the configured level. A second call changes nothing.
pub fn init(log: &Log) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log.level.as_str()));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal);
    // The only error is that a subscriber is there already.
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init().is_ok(),
        LogFormat::Auto if terminal => builder
            .with_target(false)
            .with_timer(SystemTime)
            .compact()
            .try_init()
            .is_ok(),
        LogFormat::Auto | LogFormat::Logfmt => builder.event_format(Logfmt).try_init().is_ok(),
    };
}
