//! `pnwatch-lab sockets`: every row of the table of socket causes with the prober's own engine,
//! link watch and witness, with a cold and a warm neighbour, and with 5 % of a CPU.
//!
//! Each row has a network of its own, so that rows run side by side. What is seen of a row is a
//! tuple (cause, ARP, own link, receiver); no two rows may share theirs. Then the prober's thread
//! gets 5 % of a CPU, and no row may become a fault that is not there.

mod prober;
mod rows;
mod starved;
mod wire;

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Result, anyhow, bail};
use pnwatch_core::witness::Arrival;
use serde::Serialize;

use crate::command::{self, IP, NFT};
use crate::net::Namespaces;
pub use prober::Tuple;
pub use rows::{Neighbour, ROWS, Row};
use wire::Wire;

/// Rows that run at once: what they wait for is mostly the clock.
const AT_ONCE: usize = 6;

/// One row as it was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// The row.
    pub row: &'static str,
    /// What was wrong.
    pub about: &'static str,
    /// The neighbour's entry.
    pub neighbour: Neighbour,
    /// What was seen.
    #[serde(flatten)]
    pub tuple: Tuple,
    /// What remains possible, where the cause alone does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<&'static str>,
    /// Whether it is what the row expects.
    pub as_expected: bool,
}

/// Everything that was seen.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The rows.
    pub rows: Vec<Seen>,
    /// Rows that share a tuple although their neighbour's entry is the same: must be empty.
    pub confused: Vec<Vec<String>>,
    /// Rows that nobody could tell apart without the receiver's evidence, and what the finding
    /// then says.
    pub without_receiver: Vec<(Vec<String>, &'static str)>,
    /// What 5 % of a CPU made of the rows.
    pub starved: starved::Starved,
}

impl Report {
    /// Whether everything is as it must be.
    pub fn is_fine(&self) -> bool {
        self.is_fine_unstarved() && self.starved.false_outages.is_empty() && self.starved.checks > 0
    }

    /// As [`Report::is_fine`], without the part with 5 % of a CPU.
    pub fn is_fine_unstarved(&self) -> bool {
        self.rows.iter().all(|seen| seen.as_expected) && self.confused.is_empty()
    }
}

/// Runs all rows.
pub fn run(with_starved: bool) -> Result<Report> {
    command::require_all(&[IP, NFT])?;
    if !rustix::process::geteuid().is_root() {
        bail!("the lab makes network namespaces and needs root; run it by sudo");
    }
    let jobs: Vec<(usize, &'static Row, Neighbour)> = ROWS
        .iter()
        .flat_map(|row| [(row, Neighbour::Cold), (row, Neighbour::Warm)])
        .enumerate()
        .map(|(number, (row, neighbour))| (number, row, neighbour))
        .collect();
    let todo = Mutex::new(jobs.into_iter());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| work(&todo, &done));
        }
    });
    let mut seen = Vec::new();
    for result in done.into_inner().unwrap_or_default().into_values() {
        seen.push(result?);
    }
    let starved = if with_starved {
        starved::run()?
    } else {
        starved::Starved::default()
    };
    Ok(Report {
        confused: confused(&seen),
        without_receiver: without_receiver(&seen),
        rows: seen,
        starved,
    })
}

type Jobs = std::vec::IntoIter<(usize, &'static Row, Neighbour)>;

fn work(todo: &Mutex<Jobs>, done: &Mutex<BTreeMap<usize, Result<Seen>>>) {
    loop {
        let job = todo.lock().map_or(None, |mut jobs| jobs.next());
        let Some((number, row, neighbour)) = job else {
            return;
        };
        let result = one(number, row, neighbour)
            .map_err(|error| anyhow!("row {} ({neighbour:?}): {error:#}", row.name));
        if let Ok(mut done) = done.lock() {
            done.insert(number, result);
        }
    }
}

fn one(number: usize, row: &'static Row, neighbour: Neighbour) -> Result<Seen> {
    let mut namespaces = Namespaces::new(&format!("ps{}", std::process::id()));
    let wire = Wire::create(&mut namespaces, &number.to_string())?;
    let (tuple, arrival, queue_full) = prober::observe(&wire, row, neighbour)?;
    let expected = row.expected[usize::from(neighbour == Neighbour::Warm)];
    let as_expected = tuple.is(expected);
    let unanswered = tuple.cause == "syn_unanswered" && tuple.arp == "reached";
    Ok(Seen {
        row: row.name,
        about: row.about,
        neighbour,
        remaining: unanswered.then(|| arrival.remaining(queue_full)),
        tuple,
        as_expected,
    })
}

/// Rows of one neighbour's state by what `tells` of them; those that are not alone.
fn alike(seen: &[Seen], tells: impl Fn(&Seen) -> String) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for one in seen {
        let key = (one.neighbour == Neighbour::Warm, tells(one));
        groups.entry(key).or_default().push(one.row.to_owned());
    }
    groups
        .into_values()
        .filter(|group| group.len() > 1)
        .collect()
}

fn confused(seen: &[Seen]) -> Vec<Vec<String>> {
    alike(seen, |one| format!("{:?}", one.tuple))
}

fn without_receiver(seen: &[Seen]) -> Vec<(Vec<String>, &'static str)> {
    let tells = |one: &Seen| {
        let Tuple {
            cause, arp, link, ..
        } = &one.tuple;
        format!("{cause} {arp} {link}")
    };
    alike(seen, tells)
        .into_iter()
        .map(|group| {
            let says = if group.iter().any(|name| name == "4") {
                Arrival::Unwatched.remaining(None)
            } else {
                "interface, address, layer 2 or the node itself: its prober is silent"
            };
            (group, says)
        })
        .collect()
}
