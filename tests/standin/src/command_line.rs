//! The stand-in as a program: `--listen ADDR [--control ADDR] [--tenant T] [--region R]
//! [--metrics-bytes N] [--fault KIND]`. Prints `listening on ADDR` and runs until it is ended.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::{Fault, Standin, StandinConfig, StartError};

/// Why the program could not run.
#[derive(Debug, thiserror::Error)]
pub enum CommandLineError {
    /// A flag that does not exist, lacks its value, or has one that cannot be read.
    #[error(
        "{flag}: {problem}; usage: --listen ADDR [--control ADDR] [--tenant T] [--region R] [--metrics-bytes N] [--fault KIND]"
    )]
    Usage {
        /// The flag.
        flag: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The stand-in did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The runtime did not start.
    #[error("the async runtime did not start")]
    Runtime(#[source] std::io::Error),
}

/// Reads `arguments` (without the program's name).
///
/// # Errors
/// [`CommandLineError::Usage`] names the flag.
pub fn parse(
    arguments: impl IntoIterator<Item = String>,
) -> Result<(StandinConfig, Fault), CommandLineError> {
    let mut config = StandinConfig::loopback("tuist");
    let mut fault = Fault::None;
    let mut arguments = arguments.into_iter();
    while let Some(flag) = arguments.next() {
        let text = arguments.next();
        match flag.as_str() {
            "--listen" => config.listen = value(&flag, text)?,
            "--control" => config.control = Some(value::<SocketAddr>(&flag, text)?),
            "--tenant" => config.tenant = value(&flag, text)?,
            "--region" => config.region = value(&flag, text)?,
            "--metrics-bytes" => config.metrics_bytes = value(&flag, text)?,
            "--fault" => fault = value(&flag, text)?,
            _ => return Err(usage(&flag, "no such flag")),
        }
    }
    Ok((config, fault))
}

/// Runs a stand-in until the process is ended.
///
/// # Errors
/// See [`CommandLineError`].
pub fn run(arguments: impl IntoIterator<Item = String>) -> Result<(), CommandLineError> {
    let (config, fault) = parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CommandLineError::Runtime)?;
    runtime.block_on(async {
        let standin = Standin::start(config).await?;
        standin.set_fault(fault).await;
        println!("listening on {}", standin.address());
        std::future::pending().await
    })
}

fn value<T: FromStr<Err: Display>>(
    flag: &str,
    text: Option<String>,
) -> Result<T, CommandLineError> {
    let text = text.ok_or_else(|| usage(flag, "its value is missing"))?;
    text.parse()
        .map_err(|error| usage(flag, &format!("{text:?}: {error}")))
}

fn usage(flag: &str, problem: &str) -> CommandLineError {
    CommandLineError::Usage {
        flag: flag.to_owned(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(StandinConfig, Fault), CommandLineError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read() {
        let (config, fault) =
            parsed("--listen 0.0.0.0:4000 --tenant acme --metrics-bytes 30000 --fault slow=5")
                .unwrap();
        assert_eq!(config.listen.port(), 4000);
        assert_eq!(config.tenant, "acme");
        assert_eq!(config.metrics_bytes, 30_000);
        assert_eq!(fault, Fault::Slow { ms: 5 });
    }

    #[test]
    fn a_wrong_flag_is_named() {
        for (line, named) in [
            ("--listen", "--listen: its value is missing"),
            (
                "--listen here",
                "--listen: \"here\": invalid socket address",
            ),
            ("--fault hung", "--fault: \"hung\": unknown fault"),
            ("--port 1", "--port: no such flag"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
