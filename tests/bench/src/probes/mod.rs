//! `pnwatch-bench probes`: what a check costs, beside others who make it.
//!
//! Two namespaces and one wire (needs root); the peer answers `/up`. The same targets at the
//! same pace on the same machine, one after another in each round: `pnwatch probe` as it ships
//! (it follows a plan and reports each second), Debian's `prometheus-blackbox-exporter` asked per
//! check as Prometheus asks, `fping` (ICMP, for reference), and a bare loop of system calls.
//! CPU is user and system time of the whole process; lateness and round trips are judged by
//! packet stamps at the peer's end, never by what somebody says of himself.

mod bare;
mod callgrind;
mod contenders;
mod peer;
mod quota;
mod sink;
mod stamps;
mod steps;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use pnwatch_core::outcome::Layer;
use serde_json::{Value, json};

use self::bare::Kind;
use self::contenders::{Blackbox, Cost, Field, Prober, bare, fping};
use self::peer::Peer;
use self::quota::Quota;
pub(crate) use self::steps::{Args as StepsArgs, run as steps};
use self::wire::{Wire, far};
use crate::needs;

/// Programs and the Debian packages that bring them.
const NEEDED: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    (
        "prometheus-blackbox-exporter",
        "prometheus-blackbox-exporter",
    ),
    ("fping", "fping"),
    ("vgdb", "valgrind"),
];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Case {
    /// CPU per check beside the others, several rounds: HTTP, then ARP
    Compare,
    /// The first half of it
    Http,
    /// The second half of it
    Arp,
    /// 10,000 HTTP checks a second, healthy and black-holed
    Rate,
    /// 5 % of one CPU
    Starved,
    /// 1,000 targets, once a second each
    Small,
    /// Instructions per check, by callgrind
    Instructions,
    /// All of it
    All,
}

/// What a check costs, beside others who make it (needs root)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/pnwatch")]
    pnwatch: PathBuf,
    /// What is measured
    #[arg(long, value_enum, default_value = "compare")]
    case: Case,
    /// Targets, each checked once a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(10..=10_000))]
    targets: u16,
    /// Rounds; the median of their ratios is told
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=15))]
    rounds: u8,
    /// How long each counts in a round
    #[arg(long = "for", value_name = "DURATION", default_value = "8s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// Targets of the case `rate`
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(100..=10_000))]
    many: u16,
}

/// Measures and tells: progress on stderr, a table, and one JSON object as the last line.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.lasting >= Duration::from_secs(3),
        "--for must be at least 3s: the kernel counts CPU in hundredths of a second"
    );
    needs::install(&NEEDED)?;
    let wire = Wire::new()?;
    let peer = Peer::start(&wire)?;
    let bench = Bench { args, wire, peer };
    let wanted = |case| args.case == case || args.case == Case::All;
    let mut told = serde_json::Map::new();
    if wanted(Case::Compare) || wanted(Case::Http) {
        told.insert("http".into(), bench.http()?);
    }
    if wanted(Case::Compare) || wanted(Case::Arp) {
        told.insert("arp".into(), bench.arp()?);
    }
    if wanted(Case::Rate) {
        told.insert("rate".into(), bench.rate()?);
    }
    if wanted(Case::Starved) {
        told.insert("starved".into(), bench.starved()?);
    }
    if wanted(Case::Small) {
        told.insert("small".into(), bench.small()?);
    }
    if wanted(Case::Instructions) {
        told.insert("instructions".into(), bench.instructions()?);
    }
    println!("{}", Value::Object(told));
    Ok(())
}

struct Bench<'a> {
    args: &'a Args,
    wire: Wire,
    peer: Peer,
}

