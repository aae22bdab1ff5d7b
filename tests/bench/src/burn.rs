//! `pnwatch-bench burn`: from the death of an account to a firing burn-rate alert, by a real
//! Prometheus with the shipped rules.
//!
//! The ledger's own book counts the events of three hosts: six clean hours, then every check of one
//! account fails and no finding explains it. It is stated every five seconds, as the exporter does,
//! and served as `pnwatch_slo_burn_rate`; Prometheus scrapes and evaluates at the asked interval.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pnwatch_core::burn::window_label;
use pnwatch_core::metric::SLO_BURN_RATE;
use pnwatch_core::name::{Account, Vantage, VantageKind};
use pnwatch_core::rules::{Form, Settings, emit, groups};
use pnwatch_core::slo::{Bad, Book, Event, Policy, SeriesKey, burn_rate};
use pnwatch_core::time::{Now, Tick, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the exporter states its budgets every.
const STATEMENT: Duration = Duration::from_secs(5);
/// Clean time before.
const CLEAN_S: u64 = 6 * 60 * 60;
/// Checks in a second: three hosts.
const EVENTS: u32 = 3;
/// Longest wait for the alert.
const DEADLINE: Duration = Duration::from_mins(6);

/// From an account's death to a firing burn-rate alert
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Between two scrapes, and between two evaluations
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Fail when it takes longer than this
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    within: Option<Duration>,
}

/// The book and its clock.
struct Ledger {
    book: Book,
    began: Instant,
    counted: u64,
    dead_from: Option<u64>,
    stated: String,
}

fn key(account: &str) -> anyhow::Result<SeriesKey> {
    Ok(SeriesKey::reachability(
        Account::new(account)?,
        VantageKind::Host,
    ))
}

impl Ledger {
    fn new() -> Self {
        Self {
            book: Book::new(now(0)),
            began: Instant::now(),
            counted: 0,
            dead_from: None,
            stated: String::new(),
        }
    }

    fn second(&self) -> u64 {
        CLEAN_S + self.began.elapsed().as_secs()
    }

    /// Counts every second up to now.
    fn count(&mut self) -> anyhow::Result<()> {
        let host: Vantage = "host/mini-1".parse()?;
        for second in self.counted..self.second() {
            let dead = self.dead_from.is_some_and(|from| second >= from);
            for (account, dies) in [("acme", true), ("globex", false)] {
                if dead && dies {
                    let key = key(account)?;
                    self.book.record_bad(&key, &host, EVENTS, now(second));
                } else {
                    let key = key(account)?;
                    self.book.record(&key, Event::Good, EVENTS, now(second));
                }
            }
        }
        self.counted = self.second();
        Ok(())
    }

    fn state(&mut self) -> anyhow::Result<()> {
        self.count()?;
        let policy = Policy::default();
        let mut text = String::new();
        for account in ["acme", "globex"] {
            for window in policy.table.windows() {
                let which = (window, Bad::Unexplained);
                let rate = burn_rate(
                    &self.book,
                    &policy,
                    &key(account)?,
                    which,
                    now(self.second()),
                );
                let (name, window) = (SLO_BURN_RATE.name, window_label(window));
                let rate = rate.unwrap_or_default();
                writeln!(
                    text,
                    "{name}{{cluster=\"bench\",account=\"{account}\",vantage_kind=\"host\",slo=\"reachability\",window=\"{window}\"}} {rate}"
                )?;
            }
        }
        self.stated = text;
        Ok(())
    }
}

fn now(second: u64) -> Now {
    Now {
        tick: Tick::from_millis(second.saturating_mul(1000)),
        wall: Timestamp::from_unix_seconds(1_780_000_000 + second),
    }
}

/// Ends with its owner.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures and tells.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let took = runtime.block_on(measure(args.interval))?;
    let answer = json!({
        "interval_s": args.interval.as_secs_f64(),
        "fired_after_s": (took.as_secs_f64() * 10.0).round() / 10.0,
    });
    println!("{answer}");
    if let Some(within) = args.within {
        ensure!(took <= within, "it took {took:?}, more than {within:?}");
    }
    Ok(())
}

