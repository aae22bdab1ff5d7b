//! `pnwatch-bench once`: what the check before a build costs a job.
//!
//! Whole processes, from start to exit, beside a bare connect of this process to the same
//! stand-in; medians, since a busy machine makes some of any of them late. The exit code and the
//! word of every run are checked: a run that did something else is no measurement.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pnwatch_standin::{Fault, Standin, StandinConfig};
use serde_json::json;

/// What a job waits for at most.
const BUDGET: Duration = Duration::from_millis(500);
/// When the accept queue is drained: after the first SYN, before the second attempt at 150 ms.
const LOST: Duration = Duration::from_millis(75);

/// What `pnwatch once` costs a job, beside a bare connect
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/pnwatch")]
    pnwatch: PathBuf,
    /// Runs of each kind
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Measures and tells.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let standin = runtime.block_on(Standin::start(StandinConfig::loopback("acme")))?;
    let fault = |fault| runtime.block_on(standin.set_fault(fault));
    let at = standin.address();
    let url = format!("http://{at}");

    let bare = median(args, || connect(at))?;
    let healthy = median(args, || once(args, Some(&url), 0, "reachable: "))?;
    fault(Fault::StopListening);
    let refused = median(args, || once(args, Some(&url), 1, "refused\n"))?;
    fault(Fault::AcceptQueueFull);
    let black_hole = median(args, || once(args, Some(&url), 1, "no_answer\n"))?;
    let unset = median(args, || once(args, None, 2, ""))?;
    let lost = median(args, || {
        fault(Fault::AcceptQueueFull);
        std::thread::scope(|scope| {
            let run = scope.spawn(|| once(args, Some(&url), 0, "reachable: "));
            std::thread::sleep(LOST);
            fault(Fault::None);
            run.join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the run panicked")))
        })
    })?;

    let over = healthy.saturating_sub(bare);
    let late = black_hole.saturating_sub(BUDGET);
    if args.json {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let all = json!({
            "runs": args.runs, "budget_ms": ms(BUDGET), "bare_connect_ms": ms(bare),
            "healthy_ms": ms(healthy), "refused_ms": ms(refused), "black_hole_ms": ms(black_hole),
            "unset_ms": ms(unset), "one_lost_syn_ms": ms(lost),
        });
        println!("{all}");
        return Ok(());
    }
    println!("pnwatch once, medians of {} whole processes:", args.runs);
    println!("  healthy       {healthy:>10.2?}  a bare connect ({bare:.2?}) and {over:.2?}");
    println!("  refused       {refused:>10.2?}");
    println!("  black hole    {black_hole:>10.2?}  the budget ({BUDGET:?}) and {late:.2?}");
    println!("  one lost SYN  {lost:>10.2?}  reachable all the same");
    println!("  no endpoint   {unset:>10.2?}  exit 2");
    Ok(())
}

fn connect(at: SocketAddr) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let stream = TcpStream::connect(at)?;
    let took = started.elapsed();
    drop(stream);
    Ok(took)
}

fn once(args: &Args, url: Option<&str>, code: i32, word: &str) -> anyhow::Result<Duration> {
    let mut command = Command::new(&args.pnwatch);
    command.arg("once").args(url);
    for variable in ["TUIST_CACHE_ENDPOINT", "GITHUB_ENV", "RUST_LOG"] {
        command.env_remove(variable);
    }
    let started = Instant::now();
    let output = command.output().with_context(|| {
        format!(
            "cannot start {}; build it with `cargo build --release`, or name it by --pnwatch",
            args.pnwatch.display()
        )
    })?;
    let took = started.elapsed();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.code() == Some(code) && out.starts_with(word),
        "{} instead of exit {code} and {word:?}: {out}{err}",
        output.status
    );
    ensure!(
        code == 0 || !err.trim().is_empty(),
        "it ended without a sentence"
    );
    Ok(took)
}

fn median(
    args: &Args,
    mut measure: impl FnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<Duration> {
    let mut all = (0..args.runs)
        .map(|_| measure())
        .collect::<anyhow::Result<Vec<_>>>()?;
    all.sort();
    Ok(all[all.len() / 2])
}
