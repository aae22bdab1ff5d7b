//! `pnwatch-bench gate`: many questions that wait for the gate to open.
//!
//! `pnwatch serve` runs as it ships, a process of its own on loopback; this process holds the
//! waiting connections and plays two hosts. Measured: its memory before and while they wait, its
//! CPU while nothing changes, and how long after the reports that open the gate the first and the
//! last of them have their answer. An answer that is not open is an error.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::process::look;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// While nothing changes.
const IDLE: Duration = Duration::from_secs(5);
const HOSTS: [&str; 2] = ["host/mini-1", "host/mini-2"];

/// Many questions that wait for the gate
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/pnwatch")]
    pnwatch: PathBuf,
    /// Questions that wait at once
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000))]
    waiting: u16,
    /// Different questions among them
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    different: u16,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Measures and tells.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(measure(args))
}

async fn measure(args: &Args) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (child, at) = serve(args, &dir).await?;
    let id = child.id().context("pnwatch serve ended")?;
    let before = look(id)?;
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..args.waiting {
        // Distinct questions that all open at once.
        let query = format!("all=1&for={}ms&wait=5m", n % args.different);
        let page = at.page.clone();
        waiting.spawn(async move {
            let body = call(&page, &format!("GET /v1/gate?{query}"), ("", "")).await?;
            Ok::<_, anyhow::Error>((body, Instant::now()))
        });
    }
    timeout(PATIENCE, all_wait(&at.metrics, args.waiting)).await??;
    let held = look(id)?;
    sleep(IDLE).await;
    let idle = look(id)?;
    for host in HOSTS {
        report(&at.ingest, host).await?;
    }
    let reported = Instant::now();
    let mut after = Vec::new();
    while let Some(answer) = timeout(PATIENCE, waiting.join_next()).await? {
        let (body, came) = answer??;
        ensure!(body.contains("\"verdict\":\"open\""), "not open: {body}");
        after.push(came.saturating_duration_since(reported));
    }
    after.sort();
    let [first, median, last] = [0, after.len() / 2, after.len() - 1].map(|at| after[at]);
    let cpu = idle.cpu.saturating_sub(held.cpu).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    let grown = idle.resident_kb.saturating_sub(before.resident_kb);
    if args.json {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let all = json!({
            "waiting": args.waiting, "different": args.different,
            "resident_before_kb": before.resident_kb, "resident_waiting_kb": idle.resident_kb,
            "idle_cpu_percent": cpu, "first_ms": ms(first), "median_ms": ms(median),
            "last_ms": ms(last),
        });
        println!("{all}");
        return Ok(());
    }
    println!(
        "{} questions wait, {} different:",
        args.waiting, args.different
    );
    println!(
        "  memory   {} kB before, {grown} kB more while they wait",
        before.resident_kb
    );
    println!("  CPU      {cpu:.1} % of one core while nothing changes");
    println!(
        "  answers  {first:.0?} first, {median:.0?} median, {last:.0?} last after the reports"
    );
    Ok(())
}

struct At {
    ingest: String,
    page: String,
    metrics: String,
}

async fn serve(args: &Args, dir: &tempfile::TempDir) -> anyhow::Result<(Child, At)> {
    let inventory = dir.path().join("inventory.yaml");
    std::fs::write(
        &inventory,
        "pn_cidr: 127.0.0.0/8\nnodes:\n  - { name: node-1, address: 127.0.0.1 }\nvantages:\n  \
         - { vantage: host/mini-1 }\n  - { vantage: host/mini-2 }\ntargets:\n  - { account: acme, \
         tenant: acme, instance: kura-acme-1, node: node-1, address: 127.0.0.1, port: 30815 }\n",
    )?;
    let mut config = format!(
        "cluster: bench\nlog: {{ format: json }}\nserve:\n  inventory: {{ file: {} }}\n  listen: {{ \
         ingest: \"127.0.0.1:0\", page: \"127.0.0.1:0\", metrics: \"127.0.0.1:0\" }}\n  tokens:\n",
        inventory.display()
    );
    for host in HOSTS {
        let file = dir.path().join(host.replace('/', "-"));
        std::fs::write(&file, format!("token-of-{host}"))?;
        writeln!(
            config,
            "    - {{ vantage: {host}, file: {} }}",
            file.display()
        )?;
    }
    let file = dir.path().join("pnwatch.yaml");
    std::fs::write(&file, config)?;
    let mut child = Command::new(&args.pnwatch)
        .args(["serve", "--config"])
        .arg(&file)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", args.pnwatch.display()))?;
    let mut lines = BufReader::new(child.stderr.take().context("no pipe")?).lines();
    while let Some(line) = lines.next_line().await? {
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["message"] == "serving" {
            // Nobody must make it wait for a full pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            let at = |name: &str| {
                line[name]
                    .as_str()
                    .map(ToOwned::to_owned)
                    .context("no address")
            };
            let at = At {
                ingest: at("ingest")?,
                page: at("page")?,
                metrics: at("metrics")?,
            };
            return Ok((child, at));
        }
    }
    bail!("pnwatch serve ended before it served")
}

/// One request on a connection of its own; the whole answer. Header lines end with CRLF.
async fn call(
    address: &str,
    request: &str,
    (headers, body): (&str, &str),
) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
         {headers}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn all_wait(metrics: &str, count: u16) -> anyhow::Result<()> {
    loop {
        let text = call(metrics, "GET /metrics", ("", "")).await?;
        let line = text
            .lines()
            .find(|l| l.starts_with("pnwatch_gate_waiting{"));
        let waiting = line.and_then(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
        if waiting == Some(f64::from(count)) {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The host reaches everything.
async fn report(ingest: &str, host: &str) -> anyhow::Result<()> {
    let path = |subject: &str, layer: &str| {
        json!({ "subject": subject, "layer": layer, "runs": [{
            "outcome": "reached", "count": 10, "first_age_us": 900_000, "last_age_us": 10_000,
            "rtt_us": [300],
        }]})
    };
    let account = "account:acme/kura-acme-1/nodeport";
    let body = json!({
        "version": 1, "cluster": "bench", "vantage": host, "boot_id": "boot-1", "seq": 1,
        "sent_at": "2026-06-22T09:14:30.123Z",
        "paths": [path("node:node-1", "arp"), path(account, "tcp"), path(account, "http"),
                  path("control", "control")],
    });
    let headers =
        format!("Content-Type: application/json\r\nAuthorization: Bearer token-of-{host}\r\n");
    let body = body.to_string();
    let answer = call(ingest, "POST /v1/report", (&headers, &body)).await?;
    ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "the report was refused: {answer}"
    );
    Ok(())
}
