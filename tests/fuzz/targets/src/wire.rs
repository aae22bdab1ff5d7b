//! What probers, exporters and VMs tell one another, and what waits on a disk.

use core::net::Ipv4Addr;
use std::sync::LazyLock;

use bytes::Bytes;
use pnwatch_core::engine::{Engine, Settings};
use pnwatch_core::inventory::Inventory;
use pnwatch_core::link::Mac;
use pnwatch_core::plan::{MAX_PLANNED, PLAN_VERSION, Plan};
use pnwatch_core::reply::{MAX_ASKED, asked};
use pnwatch_core::schedule::{Batch, Planned, Schedule};
use pnwatch_core::subject::Subject;
use pnwatch_core::wire::{MAX_COUNTERS, MAX_RUNS, MAX_SAMPLES, MAX_VMS, Report};
use pnwatch_exporter::fuzzing as exporter;
use pnwatch_prober::checklist::Checklist;
use pnwatch_prober::fuzzing as prober;
use pnwatch_prober::relay::desk::Desk;
use pnwatch_prober::relay::talk::{
    FromParser, Handed, MAX_BODY, MAX_SEEN, MAX_TARGETS, Told, line,
};

use crate::http::is_a_sentence;
use crate::site::{at, inventory, now};

/// A report, as an engine takes it that watches its network.
pub(crate) fn report(bytes: &[u8]) -> bool {
    let report = match Report::from_json(bytes) {
        Ok(report) => report,
        Err(error) => {
            assert!(error.to_string().len() < 2048);
            return false;
        }
    };
    keeps_its_bounds(&report);
    let mut engine = Engine::new(
        Inventory {
            cluster: report.cluster.clone(),
            ..inventory().clone()
        },
        Settings::default(),
        now(),
    );
    engine.apply(&report, at(500));
    // The same again is a duplicate.
    engine.apply(&report, at(600));
    for millis in [600, 1_600, 3_600, 60_000] {
        let _ = engine.evaluate(at(millis));
        let view = engine.view(at(millis));
        assert_eq!(view.targets.len(), inventory().targets.iter().count());
        assert_eq!(view.nodes.len(), inventory().nodes.len());
    }
    true
}

/// What was accepted is within its bounds, and reads the same once written.
fn keeps_its_bounds(report: &Report) {
    assert!(report.counters.len() <= MAX_COUNTERS && report.vms.len() <= MAX_VMS);
    let of_vms = report.vms.iter().flat_map(|vm| &vm.paths);
    for path in report.paths.iter().chain(of_vms) {
        assert!(path.runs.len() <= MAX_RUNS);
        for run in &path.runs {
            assert!(run.count > 0 && run.last_age_us <= run.first_age_us);
            assert!(run.rtt_us.len().max(run.kernel_rtt_us.len()) <= MAX_SAMPLES);
        }
    }
    for vm in report.vm_reports() {
        assert!(vm.link.is_none() && vm.vms.is_empty());
        for path in &vm.paths {
            assert!(matches!(
                path.subject,
                Subject::Account(..) | Subject::Control
            ));
        }
    }
    let json = report.to_json();
    let back = Report::from_json(&json).expect("what was written");
    assert_eq!(back.to_json(), json);
}

/// A report's body as it is sent: the first byte says how it is packed.
pub(crate) fn report_body(bytes: &[u8]) -> bool {
    let Some((kind, body)) = bytes.split_first() else {
        return false;
    };
    let encoding = match kind {
        b'i' => None,
        b'g' => Some("gzip"),
        b'x' => Some("x-gzip"),
        _ => Some("br"),
    };
    let read = exporter::report(encoding, &Bytes::copy_from_slice(body));
    match &read {
        Ok(report) => keeps_its_bounds(report),
        Err(refusal) => is_a_sentence(refusal),
    }
    read.is_ok()
}

/// An exporter's answer to a report.
pub(crate) fn reply(bytes: &[u8]) -> bool {
    let subjects = asked(bytes);
    assert!(subjects.len() <= MAX_ASKED);
    for subject in &subjects {
        assert_eq!(subject.to_string().parse().as_ref(), Ok(subject));
    }
    !subjects.is_empty()
}

/// A plan, as a prober takes it and follows it.
pub(crate) fn plan(bytes: &[u8]) -> bool {
    let Ok(mut plan) = serde_json::from_slice::<Plan>(bytes) else {
        return false;
    };
    let (cluster, vantage) = (plan.cluster.clone(), plan.vantage.clone());
    if plan.id != plan.content_id() {
        assert!(plan.validate(&cluster, &vantage).is_err());
        // An exporter that means it.
        plan.id = plan.content_id();
    }
    let json = serde_json::to_vec(&plan).expect("plain values");
    let back: Plan = serde_json::from_slice(&json).expect("what was written");
    assert_eq!(back.content_id(), plan.id);
    let usable = plan.validate(&cluster, &vantage);
    match &usable {
        Ok(()) => follow(&plan),
        Err(error) => assert!(plan.version != PLAN_VERSION, "{error}"),
    }
    usable.is_ok()
}