async fn measure(interval: Duration) -> anyhow::Result<Duration> {
    let mut ledger = Ledger::new();
    ledger.state()?;
    let ledger = Arc::new(Mutex::new(ledger));
    let exposition = TcpListener::bind("127.0.0.1:0").await?;
    let target = exposition.local_addr()?.to_string();
    tokio::spawn(serve(exposition, Arc::clone(&ledger)));
    let dir = tempfile::tempdir()?;
    // Free now, and nothing else here asks for one before Prometheus has it.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?;
    let at = free.local_addr()?.to_string();
    drop(free);
    let _prometheus = start(dir.path(), &at, &target, interval)?;
    until(
        "the account's burn rate in Prometheus",
        DEADLINE,
        async || {
            state(&ledger)?;
            let said = get(&at, "/api/v1/query?query=count(pnwatch_slo_burn_rate)").await;
            let known = said.is_ok_and(|said| !said["data"]["result"][0].is_null());
            Ok(known)
        },
    )
    .await?;
    // One more scrape and evaluation of a healthy account.
    let quiet = Instant::now();
    while quiet.elapsed() < interval * 2 {
        state(&ledger)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ensure!(!fires(&at).await?, "it fires before anything is wrong");
    let died = Instant::now();
    {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.count()?;
        ledger.dead_from = Some(ledger.second());
    }
    let mut stated = Instant::now();
    until("PNBudgetBurnFast of acme", DEADLINE, async || {
        if stated.elapsed() >= STATEMENT {
            state(&ledger)?;
            stated = Instant::now();
        }
        fires(&at).await
    })
    .await?;
    Ok(died.elapsed())
}

fn state(ledger: &Mutex<Ledger>) -> anyhow::Result<()> {
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.state()
}

/// Whether the account that dies, and no other, has a firing alert.
async fn fires(at: &str) -> anyhow::Result<bool> {
    let said = get(at, "/api/v1/alerts").await?;
    let alerts = said["data"]["alerts"].as_array().cloned();
    let firing = alerts.unwrap_or_default().into_iter().filter(|alert| {
        alert["state"] == "firing" && alert["labels"]["alertname"] == "PNBudgetBurnFast"
    });
    let accounts: Vec<Value> = firing.map(|a| a["labels"]["account"].clone()).collect();
    ensure!(
        accounts.iter().all(|account| account == "acme"),
        "it fires for {accounts:?}"
    );
    Ok(!accounts.is_empty())
}

fn start(dir: &Path, at: &str, target: &str, interval: Duration) -> anyhow::Result<Prometheus> {
    let every = format!("{}s", interval.as_secs());
    let rules = emit::prometheus(&groups(&Settings::default(), Form::Recorded));
    std::fs::write(dir.join("rules.yaml"), rules)?;
    let config = format!(
        "global: {{ scrape_interval: {every}, evaluation_interval: {every}, scrape_timeout: 5s }}\n\
         rule_files: [rules.yaml]\nscrape_configs:\n  - job_name: pnwatch\n    static_configs: [{{ targets: ['{target}'] }}]\n"
    );
    std::fs::write(dir.join("prometheus.yml"), config)?;
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={at}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start prometheus; install: apt-get install -y --no-install-recommends prometheus")?;
    Ok(Prometheus(child))
}

async fn until(
    what: &str,
    patience: Duration,
    mut holds: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds().await? {
        ensure!(started.elapsed() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// HTTP/1.0, so that the body ends with the connection (RFC 1945 §7.2.2).
async fn get(at: &str, path: &str) -> anyhow::Result<Value> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    Ok(serde_json::from_str(body)?)
}

async fn serve(listener: TcpListener, ledger: Arc<Mutex<Ledger>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let body = {
            let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.stated.clone()
        };
        let mut request = [0; 4096];
        // A scrape's request comes in one piece; what it asks is always the same.
        if stream.read(&mut request).await.unwrap_or(0) == 0 {
            continue;
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream
            .write_all(&[head.as_bytes(), body.as_bytes()].concat())
            .await;
    }
}
