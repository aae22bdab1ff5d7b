//! What is measured beyond one size: growth, what leaves, floods.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::site::{self, Site, Size};
use super::vantages::{Checked, Fleet};
use super::{Args, steady, table, window};
use crate::process::look;

/// A thing that is gone leaves `/metrics` within this.
const LEAVES_WITHIN: Duration = Duration::from_mins(1);
/// How many vantages come and go, and in how many waves.
const PASSING: usize = 1000;
const WAVES: usize = 5;
/// How long a wave stays.
const STAYS: Duration = Duration::from_secs(8);
/// How long a flood may take until it is told in full.
const FLOOD: Duration = Duration::from_mins(3);
/// How long a page may take while it lasts.
const USABLE: Duration = Duration::from_secs(5);

/// Cost against vantages, against accounts, and against findings.
pub(super) async fn growth(args: &Args) -> anyhow::Result<Value> {
    let mut points = Vec::new();
    for (vantages, accounts) in [
        (25, 100),
        (50, 100),
        (100, 100),
        (200, 100),
        (300, 100),
        (200, 25),
        (200, 50),
        (200, 200),
    ] {
        points.push(steady(args, Size::new(vantages, accounts)).await?);
    }
    table(&points);
    let mut floods = Vec::new();
    for open in [0, 1000, 2000, 5000, 10_000] {
        floods.push(findings(args, 20_000, open).await?);
    }
    Ok(json!({ "sizes": points, "findings": floods }))
}

fn names(text: &str, what: &str) -> bool {
    text.contains(&format!("\"{what}\""))
}

/// An account leaves the inventory, a vantage leaves inventory and network, and 1,000 vantages
/// that nobody expects come and go.
pub(super) async fn leave(args: &Args) -> anyhow::Result<Value> {
    let size = Size {
        vantages: 20,
        passing: PASSING,
        accounts: 100,
    };
    eprintln!("leaving: starting …");
    let site = Site::start(&args.pnwatch, size, None).await?;
    let checked = Arc::new(Checked::of(&site));
    let start = |names: &[String]| Fleet::start(&site, names, &checked);
    let all: Vec<String> = (0..size.vantages).map(site::vantage).collect();
    let (staying, going) = all.split_at(size.vantages - 1);
    let (stays, goes) = (start(staying)?, start(going)?);
    let (account, vantage) = (
        format!("account-{:05}", size.accounts - 1),
        going[0].clone(),
    );
    let seen = |text: &str| names(text, &account) && names(text, &vantage);
    site.until("first reports", LEAVES_WITHIN, seen).await?;

    let smaller = Size {
        accounts: size.accounts - 1,
        vantages: size.vantages - 1,
        ..size
    };
    site.rewrite(smaller)?;
    goes.vanish().await;
    let gone = |text: &str| !names(text, &account);
    let account_left = site
        .until("the account leaves", LEAVES_WITHIN, gone)
        .await?;
    let gone = |text: &str| !names(text, &vantage);
    let vantage_left = account_left
        + site
            .until("the vantage leaves", LEAVES_WITHIN, gone)
            .await?;
    ensure!(
        vantage_left <= LEAVES_WITHIN,
        "the vantage took {vantage_left:?}"
    );
    eprintln!("  account left after {account_left:.1?}, vantage after {vantage_left:.1?}");

    let mut waves = Vec::new();
    let before = series(&site).await?;
    for wave in 0..WAVES {
        let each = PASSING / WAVES;
        let come: Vec<String> = (wave * each..(wave + 1) * each)
            .map(site::passing)
            .collect();
        let fleet = start(&come)?;
        sleep(STAYS).await;
        let there = series(&site).await?;
        ensure!(
            fleet.shared.accepted.load(Ordering::Relaxed) >= come.len() as u64,
            "wave {wave} did not report"
        );
        fleet.vanish().await;
        let gone = |text: &str| !text.contains("\"vm/mini-");
        let left = site.until("the wave leaves", LEAVES_WITHIN, gone).await?;
        let seen = look(site.id()?)?;
        let told = json!({
            "vantages": come.len(), "series_with": there, "series_after": series(&site).await?,
            "left_after_s": left.as_secs_f64(), "resident_mib": seen.resident_kb as f64 / 1024.0,
        });
        eprintln!("  wave {wave}: {told}");
        waves.push(told);
    }
    let after = series(&site).await?;
    stays.vanish().await;
    Ok(json!({
        "account_left_s": account_left.as_secs_f64(),
        "vantage_left_s": vantage_left.as_secs_f64(),
        "series_before": before, "series_after": after, "waves": waves,
    }))
}

async fn series(site: &Site) -> anyhow::Result<usize> {
    let (text, _) = site.scrape().await?;
    Ok(text.lines().filter(|l| !l.starts_with('#')).count())
}

