//! `pnwatch once`: may this job use its cache? Exit 0 reachable, 1 not, 2 could not measure.
//!
//! What a job's hook does on 2 is the hook's choice; the written file then changes nothing, since
//! nothing is proven.

use std::io::Write as _;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pnwatch_core::outcome::{Blind, Outcome};
use pnwatch_prober::handed::{Handed, VERSION, tell as tell_relay};
use pnwatch_prober::once::{Answer, Endpoint, Question, check};

use super::failure::{Failure, code};

/// The variable that hands a job its endpoint.
const VARIABLE: &str = "TUIST_CACHE_ENDPOINT";
/// Could not measure.
const UNMEASURED: u8 = 2;
/// Shortest and longest budget: below, not even the second attempt fits; above, a build waits.
const BUDGETS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(30)];

/// Check once, within a budget, whether this job's cache answers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The cache's address, like `http://192.0.2.7:30815` [default: `$TUIST_CACHE_ENDPOINT`]
    endpoint: Option<String>,
    /// How long it may take in all
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = budget)]
    budget: Duration,
    /// The tenant that must answer
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Write what takes the endpoint away if it is not reachable: a script to source, or, if FILE
    /// is `$GITHUB_ENV`, a line for it
    #[arg(long, value_name = "FILE")]
    fallback_env: Option<PathBuf>,
    /// Hand out this URL instead of none
    #[arg(long, value_name = "URL", requires = "fallback_env", value_parser = plain)]
    fallback_url: Option<String>,
    /// The variable that the file sets or unsets
    #[arg(long, value_name = "NAME", default_value = VARIABLE, value_parser = variable)]
    variable: String,
    /// The host's relay, which is told what this job was handed and what came of it
    /// [default: `$PNWATCH_RELAY`; without it nobody is told]
    #[arg(long, value_name = "ADDRESS:PORT")]
    relay: Option<SocketAddr>,
}

/// The variable that names the host's relay.
const RELAY: &str = "PNWATCH_RELAY";

fn budget(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (BUDGETS[0]..=BUDGETS[1]).contains(&read) {
        Ok(read)
    } else {
        Err("write a duration from 10ms to 30s".to_owned())
    }
}

/// A URL that needs no quoting anywhere.
fn plain(text: &str) -> Result<String, String> {
    let endpoint: Result<Endpoint, _> = text.parse();
    endpoint.map_err(|error| error.to_string())?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b":/.-_[]?=&%~".contains(&b);
    if text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("leave out blanks, quotes and shell characters".to_owned())
    }
}

fn variable(text: &str) -> Result<String, String> {
    let head = text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if head && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(text.to_owned())
    } else {
        Err("write a variable's name: letters, digits and _".to_owned())
    }
}

/// Asks, tells, writes.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // An old file must not take the endpoint away from this job.
    write(args, false)?;
    let relay = relay(args);
    let endpoint = read(args).inspect_err(|_| report(relay, None, Outcome::NotApplicable))?;
    let question = Question {
        endpoint,
        budget: args.budget,
        tenant: args.tenant.clone(),
    };
    let answer = ask(&question)?;
    write(args, answer.outcome.cause().is_some())?;
    report(relay, question.endpoint.address(), answer.outcome);
    tell(&question, &answer)
}

fn read(args: &Args) -> Result<Endpoint, Failure> {
    if let Some(given) = &args.endpoint {
        return given
            .parse()
            .map_err(|error| Failure::from_error(code::USAGE, &error));
    }
    let unset = || {
        Failure::new(
            UNMEASURED,
            format!(
                "could not measure: ${VARIABLE} is unset or empty, so this job was handed no \
                 cache endpoint; nothing was checked (give one as an argument, or see the runbook \
                 of PNEndpointNotDispatched)"
            ),
        )
    };
    let handed = std::env::var(VARIABLE).map_err(|_| unset())?;
    if handed.trim().is_empty() {
        return Err(unset());
    }
    // What the dispatcher handed out is no fault of this command line.
    handed.parse().map_err(|error| {
        Failure::new(
            UNMEASURED,
            format!("could not measure: ${VARIABLE}: {error}"),
        )
    })
}