fn follow(plan: &Plan) {
    assert!(plan.targets.len() <= MAX_PLANNED);
    let mut list = Checklist::default();
    list.rebuild(&[plan], &[([192, 0, 2, 1], 443).into()], "fuzz");
    let count = list.len();
    // The same plan changes nothing.
    list.rebuild(&[plan], &[([192, 0, 2, 1], 443).into()], "fuzz");
    assert_eq!(list.len(), count);
    let mut schedule = Schedule::new(&plan.vantage);
    let planned = list.iter().map(|(id, check)| Planned {
        id,
        subject: (*check.subject).clone(),
        probe: check.probe,
        every: check.every,
        overlap: 1,
    });
    schedule.set(planned, now().tick);
    for (id, check) in list.iter() {
        schedule.hasten(id, check.burst, 2, now().tick);
    }
    let mut batch = Batch::default();
    for millis in [0, 5, 1_000, 60_000, 86_400_000] {
        schedule.due(at(millis).tick, &mut batch);
        assert!(batch.due.len() <= count);
        for due in &batch.due {
            schedule.finished(due.id);
        }
    }
    assert_eq!(schedule.under_way(), 0);
}

/// One line of a spool, of this boot and of another.
pub(crate) fn spool(bytes: &[u8]) -> bool {
    let mut revived = false;
    for boot in ["boot-1", "boot-2"] {
        if let Some(report) = prober::spooled(bytes, boot, now()) {
            assert!(report.history && report.ready.is_empty() && report.large.is_empty());
            assert_eq!(report.sent_at, now().wall);
            // What is sent again is what an exporter takes, or refuses in a sentence.
            let _ = Report::from_json(&report.to_json());
            revived = true;
        }
    }
    revived
}

/// What a relay tells a VM.
pub(crate) fn brief(bytes: &[u8]) -> bool {
    match prober::brief(bytes) {
        Ok(brief) => {
            assert!(brief.targets.len() <= MAX_TARGETS && brief.control.len() <= MAX_TARGETS);
            assert_eq!(prober::brief(&line(&brief)), Ok(brief));
            true
        }
        Err(why) => {
            assert!(why.len() < 2048);
            false
        }
    }
}

/// What a VM tells its host's relay, and what the parser passes on, line by line, to the desk.
pub(crate) fn vm_talk(bytes: &[u8]) -> bool {
    static PLANNED: LazyLock<Vec<pnwatch_core::inventory::AccountTarget>> = LazyLock::new(|| {
        let targets = inventory().targets.iter();
        targets.map(|(_, target)| target.clone()).collect()
    });
    let mut desk = Desk::new("boot-1", Vec::new(), || "salt".to_owned(), now().tick);
    desk.set_targets(&PLANNED);
    let known = desk.brief();
    let mut read = false;
    for (n, message) in bytes.split(|b| *b == b'\n').take(64).enumerate() {
        let now = at(100 * n as u64).tick;
        let (peer, told, handed) = match FromParser::from_line(message) {
            Ok(FromParser::Told { peer, told }) => (peer, Some(told), None),
            Ok(FromParser::Handed { peer, handed }) => (peer, None, Some(handed)),
            // What a VM itself may post.
            Err(_) if message.len() <= MAX_BODY => (
                Ipv4Addr::new(192, 168, 64, 2),
                Told::from_json(message).ok(),
                Handed::from_json(message).ok(),
            ),
            Ok(FromParser::Refused { .. }) | Err(_) => continue,
        };
        read |= told.is_some() || handed.is_some();
        if let Some(told) = told {
            assert!(told.seen.len() <= MAX_SEEN);
            let passed = FromParser::Told {
                peer,
                told: told.clone(),
            };
            assert_eq!(FromParser::from_line(&line(&passed)), Ok(passed));
            let mac = Mac([2, 0, 0, 0, 0, (told.run % 7) as u8]);
            if let Some(heard) = desk.hear(peer, Some(mac), &told, now) {
                assert!(heard.items.len() <= told.seen.len());
                for item in &heard.items {
                    // Numbers that were not handed out become nothing.
                    let handed_out = known.targets.iter().any(|target| target.id == item.key);
                    assert!(handed_out || *item.subject == Subject::Control);
                }
            }
        }
        if let Some(handed) = handed {
            let _ = desk.handed(&handed, now);
        }
    }
    assert!(desk.count(at(6_400).tick).0 <= 5);
    read
}
