//! A VM that does all it can to its host's relay, and what its neighbours notice of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::daemons::process_name;
use crate::lab::Lab;
use crate::net::Namespace;
use crate::topology::{RELAY, host_name};
use crate::{vms, wait};

/// The host that is attacked.
const HOST: usize = 0;
/// The address of the honest VM beside the hostile one.
const BESIDE: &str = "192.168.64.9";
const HONEST: &str = "vm-honest";
const BESIDE_VANTAGE: &str = "vm/mini-0/1";
/// Most of one CPU that prober and parser may use together, besides what they use in peace.
const CPU: f64 = 0.02;
/// How long peace is measured.
const PEACE: Duration = Duration::from_secs(10);
/// Threads of each attack.
const FLOODERS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(1);

/// An honest VM runs beside the one that will attack.
pub(super) fn prepare(lab: &mut Lab) -> Result<()> {
    vms::start_all(lab)?;
    let vm = vms::boot(lab, HOST, 300, BESIDE)?;
    vms::start_in(lab, HONEST, &vm)?;
    vms::wait_heard(lab, &[BESIDE_VANTAGE.to_owned()])
}

/// Attacks for `duration`; the agent in the attacking VM goes on besides.
pub(super) fn attack(lab: &mut Lab, duration: Duration) -> Result<()> {
    let relay: SocketAddr = RELAY.parse()?;
    let vm = lab.network.hosts.get(HOST).context("no such host")?;
    let vm = vm.vm.clone();
    let peace = measure(lab, |_| wait::pass(PEACE))?;
    let asked = AtomicU64::new(0);
    let war = measure(lab, |lab| {
        let end = Instant::now() + duration;
        std::thread::scope(|scope| {
            for attack in [flood, pipeline, gigabyte, loris, forge] {
                for _ in 0..FLOODERS {
                    let (vm, asked) = (&vm, &asked);
                    scope.spawn(move || inside(vm, || attack(relay, end, asked)));
                }
            }
            let mut worst = Vec::new();
            while Instant::now() < end {
                lab.processes.check_all()?;
                let bad = bad_paths(lab)?;
                if bad.len() > worst.len() {
                    worst = bad;
                }
                wait::pass(Duration::from_millis(500))?;
            }
            ensure!(
                worst.is_empty(),
                "paths of others were not up: {}",
                worst.join("; ")
            );
            Ok(())
        })
    })?;
    let seconds = duration.as_secs_f64();
    eprintln!(
        "vm_hostile: {:.0} attempts/s; prober and parser: {:.2} % of a CPU in peace, {:.2} % under attack; {:.0} slots missed",
        asked.load(Ordering::Relaxed) as f64 / seconds,
        peace.cpu * 100.0,
        war.cpu * 100.0,
        war.missed,
    );
    ensure!(
        war.missed <= peace.missed + 1.0,
        "the host's rhythm broke: {} slots missed",
        war.missed
    );
    ensure!(
        war.cpu <= peace.cpu + CPU,
        "prober and parser use {:.1} % of a CPU under attack, {:.1} % in peace",
        war.cpu * 100.0,
        peace.cpu * 100.0
    );
    lab.processes.kill(HONEST)
}

fn inside(vm: &Namespace, attack: impl FnOnce() + Send) {
    // A VM has processors of its own; here the attack may take what nobody else wants, or the
    // machine's load would be measured instead of the relay. Threads have a niceness each
    // (setpriority(2)).
    let _ = rustix::process::nice(19);
    // A thread that cannot get inside attacks nobody, and the count of attempts shows it.
    if vm.enter().is_ok() {
        attack();
    }
}

/// What the host's prober and its parser used, as a share of one CPU, and slots that passed
/// without a check.
struct Used {
    cpu: f64,
    missed: f64,
}

fn measure(lab: &mut Lab, what: impl FnOnce(&mut Lab) -> Result<()>) -> Result<Used> {
    let (began, cpu, missed) = (Instant::now(), cpu(lab)?, missed(lab)?);
    what(lab)?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Used {
        cpu: (self::cpu(lab)? - cpu) / seconds,
        missed: self::missed(lab)? - missed,
    })
}

/// Seconds of CPU of the prober and its children that live (proc(5), fields 14 and 15).
fn cpu(lab: &Lab) -> Result<f64> {
    let ids = lab.processes.ids();
    let prober = ids
        .get(&process_name(&host_name(HOST)))
        .context("the host has no prober")?
        .pid;
    let mut pids = vec![prober];
    let children = format!("/proc/{prober}/task");
    for task in std::fs::read_dir(&children)? {
        let listed = std::fs::read_to_string(task?.path().join("children"))?;
        pids.extend(
            listed
                .split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    let ticks: f64 = pids
        .iter()
        .filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (_, rest) = stat.rsplit_once(')')?;
            let mut fields = rest.split_whitespace().skip(11);
            let user: f64 = fields.next()?.parse().ok()?;
            let system: f64 = fields.next()?.parse().ok()?;
            Some(user + system)
        })
        .sum();
    // USER_HZ is 100 on every Linux (time(7)).
    Ok(ticks / 100.0)
}

