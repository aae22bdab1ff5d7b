//! `pnwatch status`: what the exporter knows, on a terminal of 80 columns.
//!
//! Exit 0 all is well, 1 something critical is open or a target is down, 2 it cannot be told.
//! Two requests per look, one after the other; `--watch` looks again every [`EVERY`].
//!
//! - [`state`]: the API's JSON as far as it is shown; tolerant, since fields are only ever added.
//! - [`render`]: lines of at most 80 columns, problems first.

mod render;
mod state;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use pnwatch_edge::http::{CallError, Client, ClientSettings};
use serde_json::{Value, json};

use self::render::{Paint, render};
use self::state::State;
use super::failure::{Failure, code};
use super::monitor::{base, runtime};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Top left, and nothing below (ECMA-48).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show what the exporter knows
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the exporter's page listener is [default: `$PNWATCH_URL`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// One JSON object (`version` 1) instead of tables
    #[arg(long)]
    json: bool,
    /// Look again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// A file that holds a bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate authorities instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// One look.
struct Look {
    view: Value,
    findings: Value,
}

/// Looks, shows, and says by the exit code how bad it is.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let url = base(args.url.as_deref()).map_err(|why| Failure::new(code::USAGE, why))?;
    let client = Client::new(ClientSettings {
        ca_file: args.ca_file.clone(),
        token_file: args.token_file.clone(),
        timeout: PATIENCE,
        body_limit: 64 << 20,
        ..ClientSettings::default()
    })
    .map_err(|error| Failure::from_error(code::CONFIG, &error))?;
    let runtime = runtime().map_err(|why| Failure::new(code::UNAVAILABLE, why))?;
    runtime.block_on(async {
        if args.watch {
            watch(args, &client, &url).await
        } else {
            let look = look(&client, &url).await?;
            verdict(show(args, &look)?)
        }
    })
}

/// Goes on when the exporter does not answer: that is when one watches.
async fn watch(args: &Args, client: &Client, url: &str) -> Result<(), Failure> {
    loop {
        let looked = look(client, url).await;
        if !args.json && std::io::stdout().is_terminal() {
            say(CLEAR)?;
        }
        match looked {
            Ok(look) => drop(show(args, &look)?),
            Err(failure) => drop(failure.report()),
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn look(client: &Client, url: &str) -> Result<Look, Failure> {
    let get = async |path: &str| {
        let answer = client.get(&format!("{url}{path}")).await.map_err(|error| {
            let code = match error {
                CallError::Secret(_) => code::CONFIG,
                CallError::BadUrl { .. } => code::USAGE,
                _ => code::UNAVAILABLE,
            };
            Failure::from_error(code, &error)
        })?;
        let read: Option<Value> = serde_json::from_slice(&answer.body).ok();
        match (answer.status, read) {
            (200, Some(value)) if value.get("cluster").is_some() => Ok(value),
            (401 | 403, _) => Err(Failure::new(
                code::CONFIG,
                format!(
                    "{url}{path} refuses us (HTTP {}); look at --token-file",
                    answer.status
                ),
            )),
            (500.., _) => Err(Failure::new(
                code::UNAVAILABLE,
                format!(
                    "{url}{path}: HTTP {}: {}",
                    answer.status,
                    answer.first_line()
                ),
            )),
            (status, _) => Err(Failure::new(
                code::CONFIG,
                format!(
                    "{url}{path} is not pnwatch's API (HTTP {status}); --url must name the page \
                     listener of `pnwatch serve`"
                ),
            )),
        }
    };
    Ok(Look {
        view: get("/v1/view").await?,
        findings: get("/v1/findings").await?,
    })
}

/// Prints; gives the exit code.
fn show(args: &Args, look: &Look) -> Result<u8, Failure> {
    let state = State::read(&look.view, &look.findings);
    let code = state.worst().exit_code();
    if args.json {
        let all = json!({
            "version": 1,
            "exit_code": code,
            "view": look.view,
            "findings": look.findings,
        });
        say(&format!("{all}\n"))?;
    } else {
        let colored = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        say(&render(&state, Paint { colored }))?;
    }
    Ok(code)
}

fn verdict(code: u8) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        // The tables have said why.
        code => Err(Failure::of_lines(code, std::iter::empty())),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(code::UNAVAILABLE, format!("cannot write: {error}")))
}
