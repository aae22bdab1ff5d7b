//! What the gate says before, during and after a fault: the command as it ships, asked from the
//! monitoring namespace, and a pipeline that waits with `--timeout` while the fault lasts.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::Serialize;

use crate::command::IP;
use crate::daemons::Daemons;
use crate::expect::Row;
use crate::faults;
use crate::judge::seconds_between;
use crate::lab::Lab;
use crate::wait;

/// How long what is healed must have been well for the pipeline that waits.
const FOR: Duration = Duration::from_secs(5);
/// The goal: from the repair to the open gate, beside [`FOR`].
const GOAL: Duration = Duration::from_secs(5);
/// By when the gate must say what the fault makes of it, and by when it must open again.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long a fault that changes no answer is watched.
const WATCHED: Duration = Duration::from_secs(8);

/// One row's answers, as exit codes of `pnwatch gate`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answers {
    /// The row's name.
    pub fault: &'static str,
    /// Before the fault: 0.
    pub before: i32,
    /// While it lasts: 1 where a target is cut off, 0 where none is.
    pub during: i32,
    /// After it is healed: 0.
    pub after: i32,
    /// From the repair until the pipeline went on that had waited since the fault.
    pub opened_s: Option<f64>,
    /// The goal for that.
    pub bar_s: f64,
    /// What was not as it must be.
    pub wrong: Vec<String>,
}

/// Asks around one row.
pub fn run(lab: &mut Lab, row: &'static Row) -> Result<Answers> {
    let fault = faults::fault(row.name)?;
    ensure!(
        fault.disturb.is_none(),
        "{} comes and goes: it has no `during`",
        row.name
    );
    lab.start_daemons()?;
    (fault.prepare)(lab).with_context(|| format!("{} cannot be prepared", row.name))?;
    let mut wrong = Vec::new();
    let before = ask(lab, &["--all"])?;
    expect(&mut wrong, "before", &before, 0);
    (fault.inject)(lab).with_context(|| format!("{} cannot be injected", row.name))?;
    // Who is warned of is nobody who is cut off; and what one host or its VMs suffer says nothing
    // of a target that the other hosts reach.
    let closes = row
        .expected
        .is_some_and(|e| e.severity == "critical" && e.blame != "host");
    let mut during = during(lab, i32::from(closes))?;
    expect(&mut wrong, "during", &during, i32::from(closes));
    let pipeline = closes.then(|| wait_for_open(lab)).transpose();
    let healed = Timestamp::now();
    (fault.heal)(lab).with_context(|| format!("{} cannot be healed", row.name))?;
    let repaired = Timestamp::now();
    let opened_s = match pipeline? {
        Some(pipeline) => {
            let output = pipeline.wait_with_output()?;
            let opened = Timestamp::now();
            let code = output.status.code().unwrap_or(-1);
            if code != 0 {
                wrong.push(format!("the pipeline that waited ended with {code}"));
                during = output;
            }
            // Some faults are healed step by step: the last step counts.
            Some(seconds_between(repaired.max(healed), opened))
        }
        None => None,
    };
    let after = within(lab, 0)?;
    expect(&mut wrong, "after", &after, 0);
    let bar_s = (GOAL + FOR).as_secs_f64();
    Ok(Answers {
        fault: row.name,
        before: code(&before),
        during: code(&during),
        after: code(&after),
        opened_s,
        bar_s,
        wrong,
    })
}

/// What the gate says without a monitor that knows: down, and just started.
pub fn without_evidence(lab: &mut Lab) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    lab.start_daemons()?;
    expect(&mut wrong, "healthy", &ask(lab, &["--all"])?, 0);
    let daemons = lab.daemons.as_ref().context("no pnwatch")?;
    lab.findings = None;
    daemons.stop(&mut lab.processes)?;
    expect(&mut wrong, "exporter down", &ask(lab, &["--all"])?, 69);
    let daemons = lab.daemons.as_mut().context("no pnwatch")?;
    daemons.start_exporters(&mut lab.processes)?;
    expect(&mut wrong, "just started", &ask(lab, &["--all"])?, 2);
    let nobody = ask(lab, &["--account", "nobody"])?;
    expect(&mut wrong, "no account", &nobody, 2);
    Ok(wrong)
}

fn expect(wrong: &mut Vec<String>, when: &str, output: &Output, wanted: i32) {
    if code(output) != wanted {
        let said = String::from_utf8_lossy(&output.stderr);
        wrong.push(format!(
            "{when}: exit code {}, not {wanted}: {}",
            code(output),
            said.trim()
        ));
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// The answer as soon as it is as wanted, or the last one.
fn within(lab: &mut Lab, wanted: i32) -> Result<Output> {
    let started = Instant::now();
    loop {
        let said = ask(lab, &["--all"])?;
        if code(&said) == wanted || started.elapsed() > DEADLINE {
            return Ok(said);
        }
        wait::pass(Duration::from_millis(200))?;
    }
}

/// The answer while the fault lasts: as soon as it closes where it must, and the first one that
/// is not open where it must stay open.
fn during(lab: &mut Lab, wanted: i32) -> Result<Output> {
    if wanted != 0 {
        return within(lab, wanted);
    }
    let started = Instant::now();
    loop {
        let said = ask(lab, &["--all"])?;
        if code(&said) != 0 || started.elapsed() > WATCHED {
            return Ok(said);
        }
        wait::pass(Duration::from_millis(500))?;
    }
}

fn command(lab: &Lab, arguments: &[&str]) -> Result<Command> {
    let program = lab.daemons.as_ref().context("no pnwatch")?.program();
    let url = format!("http://{}", Daemons::page(0));
    let mut command = Command::new(IP.require()?);
    command
        .args(["netns", "exec", lab.network.exporter.name()])
        .arg(program)
        .args(["gate", "--url", &url])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

fn ask(lab: &Lab, arguments: &[&str]) -> Result<Output> {
    let mut command = command(lab, arguments)?;
    command.output().context("pnwatch gate cannot be started")
}

/// A pipeline that waits until the gate opens.
fn wait_for_open(lab: &Lab) -> Result<Child> {
    let held = format!("{}s", FOR.as_secs());
    let timeout = format!("{}s", 2 * DEADLINE.as_secs());
    let arguments = ["--all", "--for", &held, "--timeout", &timeout];
    let mut command = command(lab, &arguments)?;
    command.spawn().context("pnwatch gate cannot be started")
}
