//! `pnwatch-bench`: measurements of the command `pnwatch` as it ships, on this machine.
//!
//! The figures of docs/performance.md come from here. Nothing is judged, tests do that; only
//! `sampling` has a goal of its own and fails above it.

mod burn;
mod fleet;
mod footprint;
mod gate;
mod needs;
mod once;
mod probes;
mod process;
mod sampling;
mod witness;

use clap::Parser;

/// Measurements of pnwatch as it ships.
#[derive(Debug, Parser)]
#[command(name = "pnwatch-bench", version)]
enum Command {
    /// From an account's death to a firing burn-rate alert
    Burn(burn::Args),
    /// One exporter and a fleet of vantages that report to it
    Fleet(fleet::Args),
    /// CPU and memory of prober and exporter with many targets on loopback
    Footprint(footprint::Args),
    /// Many questions that wait for the gate
    Gate(gate::Args),
    /// What the receiver's witness costs, and how exactly it counts
    Witness(witness::Args),
    /// What `pnwatch once` costs a job, beside a bare connect
    Once(once::Args),
    /// What it costs to sample many network devices once a second (needs root)
    Sampling(sampling::Args),
    /// What a check costs, beside others who make it (needs root)
    Probes(probes::Args),
    #[command(hide = true)]
    Steps(probes::StepsArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Burn(args) => burn::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Footprint(args) => footprint::run(&args),
        Command::Gate(args) => gate::run(&args),
        Command::Witness(args) => witness::run(&args),
        Command::Once(args) => once::run(&args),
        Command::Sampling(args) => sampling::run(&args),
        Command::Probes(args) => probes::run(&args),
        Command::Steps(args) => probes::steps(&args),
    }
}
