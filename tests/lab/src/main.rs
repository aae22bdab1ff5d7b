//! `pnwatch-lab`: builds the lab, breaks it, and says whether pnwatch noticed as it should.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use pnwatch_lab::daemons::Setup;
use pnwatch_lab::drills::{DRILLS, Drill, drill, perform};
use pnwatch_lab::expect::cluster::ROWS as CLUSTER_ROWS;
use pnwatch_lab::expect::{EXTRA, ROWS, Row, all, row};
use pnwatch_lab::judge::Outcome;
use pnwatch_lab::lab::{self, Lab, LabOptions};
use pnwatch_lab::matrix::{self, Line, Real, Summary};
use pnwatch_lab::pages::{STORIES, Story, story};
use pnwatch_lab::run::{RunOptions, run};
use pnwatch_lab::soak::soak;
use pnwatch_lab::up::Orders;
use pnwatch_lab::{boards, gate, pages, pairs, report, sockets, wait};

/// A private network in namespaces that really breaks, with pnwatch in it as it ships.
#[derive(Debug, Parser)]
#[command(name = "pnwatch-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the lab up and keep it until ctrl-C or `down`
    Up(Up),
    /// Break something, watch what pnwatch makes of it, heal it
    Run(Run),
    /// Every socket cause with the prober's own engine and the node's own witness
    Sockets(SocketsArgs),
    /// Two faults at once, ten times over
    Pairs(Pairs),
    /// Ask the gate before, during and after faults, and without a monitor that knows
    Gate(GateRun),
    /// Tell stories of pages: who is told, how often, and who is not
    Pages(PagesRun),
    /// Make every row of docs/faults.md, really or through the wire
    Matrix(Matrix),
    /// Ask everything that the Grafana boards ask, in good states and bad ones
    Boards(BoardsRun),
    /// End a lab, or remove what a killed one left behind
    Down {
        /// The lab's directory; needed only if there are several
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Break one thing after the other for a long time, and see what it costs to live through it
    Soak(Soak),
    /// List the faults and what they must lead to
    List,
    /// Takes a stream (the lab starts it by itself)
    #[command(hide = true)]
    Take { address: std::net::SocketAddr },
    /// Sends a stream of so many Mbit/s (the lab starts it by itself)
    #[command(hide = true)]
    Send {
        address: std::net::SocketAddr,
        megabits: u64,
    },
    /// The stand-in for a cache pod (the lab starts it by itself)
    #[command(hide = true)]
    Standin {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Pairs {
    /// Only these, each as ONE+OTHER [default: all ten]
    #[arg(value_name = "ONE+OTHER")]
    names: Vec<String>,
    #[command(flatten)]
    common: Common,
    /// Print JSON lines only
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SocketsArgs {
    /// Print one JSON object only
    #[arg(long)]
    json: bool,
    /// Leave out the part with 5 % of a CPU
    #[arg(long)]
    without_starved: bool,
}

#[derive(Debug, Args)]
struct Common {
    /// The pnwatch to run [default: the one next to this program]
    #[arg(long)]
    pnwatch: Option<PathBuf>,
    /// Where configurations, logs and state are written [default: a new directory in the temporary one]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How many exporters
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    exporters: u8,
    /// For how long a DHCP lease is valid. Much longer than any fault, or a machine that is cut off
    /// has a lease that really is not renewed
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    lease: Duration,
    /// Keep the directory
    #[arg(long)]
    keep: bool,
    /// Let the exporters read a cluster's objects instead of a file; rows that need it do so anyway
    #[arg(long)]
    cluster: bool,
}

#[derive(Debug, Args)]
struct Up {
    #[command(flatten)]
    common: Common,
    /// The network and monitoring alone
    #[arg(long)]
    without_pnwatch: bool,
    /// Make the exporter's page reachable here, on the machine's own loopback
    #[arg(long, value_name = "ADDRESS", conflicts_with = "without_pnwatch")]
    page: Option<std::net::SocketAddr>,
    /// Take orders from standard input, a line each: break ROW, heal ROW, stop exporter, start exporter
    #[arg(long, conflicts_with = "without_pnwatch")]
    orders: bool,
}

#[derive(Debug, Args)]
struct Run {
    /// Faults by name, or `all`; see `pnwatch-lab list`
    #[arg(required = true)]
    faults: Vec<String>,
    #[command(flatten)]
    common: Common,
    /// Print JSON lines only
    #[arg(long)]
    json: bool,
    /// How often to run each fault
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long a scenario that must stay silent lasts [default: 30s], or what a drill takes
    /// away is away [default: its own]
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// Keep exporters and probers running from run to run instead of starting them afresh
    #[arg(long)]
    keep_daemons: bool,
    /// Write what the exporter says of each fault before it is healed as DIR/FAULT.json
    #[arg(long, value_name = "DIR")]
    states: Option<PathBuf>,
    /// Fail also when a page came later than its goal
    #[arg(long)]
    bars: bool,
}

#[derive(Debug, Args)]
struct PagesRun {
    /// Stories by name, or `all`: push, flapping, silence, inhibition, replica (needs
    /// --exporters 2), backup (takes ten minutes)
    #[arg(required = true)]
    stories: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct GateRun {
    /// Faults by name; see `pnwatch-lab list`
    faults: Vec<String>,
    #[command(flatten)]
    common: Common,
    /// Fail also when the pipeline that waited went on later than the goal
    #[arg(long)]
    bars: bool,
}

#[derive(Debug, Args)]
struct BoardsRun {
    #[command(flatten)]
    common: Common,
    /// The folder of the boards
    #[arg(long, default_value = "dashboards")]
    dashboards: PathBuf,
    /// How long each state lasts after it has been told
    #[arg(long, default_value = "8s", value_parser = humantime::parse_duration)]
    phase: Duration,
    /// Write what Prometheus answered, for dashboards/draw
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Choose this for a variable in what is written; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", requires = "record")]
    choose: Vec<String>,
}

#[derive(Debug, Args)]
struct Soak {
    #[command(flatten)]
    common: Common,
    /// For how long
    #[arg(long = "for", default_value = "3m", value_parser = humantime::parse_duration)]
    length: Duration,
    /// What determines the schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How long a scenario that must stay silent lasts.
const QUIET_FOR: Duration = Duration::from_secs(30);
#[derive(Debug, Args)]
struct Matrix {
    /// Only these: rows by id, pairs as ONE+OTHER [default: every row and every pair]
    rows: Vec<String>,
    #[command(flatten)]
    common: Common,
    /// Print JSON lines, then the last line
    #[arg(long)]
    json: bool,
    /// How long a row that must stay silent lasts
    #[arg(long = "for", default_value = "20s", value_parser = humantime::parse_duration)]
    quiet_for: Duration,
    /// Feed every row, also those that the lab could make, and leave the pairs out: needs no privilege
    #[arg(long)]
    recorded: bool,
    /// The folder of the scenario files
    #[arg(long, default_value = "tests/scenarios")]
    scenarios: PathBuf,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match execute(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("pnwatch-lab: {error:#}");
            ExitCode::from(if wait::is_interrupted() { 130 } else { 2 })
        }
    }
}

fn execute(command: Command) -> Result<bool> {
    match command {
        Command::Take { address } => pnwatch_lab::stream::take(address).map(|()| true),
        Command::Send { address, megabits } => {
            pnwatch_lab::stream::send(address, megabits).map(|()| true)
        }
        Command::Standin { arguments } => {
            pnwatch_standin::command_line::run(arguments)?;
            Ok(true)
        }
        Command::List => {
            print!("{}", report::list());
            Ok(true)
        }
        Command::Down { dir } => {
            let dir = match dir {
                Some(dir) => dir,
                None => only_lab()?,
            };
            lab::down(&dir)?;
            println!("the lab in {} is down", dir.display());
            Ok(true)
        }
        Command::Up(up) => keep_up(&up),
        Command::Run(options) => run_all(&options),
        Command::Pairs(args) => pairs_all(&args),
        Command::Sockets(args) => sockets_all(&args),
        Command::Soak(options) => soak_all(&options),
        Command::Pages(options) => {
            end_on_signals()?;
            let dir = Dir::open(&options.common)?;
            let result = tell_stories(&options, &dir);
            finish(&options.common, dir, result)
        }
        Command::Gate(options) => {
            end_on_signals()?;
            let dir = Dir::open(&options.common)?;
            let result = ask_gate(&options, &dir);
            finish(&options.common, dir, result)
        }
        Command::Matrix(options) => run_matrix(&options),
        Command::Boards(options) => {
            end_on_signals()?;
            let dir = Dir::open(&options.common)?;
            let result = ask_boards(&options, &dir);
            finish(&options.common, dir, result)
        }
    }
}

/// Ends waits on SIGINT, SIGTERM and SIGHUP, so that everything unwinds and cleans up.
fn end_on_signals() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        let _guard = runtime.enter();
        [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .into_iter()
        .map(signal)
        .collect::<std::io::Result<Vec<_>>>()?
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let [interrupt, terminate, hangup] = signals.as_mut_slice() else {
                    return;
                };
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                wait::interrupt();
            });
        })?;
    Ok(())
}