/// Who is told. What is set for the whole VM is no fault of this job: it is said and left.
fn relay(args: &Args) -> Option<SocketAddr> {
    if args.relay.is_some() {
        return args.relay;
    }
    let set = std::env::var(RELAY).ok().filter(|text| !text.is_empty())?;
    let read = set.parse();
    if read.is_err() {
        eprintln!("pnwatch once: ${RELAY} is no ADDRESS:PORT; nobody is told of this check");
    }
    read.ok()
}

/// Tells the relay, if there is one. Nothing here can fail the job or hold it up.
fn report(relay: Option<SocketAddr>, at: Option<SocketAddrV4>, outcome: Outcome) {
    let Some(relay) = relay else {
        return;
    };
    let handed = Handed {
        version: VERSION,
        at,
        outcome,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let told = runtime.and_then(|runtime| runtime.block_on(tell_relay(relay, &handed)));
    if let Err(error) = told {
        eprintln!("pnwatch once: the relay {relay} was not told: {error}; nothing depends on it");
    }
}

fn ask(question: &Question) -> Result<Answer, Failure> {
    let cannot = |why: String| Failure::new(UNMEASURED, format!("could not measure: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot(format!("the async runtime did not start: {error}")))?;
    let answer = runtime.block_on(check(question));
    // A name that still resolves must not keep the job.
    runtime.shutdown_background();
    answer.map_err(|error| cannot(error.to_string()))
}

fn tell(question: &Question, answer: &Answer) -> Result<(), Failure> {
    let endpoint = &question.endpoint;
    let millis = answer.after.as_secs_f64() * 1e3;
    match answer.outcome {
        Outcome::Reached => say(&format!(
            "reachable: {endpoint} answered in {millis:.1} ms\n"
        )),
        Outcome::Unreached(cause) => {
            let detail = if answer.detail.is_empty() {
                String::new()
            } else {
                format!(": {}", answer.detail)
            };
            say(&format!("{cause}\n"))?;
            Err(Failure::new(
                1,
                format!(
                    "{endpoint} is not reachable: {cause} after {millis:.0} ms{detail}; the job \
                     should go on without the cache"
                ),
            ))
        }
        Outcome::Unmeasured(blind) => Err(unmeasured(endpoint, blind)),
        Outcome::NotApplicable => Err(unmeasured(endpoint, Blind::Unrecognised)),
    }
}

fn unmeasured(endpoint: &Endpoint, blind: Blind) -> Failure {
    Failure::new(
        UNMEASURED,
        format!(
            "could not measure {endpoint}: {blind}; this machine's fault, it says nothing about \
             the cache"
        ),
    )
}

fn say(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Who closed the pipe reads the exit code.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            code::UNAVAILABLE,
            format!("cannot write: {error}"),
        )),
        _ => Ok(()),
    }
}

fn write(args: &Args, away: bool) -> Result<(), Failure> {
    let Some(file) = &args.fallback_env else {
        return Ok(());
    };
    let shared = std::env::var_os("GITHUB_ENV").is_some_and(|env| Path::new(&env) == file);
    let url = args.fallback_url.as_deref();
    let written = if shared {
        if away {
            append(
                file,
                &format!("{}={}\n", args.variable, url.unwrap_or_default()),
            )
        } else {
            Ok(())
        }
    } else {
        replace(file, &script(&args.variable, away, url))
    };
    written.map_err(|error| {
        Failure::new(
            UNMEASURED,
            format!(
                "could not write {}: {error}; name a file that this user may write",
                file.display()
            ),
        )
    })
}

/// A POSIX script that takes the endpoint away, or does nothing.
fn script(variable: &str, away: bool, url: Option<&str>) -> String {
    match (away, url) {
        (false, _) => "# pnwatch once: the endpoint stays as it is\n".to_owned(),
        (true, None) => format!("unset {variable}\n"),
        (true, Some(url)) => format!("export {variable}='{url}'\n"),
    }
}

fn append(file: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?
        .write_all(text.as_bytes())
}

/// Whole or not at all: another process may read it meanwhile.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let next = file.with_file_name(name);
    std::fs::write(&next, text)?;
    std::fs::rename(&next, file).inspect_err(|_| {
        let _ = std::fs::remove_file(&next);
    })
}
