//! The prober's rounds without its tasks, for callgrind: what is due goes to the sockets, what
//! came becomes evidence, and each second a report is packed.
//!
//! Callgrind shows a program no vDSO, without which `rustix` cannot read its clock, so the clock is
//! the standard library's here and what else reads the clock (links, counters) is left out.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pnwatch_core::link::{DeviceState, LinkFacts};
use pnwatch_core::name::{Cluster, Vantage};
use pnwatch_core::outcome::Blind;
use pnwatch_core::time::{Now, Tick, Timestamp};
use pnwatch_core::wire::{REPORT_VERSION, Report};
use pnwatch_edge::clock::Clock;
use pnwatch_prober::agent::{REPORT_EVERY, TICK};
use pnwatch_prober::engine::{Engine as _, Limits, Sockets};
use pnwatch_prober::link::Leg;
use pnwatch_prober::rounds::Rounds;
use pnwatch_prober::transport::encode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::bare::Kind;
use super::sink::{VANTAGE, plan};
use super::wire::{DEVICE, MAC, NEAR};

/// The prober's rounds alone, until it is killed (the case `instructions` starts it by itself)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Targets, each checked once a second
    #[arg(long)]
    targets: u16,
}

/// The clocks as the standard library reads them.
#[derive(Debug, Clone)]
struct Plain(Instant);

impl Clock for Plain {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Now {
            tick: Tick::default().after(self.0.elapsed()),
            wall: Timestamp::default().after(wall.unwrap_or_default()),
        }
    }
}

/// Checks until the process is killed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let clock = Plain(Instant::now());
    let vantage: Vantage = VANTAGE.parse()?;
    let limits = Limits::default();
    let engine = Sockets::new(&vantage, std::sync::Arc::new(clock.clone()), limits)?;
    let mut rounds = Rounds::new(engine, &vantage, limits, Vec::new(), "bench".to_owned());
    rounds.set_leg(&leg()?);
    let plan = plan(Kind::Http, usize::from(args.targets))?;
    rounds.set_plans(&[&plan], clock.now().tick);
    let mut report = empty(vantage)?;
    let mut report_at = clock.now().tick.after(REPORT_EVERY);
    loop {
        let now = clock.now();
        rounds.step(now.tick, Blind::Overrun);
        if now.tick >= report_at {
            report_at = now.tick.after(REPORT_EVERY);
            report.seq += 1;
            report.sent_at = now.wall;
            for unit in rounds.fold(now.tick).split() {
                report.paths = unit.paths(now.tick);
                report.ready = unit.ready(now.tick);
                std::hint::black_box(encode(&report));
            }
        }
        let next = rounds.next_deadline().unwrap_or(report_at).min(report_at);
        wait(&rounds, next.since(clock.now().tick))?;
    }
}

/// Until something came, or for `time` and on to the next instant of the prober's grid.
fn wait(rounds: &Rounds<Sockets>, time: Duration) -> anyhow::Result<()> {
    let ready = rounds.engine().readiness();
    let time = if time.is_zero() { time } else { time.max(TICK) };
    let time = Timespec {
        tv_sec: time.as_secs().try_into()?,
        tv_nsec: time.subsec_nanos().into(),
    };
    poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(&time))?;
    Ok(())
}

fn leg() -> anyhow::Result<Leg> {
    let asking = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let index = rustix::net::netdevice::name_to_index(&asking, DEVICE)?;
    Ok(Leg {
        index: Some(index),
        arp: true,
        source: Some(NEAR),
        facts: LinkFacts {
            device: DEVICE.to_owned(),
            state: DeviceState::Up,
            mac: Some(MAC.parse()?),
            ..Leg::default().facts
        },
        ..Leg::default()
    })
}

fn empty(vantage: Vantage) -> anyhow::Result<Report> {
    Ok(Report {
        version: REPORT_VERSION,
        cluster: Cluster::new("bench")?,
        vantage,
        boot_id: "bench".to_owned(),
        seq: 0,
        plan_id: None,
        sent_at: Timestamp::default(),
        stopping: false,
        history: false,
        behind: false,
        paths: Vec::new(),
        link: None,
        ready: Vec::new(),
        counters: Vec::new(),
        devices: Vec::new(),
        witness: None,
        large: Vec::new(),
        vms: Vec::new(),
    })
}