/// 50,000 targets in a plan, and two vantages that check them all.
pub(super) async fn targets(args: &Args) -> anyhow::Result<Value> {
    let size = Size::new(2, 50_000);
    eprintln!("{} targets in a plan: starting …", size.accounts);
    let began = Instant::now();
    let site = Site::start(&args.pnwatch, size, None).await?;
    let served = began.elapsed();
    let checked = Arc::new(Checked::of(&site));
    let all: Vec<String> = (0..size.vantages).map(site::vantage).collect();
    let fleet = Fleet::start(&site, &all, &checked)?;
    let up = |text: &str| {
        let states = text
            .lines()
            .filter(|l| l.starts_with("pnwatch_target_state{"));
        states.filter(|l| l.ends_with(" 1")).count() == size.accounts
    };
    let all_up = site.until("all targets up", FLOOD, up).await?;
    ensure!(
        fleet.shared.plans.load(Ordering::Relaxed) >= 2,
        "a plan did not arrive"
    );
    let mut told = window(args, &site, &fleet).await?.told();
    told["targets"] = size.accounts.into();
    told["served_after_s"] = served.as_secs_f64().into();
    told["all_up_after_s"] = all_up.as_secs_f64().into();
    told["reports_refused"] = fleet.shared.refused.load(Ordering::Relaxed).into();
    told["pages"] = usable(&site).await?;
    fleet.vanish().await;
    eprintln!("  {told}");
    Ok(told)
}

/// How long the page and the API take.
async fn usable(site: &Site) -> anyhow::Result<Value> {
    let mut told = serde_json::Map::new();
    for path in ["/", "/v1/view", "/v1/findings", "/v1/gate?all=1"] {
        let (text, took) = site.read(path).await?;
        ensure!(took <= USABLE, "{path} took {took:?}");
        told.insert(
            path.to_owned(),
            json!({ "ms": took.as_secs_f64() * 1e3, "bytes": text.len() }),
        );
    }
    Ok(Value::Object(told))
}

/// `open` accounts fail at once, recover at once; each is to be one finding, pushed once.
pub(super) async fn findings(args: &Args, accounts: usize, open: usize) -> anyhow::Result<Value> {
    let size = Size::new(2, accounts);
    eprintln!("{open} findings of {accounts} accounts: starting …");
    let alertmanager = Alertmanager::start().await?;
    let site = Site::start(&args.pnwatch, size, Some(&alertmanager.url)).await?;
    let checked = Arc::new(Checked::of(&site));
    let all: Vec<String> = (0..size.vantages).map(site::vantage).collect();
    let fleet = Fleet::start(&site, &all, &checked)?;
    let counts = |wanted: usize| {
        move |text: &str| {
            let active = text.lines().filter(|l| {
                l.starts_with("pnwatch_finding_active{") && l.contains("fault=\"pod_dead\"")
            });
            active.count() == wanted
        }
    };
    let states = |text: &str| text.contains("pnwatch_target_state{");
    site.until("first reports", FLOOD, states).await?;
    sleep(Duration::from_secs(10)).await;
    fleet.shared.failing.store(open, Ordering::Relaxed);
    let opened = site.until("all findings open", FLOOD, counts(open)).await?;
    let pushed = alertmanager.until(open as u64).await?;
    let mut told = window(args, &site, &fleet).await?.told();
    told["pages"] = usable(&site).await?;
    fleet.shared.failing.store(0, Ordering::Relaxed);
    let closed = site.until("all findings closed", FLOOD, counts(0)).await?;
    told["vantages"] = size.vantages.into();
    told["accounts"] = accounts.into();
    told["open"] = open.into();
    told["opened_after_s"] = opened.as_secs_f64().into();
    told["pushed_after_s"] = (opened + pushed).as_secs_f64().into();
    told["closed_after_s"] = closed.as_secs_f64().into();
    told["reports_refused"] = fleet.shared.refused.load(Ordering::Relaxed).into();
    fleet.vanish().await;
    eprintln!("  {told}");
    table(std::slice::from_ref(&told));
    Ok(told)
}

/// Takes pushed alerts and counts those that fire, by their own identity.
struct Alertmanager {
    url: String,
    firing: Arc<AtomicU64>,
}

impl Alertmanager {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let firing = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&firing);
        tokio::spawn(async move {
            let known = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
            while let Ok((mut stream, _)) = listener.accept().await {
                let (known, count) = (Arc::clone(&known), Arc::clone(&count));
                tokio::spawn(async move {
                    while let Some(body) = request(&mut stream).await {
                        let alerts: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
                        if let Ok(mut known) = known.lock() {
                            known.extend(alerts.iter().map(|a| a["labels"].to_string()));
                            count.store(known.len() as u64, Ordering::Relaxed);
                        }
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        if stream.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { url, firing })
    }

    /// Waits until so many different alerts came.
    async fn until(&self, wanted: u64) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while self.firing.load(Ordering::Relaxed) < wanted {
            let came = self.firing.load(Ordering::Relaxed);
            ensure!(
                began.elapsed() < FLOOD,
                "only {came} of {wanted} alerts were pushed"
            );
            sleep(Duration::from_millis(50)).await;
        }
        Ok(began.elapsed())
    }
}

/// The body of the next request with a `Content-Length`; `None` at the end of the connection.
async fn request(stream: &mut tokio::net::TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|l| l.strip_prefix("content-length:"))?;
    let length: usize = length.trim().parse().ok()?;
    let mut body = bytes.split_off(head);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(body)
}