impl Bench<'_> {
    fn field(&self, kind: Kind, targets: u16) -> Field {
        Field {
            kind,
            targets: usize::from(targets),
            lasting: self.args.lasting,
            warm_up: Duration::from_secs(3),
        }
    }

    fn prober(&self, field: Field) -> anyhow::Result<Cost> {
        Prober::start(&self.wire, &self.args.pnwatch, field)?.window(&self.wire, field)
    }

    fn http(&self) -> anyhow::Result<Value> {
        let field = self.field(Kind::Http, self.args.targets);
        let mut rounds = Vec::new();
        for round in 1..=self.args.rounds {
            eprintln!("HTTP, round {round} of {} …", self.args.rounds);
            let costs = [
                ("pnwatch", self.prober(field)?),
                ("bare", bare(&self.wire, field)?),
                (
                    "blackbox",
                    Blackbox::start(&self.wire)?.window(&self.wire, field, &self.peer)?,
                ),
                ("fping", fping(&self.wire, field)?),
            ];
            rounds.push(told(&costs));
        }
        Ok(summary("HTTP", &rounds, &["bare", "blackbox", "fping"]))
    }

    fn arp(&self) -> anyhow::Result<Value> {
        let field = self.field(Kind::Arp, self.args.targets);
        let mut rounds = Vec::new();
        for round in 1..=self.args.rounds {
            eprintln!("ARP, round {round} of {} …", self.args.rounds);
            let costs = [
                ("pnwatch", self.prober(field)?),
                ("bare", bare(&self.wire, field)?),
            ];
            rounds.push(told(&costs));
        }
        Ok(summary("ARP", &rounds, &["bare"]))
    }

    /// Many targets: all answer, one in a hundred is a black hole, all are.
    fn rate(&self) -> anyhow::Result<Value> {
        let field = self.field(Kind::Http, self.args.many);
        eprintln!("{} HTTP checks a second: the bare loop …", field.targets);
        let bare = bare(&self.wire, field)?;
        line("bare loop", &bare);
        eprintln!("{} HTTP checks a second: pnwatch …", field.targets);
        let prober = Prober::start(&self.wire, &self.args.pnwatch, field)?;
        let healthy = prober.window(&self.wire, field)?;
        line("pnwatch", &healthy);
        let last = peer::target(field.targets - 1).0;
        let hundredth = peer::target(field.targets / 100 - 1).0;
        let mut told = json!({ "bare": bare.json(), "healthy": healthy.json() });
        for (name, until) in [("one_percent_lost", hundredth), ("all_lost", last)] {
            eprintln!("… {name}");
            self.wire.black_hole(far(0), until)?;
            // Until every path is down, and the errno of each was waited for.
            std::thread::sleep(Duration::from_secs(12));
            let cost = prober.window(&self.wire, field)?;
            line(name, &cost);
            told[name] = cost.json();
            let unmeasured = cost.told.of(Layer::Tcp, |l| l.starts_with("unmeasured"));
            told[name]["unmeasured"] = unmeasured.into();
            told[name]["capped"] = cost
                .told
                .of(Layer::Tcp, |l| l == "unmeasured:capped")
                .into();
            told[name]["in_flight"] = cost.told.counter("in_flight").into();
            told[name]["outcomes"] = outcomes(&cost);
            self.wire.fill_holes()?;
        }
        Ok(told)
    }

    /// At a twentieth of one CPU: one target in ten, which is little enough, and then all of them,
    /// which is too much.
    fn starved(&self) -> anyhow::Result<Value> {
        let field = Field {
            lasting: self.args.lasting.max(Duration::from_secs(20)),
            ..self.field(Kind::Http, self.args.targets / 10)
        };
        let ours = self.throttled("pnwatch", field)?;
        eprintln!("… blackbox_exporter");
        let blackbox = Blackbox::start(&self.wire)?;
        let theirs = {
            let _quota = Quota::of(blackbox.id(), 5)?;
            blackbox.window(&self.wire, field, &self.peer)?
        };
        drop(blackbox);
        line("blackbox", &theirs);
        let all = Field {
            targets: usize::from(self.args.targets),
            ..field
        };
        let too_much = self.throttled("pnwatch, too much", all)?;
        let told = |cost: &Cost| {
            let mut told = cost.json();
            let of = |what: fn(&str) -> bool| {
                cost.told.of(Layer::Tcp, what) + cost.told.of(Layer::Http, what)
            };
            told["outcomes"] = outcomes(cost);
            told["false_timeouts"] = of(|label| label.starts_with("unreached")).into();
            told["starved"] = of(|label| label == "unmeasured:starved").into();
            told
        };
        Ok(json!({
            "pnwatch": told(&ours),
            "blackbox": theirs.json(),
            "too_much": told(&too_much),
        }))
    }

    fn throttled(&self, name: &str, field: Field) -> anyhow::Result<Cost> {
        eprintln!("{} targets at 5 % of one CPU: {name} …", field.targets);
        let prober = Prober::start(&self.wire, &self.args.pnwatch, field)?;
        let _quota = Quota::of(prober.id(), 5)?;
        std::thread::sleep(Duration::from_secs(5));
        let cost = prober.window(&self.wire, field)?;
        line(name, &cost);
        Ok(cost)
    }

    fn small(&self) -> anyhow::Result<Value> {
        let field = Field {
            warm_up: Duration::from_secs(15),
            ..self.field(Kind::Http, 1000)
        };
        eprintln!("1000 targets at 1 Hz …");
        let cost = self.prober(field)?;
        line("pnwatch", &cost);
        Ok(cost.json())
    }

    /// At two sizes: what a check costs, and what there is beside checks.
    fn instructions(&self) -> anyhow::Result<Value> {
        let mut told = json!({});
        let mut rates = Vec::new();
        for targets in [50, 200] {
            let field = Field {
                lasting: self.args.lasting.max(Duration::from_secs(20)),
                ..self.field(Kind::Http, targets)
            };
            eprintln!("{targets} HTTP checks a second under callgrind …");
            let counted = callgrind::count(&self.wire, field, &self.peer)?;
            ensure!(counted.checks > 0, "no check was made");
            let seconds = field.lasting.as_secs_f64();
            let (made, spent) = (counted.checks as f64, counted.instructions as f64);
            println!(
                "{targets} a second: {made} checks, {:.0} instructions per check",
                spent / made
            );
            told[format!("per_check_at_{targets}")] = (spent / made).round().into();
            rates.push((made / seconds, spent / seconds));
        }
        let [(few, low), (many, high)] = rates[..] else {
            anyhow::bail!("two sizes are needed");
        };
        // Of a line through both.
        let per_check = (high - low) / (many - few);
        let beside = low - per_check * few;
        println!("{per_check:.0} instructions per check more, {beside:.0} a second beside");
        told["per_check_more"] = per_check.round().into();
        told["per_second_beside"] = beside.round().into();
        Ok(told)
    }
}