/// The lab's directory, removed at the end unless it is to be kept.
struct Dir {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Dir {
    fn open(common: &Common) -> Result<Self> {
        if let Some(path) = &common.dir {
            std::fs::create_dir_all(path)
                .with_context(|| format!("cannot create {}", path.display()))?;
            let path = std::fs::canonicalize(path)?;
            return Ok(Self {
                path,
                temporary: None,
            });
        }
        let prefix = format!("{DIR_PREFIX}{}-", std::process::id());
        let temporary = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        Ok(Self {
            path: temporary.path().to_owned(),
            temporary: Some(temporary),
        })
    }

    fn keep(self) {
        if let Some(temporary) = self.temporary {
            let _ = temporary.keep();
        }
        eprintln!(
            "configurations, logs and notifications are in {}",
            self.path.display()
        );
    }
}

/// What the names of the labs' own directories begin with.
const DIR_PREFIX: &str = "pnwatch-lab-";

fn only_lab() -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(std::env::temp_dir())? {
        let path = entry?.path();
        let named = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(DIR_PREFIX));
        if named && path.join("lab.json").is_file() {
            found.push(path);
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!(
            "there is no lab in {}; name its directory with --dir",
            std::env::temp_dir().display()
        ),
        several => bail!("there are several labs; name one with --dir: {several:?}"),
    }
}