fn missed(lab: &Lab) -> Result<f64> {
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    let vantage = format!("vantage=\"host/{}\"", host_name(HOST));
    let metrics = daemons.metrics()?;
    metrics
        .lines()
        .filter(|line| line.starts_with("pnwatch_prober_missed_slots_total{"))
        .find(|line| line.contains(&vantage))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .context("the host's missed slots are not told")
}

/// Paths to accounts that are not up, of anybody but the attacker. Its own slot, and the one that
/// it shares with the names it gives itself, are its to spoil.
fn bad_paths(lab: &Lab) -> Result<Vec<String>> {
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    let metrics = daemons.metrics()?;
    let bad = metrics.lines().filter(|line| {
        line.starts_with("pnwatch_path_state{")
            && line.contains("account=\"")
            && !line.contains("account=\"\"")
            && !line.contains("vantage=\"vm/mini-0/0\"")
            && !line.contains("vantage=\"vm/mini-0/shared\"")
            && !line.contains("vantage=\"node/")
            && !line.ends_with(" 1")
    });
    let mut bad: Vec<String> = bad.map(str::to_owned).collect();
    bad.extend(vms::not_up(&metrics, &[BESIDE_VANTAGE.to_owned()]));
    Ok(bad)
}

fn connect(relay: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&relay, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    Some(stream)
}

/// A message that is well-formed, forged, replayed and full of invented targets.
fn forged() -> Vec<u8> {
    let seen = r#"{"id":4242,"layer":"tcp","outcome":"unreached:syn_unanswered","age_us":1,"account":"tuist"},
        {"id":1,"layer":"arp","outcome":"unreached:arp_unanswered","age_us":1},
        {"layer":"control","outcome":"reached","age_us":99999999}"#;
    let body = format!(
        r#"{{"version":1,"run":1,"seq":1,"brief":1,"vantage":"vm/mini-2/0","host":"mini-2","seen":[{seen}]}}"#
    );
    format!(
        "POST /v1/vm HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.168.64.9\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A connection per request, as fast as they come.
fn flood(relay: SocketAddr, end: Instant, asked: &AtomicU64) {
    let request = forged();
    while Instant::now() < end {
        asked.fetch_add(1, Ordering::Relaxed);
        if let Some(mut stream) = connect(relay) {
            let _ = stream.write_all(&request);
        }
    }
}

/// All requests on one connection, without waiting for an answer.
fn pipeline(relay: SocketAddr, end: Instant, asked: &AtomicU64) {
    let many = forged().repeat(200);
    while Instant::now() < end {
        let Some(mut stream) = connect(relay) else {
            continue;
        };
        while Instant::now() < end && stream.write_all(&many).is_ok() {
            asked.fetch_add(200, Ordering::Relaxed);
        }
    }
}

/// Bodies of a gigabyte, announced and not.
fn gigabyte(relay: SocketAddr, end: Instant, asked: &AtomicU64) {
    let block = vec![b'{'; 1 << 16];
    let heads = [
        "POST /v1/vm HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n",
        "POST /v1/vm HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n",
    ];
    for head in heads.iter().cycle() {
        if Instant::now() >= end {
            return;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let Some(mut stream) = connect(relay) else {
            continue;
        };
        if stream.write_all(head.as_bytes()).is_err() {
            continue;
        }
        for _ in 0..(1usize << 30) / block.len() {
            if Instant::now() >= end || stream.write_all(&block).is_err() {
                break;
            }
        }
    }
}

/// A byte now and then.
fn loris(relay: SocketAddr, end: Instant, asked: &AtomicU64) {
    while Instant::now() < end {
        asked.fetch_add(1, Ordering::Relaxed);
        let Some(mut stream) = connect(relay) else {
            continue;
        };
        for byte in b"POST /v1/vm HTTP/1.1\r\nHost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" {
            if Instant::now() >= end || stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The same forged message again and again, with an ear for the answer.
fn forge(relay: SocketAddr, end: Instant, asked: &AtomicU64) {
    let request = forged();
    let mut answer = [0; 4096];
    while Instant::now() < end {
        let Some(mut stream) = connect(relay) else {
            continue;
        };
        while Instant::now() < end {
            asked.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(&request).is_err() || !matches!(stream.read(&mut answer), Ok(1..)) {
                break;
            }
        }
    }
}