fn outcomes(cost: &Cost) -> Value {
    let all = cost.told.outcomes.iter();
    all.map(|((layer, label), count)| (format!("{layer} {label}"), Value::from(*count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn line(name: &str, cost: &Cost) {
    let or_dash = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.2}"));
    println!(
        "{name:<18} {:>7} checks  {:>7.1} us of CPU per check  {:>6.1} MiB  {:>5} missed slots  \
         late p50 {} p99 {} ms",
        cost.checks,
        cost.us_per_check(),
        cost.resident_kb as f64 / 1024.0,
        cost.missed,
        or_dash(contenders::ms(&cost.late, 0.5)),
        or_dash(contenders::ms(&cost.late, 0.99)),
    );
}

fn told(costs: &[(&str, Cost)]) -> Value {
    let mut told = serde_json::Map::new();
    for (name, cost) in costs {
        line(name, cost);
        told.insert((*name).to_owned(), cost.json());
    }
    Value::Object(told)
}

/// The median of each round's own ratio, and the rounds.
fn summary(what: &str, rounds: &[Value], others: &[&str]) -> Value {
    let cpu =
        |round: &Value, who: &str| round[who]["cpu_us_per_check"].as_f64().unwrap_or(f64::NAN);
    let mut summary = json!({ "rounds": rounds });
    for who in ["pnwatch"].iter().chain(others) {
        let all = rounds.iter().map(|r| cpu(r, who));
        summary[format!("{who}_us")] = median(all).into();
    }
    for other in others {
        let ratio = median(rounds.iter().map(|r| cpu(r, "pnwatch") / cpu(r, other)));
        println!(
            "{what}: pnwatch costs {ratio:.3} of {other} (median of {} rounds)",
            rounds.len()
        );
        summary[format!("ratio_{other}")] = ratio.into();
    }
    summary
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