fn build(common: &Common, dir: &Dir, with_pnwatch: bool, exporters: usize) -> Result<Lab> {
    let program = std::env::current_exe().context("cannot find the lab's own executable")?;
    let pnwatch = with_pnwatch.then(|| {
        let beside = || program.with_file_name("pnwatch");
        common.pnwatch.clone().unwrap_or_else(beside)
    });
    Lab::up(&LabOptions {
        dir: dir.path.clone(),
        pnwatch,
        exporters: exporters.max(usize::from(common.exporters)),
        lease_seconds: u32::try_from(common.lease.as_secs())
            .unwrap_or(u32::MAX)
            .max(10),
        program,
    })
}

fn keep_up(up: &Up) -> Result<bool> {
    end_on_signals()?;
    let dir = Dir::open(&up.common)?;
    let mut lab = build(&up.common, &dir, !up.without_pnwatch, 1)?;
    if !up.without_pnwatch {
        if up.common.cluster {
            lab.discover()?;
        }
        lab.start_daemons()?;
    }
    let page = up
        .page
        .map(|at| pnwatch_lab::up::forward_page(&lab.network.exporter, at));
    if let Some(address) = page.transpose()? {
        println!("page http://{address}/");
    }
    let orders = up.orders.then(Orders::read).transpose()?;
    print!("{}", report::ways_in(&lab, &dir.path));
    while !wait::is_interrupted() {
        if let Some(orders) = &orders {
            orders.obey(&mut lab)?;
        } else {
            lab.processes.check_all()?;
        }
        // Ends early, with an error, on a signal: that is the way out.
        let _ = wait::pass(Duration::from_millis(50));
    }
    drop(lab);
    println!("down");
    if up.common.keep {
        dir.keep();
    }
    Ok(true)
}

fn run_all(options: &Run) -> Result<bool> {
    let acts = acts(&options.faults)?;
    end_on_signals()?;
    let dir = Dir::open(&options.common)?;
    let result = run_acts(options, &acts, &dir);
    finish(&options.common, dir, result)
}

/// What a run leaves behind: nothing, unless it failed or is asked to.
fn finish(common: &Common, dir: Dir, result: Result<bool>) -> Result<bool> {
    if common.keep || !matches!(result, Ok(true)) {
        dir.keep();
    }
    result
}

/// The last line is the report.
fn soak_all(options: &Soak) -> Result<bool> {
    end_on_signals()?;
    let dir = Dir::open(&options.common)?;
    let mut lab = build(&options.common, &dir, true, 1)?;
    let result = soak(&mut lab, options.length, options.seed, |outcome| {
        eprintln!("{outcome}");
    });
    drop(lab);
    if options.common.keep || !result.as_ref().is_ok_and(|report| report.wrong.is_empty()) {
        dir.keep();
    }
    let report = result?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(report.wrong.is_empty())
}

