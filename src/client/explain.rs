//! `pnwatch explain`: why something is judged as it is, in 80 columns or as JSON.
//!
//! The exporter knows which rows were asked; this asks it and shows the answer. Exit 0 = there
//! was an answer, whatever it says; 64 nothing of that form, 69 the exporter does not answer,
//! 78 it refuses, or does not know the name.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use pnwatch_core::diagnosis::explain::{Explanation, render};
use pnwatch_edge::http::{CallError, Client, ClientSettings};
use serde_json::Value;

use super::failure::{Failure, code};
use super::monitor::{base, clean, encode, runtime};

/// How long the request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of the answer.
const MOST: usize = 4 << 20;

/// Show why a node, host, account or path is judged as it is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// node/NAME, host/NAME, account/NAME, network, monitor, a bare NAME, or a path: VANTAGE:node/NAME, VANTAGE:account/NAME
    #[arg(value_name = "PATH|ACCOUNT|NODE")]
    about: String,
    /// Where the exporter's page listener is [default: `$PNWATCH_URL`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The whole answer as one JSON object
    #[arg(long)]
    json: bool,
    /// A file that holds a bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate authorities instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Asks and shows.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let url = base(args.url.as_deref()).map_err(|why| Failure::new(code::USAGE, why))?;
    let client = Client::new(ClientSettings {
        ca_file: args.ca_file.clone(),
        token_file: args.token_file.clone(),
        timeout: PATIENCE,
        body_limit: MOST,
        ..ClientSettings::default()
    })
    .map_err(|error| Failure::from_error(code::CONFIG, &error))?;
    let runtime = runtime().map_err(|why| Failure::new(code::UNAVAILABLE, why))?;
    let value = runtime.block_on(ask(&client, &url, &args.about))?;
    if args.json {
        return say(&format!("{value}\n"));
    }
    let explanation: Explanation = serde_json::from_value(value).map_err(|error| {
        Failure::new(
            code::CONFIG,
            format!("{url} answers with what this version cannot read ({error}); update pnwatch, or use --json"),
        )
    })?;
    let text = render(&explanation);
    let lines: Vec<String> = text.lines().map(clean).collect();
    say(&format!("{}\n", lines.join("\n").trim_end()))
}

async fn ask(client: &Client, url: &str, about: &str) -> Result<Value, Failure> {
    let path = format!("{url}/v1/explain?about={}", encode(about));
    let answer = client.get(&path).await.map_err(|error| {
        let code = match error {
            CallError::Secret(_) => code::CONFIG,
            CallError::BadUrl { .. } => code::USAGE,
            _ => code::UNAVAILABLE,
        };
        Failure::from_error(code, &error)
    })?;
    let read: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let message = |value: &Value| {
        let said = value.pointer("/error/message").and_then(Value::as_str);
        said.map(|text| clean(&text.chars().take(400).collect::<String>()))
    };
    match (answer.status, read) {
        (200, Some(value)) if value.get("verdict").is_some() => Ok(value),
        (400, Some(value)) if message(&value).is_some() => Err(Failure::new(
            code::USAGE,
            message(&value).unwrap_or_default(),
        )),
        (404, Some(value)) if value.pointer("/error/code") == Some(&Value::from("unknown")) => Err(
            Failure::new(code::CONFIG, message(&value).unwrap_or_default()),
        ),
        (401 | 403, _) => Err(Failure::new(
            code::CONFIG,
            format!(
                "{url} refuses us (HTTP {}); look at --token-file",
                answer.status
            ),
        )),
        (500.., _) => Err(Failure::new(
            code::UNAVAILABLE,
            format!("{url}: HTTP {}: {}", answer.status, answer.first_line()),
        )),
        (status, _) => Err(Failure::new(
            code::CONFIG,
            format!(
                "{url} is not pnwatch's API of this version (HTTP {status}); --url must name the \
                 page listener of `pnwatch serve`"
            ),
        )),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(code::UNAVAILABLE, format!("cannot write: {error}")))
}