fn tell_stories(options: &PagesRun, dir: &Dir) -> Result<bool> {
    let mut stories: Vec<&'static Story> = Vec::new();
    for name in &options.stories {
        if name == "all" {
            stories.extend(&STORIES);
            continue;
        }
        let known: Vec<&str> = STORIES.iter().map(|story| story.name).collect();
        let known = known.join(", ");
        stories.push(
            story(name)
                .with_context(|| format!("there is no story {name:?}; there are: all, {known}"))?,
        );
    }
    let mut lab = build(&options.common, dir, true, 1)?;
    let mut fine = true;
    for story in stories {
        let told = pages::run(&mut lab, story)?;
        println!("{}", serde_json::to_string(&told)?);
        fine &= told.wrong.is_empty();
    }
    Ok(fine)
}

fn ask_gate(options: &GateRun, dir: &Dir) -> Result<bool> {
    let rows = rows(&options.faults)?;
    let mut lab = build(&options.common, dir, true, 1)?;
    let mut fine = true;
    for row in rows {
        let said = gate::run(&mut lab, row)?;
        println!("{}", serde_json::to_string(&said)?);
        let late = said.opened_s.is_some_and(|opened| opened > said.bar_s);
        fine &= said.wrong.is_empty() && !(options.bars && late);
    }
    let wrong = gate::without_evidence(&mut lab)?;
    let right = wrong.is_empty();
    println!(
        "{}",
        serde_json::json!({ "without_evidence": right, "wrong": wrong })
    );
    Ok(fine && right)
}

fn ask_boards(options: &BoardsRun, dir: &Dir) -> Result<bool> {
    let mut lab = build(&options.common, dir, true, 1)?;
    let mut chosen = boards::query::Values::new();
    for choice in &options.choose {
        let (name, value) = choice
            .split_once('=')
            .with_context(|| format!("--choose {choice}: write it as NAME=VALUE"))?;
        chosen.insert(name.to_owned(), value.to_owned());
    }
    let asked = boards::Options {
        chosen,
        dashboards: &options.dashboards,
        phase: options.phase,
        record: options.record.as_deref(),
    };
    boards::run(&mut lab, &asked, &mut |line| {
        println!("{line}");
        Ok(())
    })
}

/// What one name on the command line stands for.
#[derive(Debug, Clone, Copy)]
enum Act {
    Fault(&'static Row),
    Drill(&'static Drill),
}

fn run_acts(options: &Run, acts: &[Act], dir: &Dir) -> Result<bool> {
    let needs = |act: &Act| match act {
        Act::Fault(_) => 1,
        Act::Drill(drill) => drill.exporters,
    };
    let exporters = acts.iter().map(needs).max().unwrap_or(1);
    let mut lab = build(&options.common, dir, true, exporters)?;
    lab.states.clone_from(&options.states);
    let run_options = RunOptions {
        quiet_for: options.lasts.unwrap_or(QUIET_FOR),
        fresh: !options.keep_daemons,
        cluster: options.common.cluster,
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut fine = true;
    for act in acts {
        for _ in 0..options.runs {
            match act {
                Act::Fault(row) => {
                    lab.set_up(Setup::default());
                    let outcome = run(&mut lab, row, run_options)?;
                    show(options, &outcome)?;
                    fine &= outcome.as_expected && (!options.bars || outcome.is_in_time());
                    outcomes.push(outcome);
                }
                Act::Drill(drill) => {
                    let performance = perform(&mut lab, drill, options.lasts)?;
                    show(options, &performance)?;
                    fine &= performance.as_expected;
                }
            }
        }
    }
    drop(lab);
    if !options.json && !outcomes.is_empty() {
        eprint!("{}", report::summary(&outcomes));
    }
    Ok(fine)
}

fn pairs_all(args: &Pairs) -> Result<bool> {
    end_on_signals()?;
    let chosen = pairs::named(&args.names)?;
    let dir = Dir::open(&args.common)?;
    let result = build(&args.common, &dir, true, 1).and_then(|mut lab| {
        let mut fine = 0;
        for pair in &chosen {
            let outcome = pairs::run(&mut lab, *pair)?;
            println!("{}", serde_json::to_string(&outcome)?);
            fine += usize::from(outcome.as_expected);
        }
        if !args.json {
            eprintln!("{fine}/{} pairs as expected", chosen.len());
        }
        Ok(fine == chosen.len())
    });
    if args.common.keep || !matches!(result, Ok(true)) {
        dir.keep();
    }
    result
}

fn sockets_all(args: &SocketsArgs) -> Result<bool> {
    let report = sockets::run(!args.without_starved)?;
    let fine = report.is_fine() || args.without_starved && report.is_fine_unstarved();
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(fine);
    }
    for seen in &report.rows {
        let mark = if seen.as_expected { "ok    " } else { "WRONG " };
        let sockets::Tuple {
            cause,
            arp,
            link,
            receiver,
        } = &seen.tuple;
        let neighbour = format!("{:?}", seen.neighbour).to_lowercase();
        println!(
            "{mark}{:5} {neighbour:5} {}: {cause} | ARP {arp} | own link {link} | {receiver}",
            seen.row, seen.about
        );
    }
    println!("share a tuple: {:?}", report.confused);
    println!("5 % of a CPU: {}", serde_json::to_string(&report.starved)?);
    Ok(fine)
}

fn run_matrix(options: &Matrix) -> Result<bool> {
    let (two, one): (Vec<String>, Vec<String>) = options
        .rows
        .iter()
        .cloned()
        .partition(|name| name.contains('+'));
    let all = options.rows.is_empty();
    let mut entries = if all || !one.is_empty() {
        matrix::entries(&one)?
    } else {
        Vec::new()
    };
    let pairs = if !options.recorded && (all || !two.is_empty()) {
        pairs::named(&two)?
    } else {
        Vec::new()
    };
    if options.recorded {
        for entry in &mut entries {
            entry.real = None;
        }
    }
    end_on_signals()?;
    let mut lines: Vec<Line> = Vec::new();
    let mut tell = |line: Line| -> Result<()> {
        let said = serde_json::to_string(&line)?;
        if options.json || !line.as_expected {
            println!("{said}");
        }
        if !options.json {
            let verdict = if line.as_expected {
                "as expected"
            } else {
                "WRONG"
            };
            println!(
                "{:5} {:8} {verdict} ({})",
                line.fault, line.evidence, line.made_by
            );
        }
        lines.push(line);
        Ok(())
    };
    for entry in entries.iter().filter(|entry| entry.real.is_none()) {
        tell(matrix::feed(entry.row, &options.scenarios)?)?;
    }
    if !pairs.is_empty() || entries.iter().any(|entry| entry.real.is_some()) {
        let dir = Dir::open(&options.common)?;
        let mut lab = build(&options.common, &dir, true, 1)?;
        let run_options = RunOptions {
            quiet_for: options.quiet_for,
            fresh: true,
            cluster: false,
        };
        // They want leases that are young everywhere.
        for entry in &entries {
            if let Some(Real::Drill(drill)) = entry.real {
                let played = perform(&mut lab, drill, None)?;
                lab.set_up(Setup::default());
                tell(Line::from((entry.row, played)))?;
            }
        }
        for pair in &pairs {
            tell(Line::from(pairs::run(&mut lab, *pair)?))?;
        }
        // Once there is a cluster, all that follow read it.
        entries.sort_by_key(|entry| entry.real.is_some_and(Real::needs_cluster));
        for entry in &entries {
            if let Some(Real::Fault(row)) = entry.real {
                tell(Line::from((entry.row, run(&mut lab, row, run_options)?)))?;
            }
        }
        drop(lab);
        if options.common.keep {
            dir.keep();
        }
    }
    println!("{}", Summary(&lines));
    Ok(Summary(&lines).is_fine())
}

fn rows(names: &[String]) -> Result<Vec<&'static Row>> {
    let faults = acts(names)?.into_iter().map(|act| match act {
        Act::Fault(row) => Ok(row),
        Act::Drill(drill) => bail!(
            "{} is a drill, not a fault: pnwatch-lab run {0}",
            drill.name
        ),
    });
    faults.collect()
}

/// One line of JSON, and unless only that is wanted, some for people.
fn show<T: serde::Serialize + std::fmt::Display>(options: &Run, result: &T) -> Result<()> {
    println!("{}", serde_json::to_string(result)?);
    if !options.json {
        eprintln!("{result}");
    }
    Ok(())
}

fn acts(names: &[String]) -> Result<Vec<Act>> {
    let mut acts = Vec::new();
    for name in names {
        if name == "cluster" {
            acts.extend(CLUSTER_ROWS.iter().map(Act::Fault));
            continue;
        }
        if name == "all" {
            acts.extend(ROWS.iter().take(ROWS.len() - EXTRA).map(Act::Fault));
            continue;
        }
        let act = row(name)
            .map(Act::Fault)
            .or_else(|| drill(name).map(Act::Drill));
        acts.push(act.with_context(|| {
            let known = all().map(|row| row.name);
            let known: Vec<&str> = known.chain(DRILLS.iter().map(|drill| drill.name)).collect();
            format!(
                "there is no fault {name:?}; there are: all, cluster, {}",
                known.join(", ")
            )
        })?);
    }
    Ok(acts)
}
