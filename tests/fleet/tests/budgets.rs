//! Budgets as one story: the engine and the keeper of the books as they ship, probers and network
//! of the fleet, a virtual clock. Who pays for a fault, and who is woken for it.

#![allow(clippy::unwrap_used, reason = "a test ends by failing")]

use core::time::Duration;
use std::collections::BTreeSet;

use pnwatch_core::diagnosis::rule::InForce;
use pnwatch_core::fault::{Blame, Fault, Severity};
use pnwatch_core::finding::Change;
use pnwatch_core::name::{Account, Host, Vantage, VantageKind};
use pnwatch_core::outcome::{Layer, Outcome};
use pnwatch_core::slo::{Book, Counts, Policy, SeriesKey, budget};
use pnwatch_core::time::{Now, Timestamp};
use pnwatch_core::wire::{PathReport, REPORT_VERSION, Report, Run};
use pnwatch_exporter::ledger::Keeper;
use pnwatch_fleet::fault::{Break, Target};
use pnwatch_fleet::sim::{Setup, Sim, Step};
use pnwatch_fleet::world::Size;

const ACCOUNTS: u16 = 20;
const CLEAN: Duration = Duration::from_hours(6);
/// When the first thing happens: every path is known by then.
const FIRST: Duration = Duration::from_secs(20);

/// One site, one exporter and its books.
struct Site {
    sim: Sim,
    keeper: Keeper,
    policy: Policy,
    /// Whether findings explain bad events, as they do; `false` = nobody ever names a culprit.
    explained: bool,
    second: u64,
}

impl Site {
    /// After `clean` in which every check of every account was answered.
    fn after(clean: Duration, steps: Vec<Step>) -> Self {
        let mut sim = Sim::new(
            Setup {
                size: Size {
                    nodes: 1,
                    hosts: 3,
                    vms: 1,
                    accounts: ACCOUNTS,
                    gateways: false,
                },
                exporters: 1,
                delay_ms: (10, 50),
                seed: 20_261_120,
                force: InForce::default(),
            },
            steps,
        );
        sim.listen(0);
        let begin = sim.now(0);
        let first = Now {
            tick: begin.tick.before(clean),
            wall: begin.wall.before(clean),
        };
        let keeper = Keeper::new(Book::new(first), Policy::default(), Vec::new());
        let mut site = Self {
            sim,
            keeper,
            policy: Policy::default(),
            explained: true,
            second: 0,
        };
        site.pass_clean(first, clean);
        site
    }

    fn pass_clean(&mut self, first: Now, clean: Duration) {
        let slot = Duration::from_secs(10);
        let clients = self.sim.world.vantages.clone();
        let hosts = clients
            .into_iter()
            .filter(|v| matches!(v, Vantage::Host(_)));
        let hosts: Vec<Vantage> = hosts.collect();
        for n in 0..clean.as_secs() / slot.as_secs() {
            let passed = slot * u32::try_from(n).unwrap();
            let now = Now {
                tick: first.tick.after(passed),
                wall: first.wall.after(passed),
            };
            for vantage in &hosts {
                let report = clean_report(&self.sim, vantage, n);
                self.keeper.report(&report, &self.sim.world.inventory, now);
            }
            if n.is_multiple_of(30) {
                let turn = self.keeper.turn(&[], &self.sim.world.inventory, now);
                assert!(turn.burning.is_empty(), "{:?}", turn.burning);
            }
        }
    }

    /// Second by second, as the exporter's own task does it.
    fn run_until(&mut self, until: Duration) {
        while self.second < until.as_secs() {
            self.second += 1;
            self.sim.run_until(Duration::from_secs(self.second));
            for (now, report) in self.sim.take_told(0) {
                // What a VM says is charged to no budget: its host's report carries it.
                if !matches!(report.vantage, Vantage::Vm(..)) {
                    self.keeper.report(&report, &self.sim.world.inventory, now);
                }
            }
            let open = if self.explained {
                self.sim.open(0)
            } else {
                Vec::new()
            };
            let now = self.sim.now(0);
            let turn = self.keeper.turn(&open, &self.sim.world.inventory, now);
            self.sim.set_external(0, "budget", turn.burning);
        }
    }

    /// What alerted, with when and of whom, each once; `burns` = budgets alone.
    fn opened(&self, burns: bool) -> Vec<(Duration, String, Severity)> {
        let mut known = BTreeSet::new();
        let said = self.sim.said(0).iter();
        said.filter(|s| s.transition.change != Change::Closed)
            .filter(|s| s.transition.finding.severity > Severity::Info)
            .filter(|s| known.insert(s.transition.finding.id.clone()))
            .filter(|s| (s.transition.finding.fault == Fault::BudgetBurn) == burns)
            .map(|s| {
                let finding = &s.transition.finding;
                (s.at, finding.identity.subject.clone(), finding.severity)
            })
            .collect()
    }

    fn key(account: u16) -> SeriesKey {
        let account = Account::new(format!("account-{account}")).unwrap();
        SeriesKey::reachability(account, VantageKind::Host)
    }

    fn counts(&self, account: u16, window: Duration) -> Counts {
        let key = Self::key(account);
        self.keeper.book.window(&key, window, self.sim.now(0))
    }

    /// What one objective for everybody together would say.
    fn fleet_wide(&self) -> Option<Severity> {
        let objective = self.policy.reachability;
        self.policy.table.judge(|window| {
            let all = (1..=ACCOUNTS).map(|account| self.counts(account, window));
            let (bad, total) = all.fold((0, 0), |(bad, total), counts| {
                (
                    bad + counts.bad + counts.explained,
                    total + counts.expected(window),
                )
            });
            objective.burn_rate(bad, total)
        })
    }
}

/// Ten seconds in which everything was answered.
fn clean_report(sim: &Sim, vantage: &Vantage, seq: u64) -> Report {
    let path = |subject: &pnwatch_core::subject::Subject, layer| PathReport {
        subject: subject.clone(),
        layer,
        runs: vec![Run {
            outcome: Outcome::Reached,
            count: 10,
            first_age_us: 0,
            last_age_us: 0,
            rtt_us: Vec::new(),
            kernel_rtt_us: Vec::new(),
        }],
        mac: None,
    };
    let inventory = &sim.world.inventory;
    let targets = inventory.targets.keys();
    let paths = targets.flat_map(|s| [path(s, Layer::Tcp), path(s, Layer::Http)]);
    Report {
        version: REPORT_VERSION,
        cluster: inventory.cluster.clone(),
        vantage: vantage.clone(),
        boot_id: "before".into(),
        seq,
        plan_id: None,
        sent_at: Timestamp::default(),
        stopping: false,
        history: false,
        behind: false,
        paths: paths.collect(),
        link: None,
        ready: Vec::new(),
        counters: Vec::new(),
        devices: Vec::new(),
        witness: None,
        large: Vec::new(),
        vms: Vec::new(),
    }
}

fn step(at: Duration, target: Target, what: Break, value: Option<u64>) -> Step {
    Step {
        at,
        value,
        what,
        target,
    }
}

fn account(number: u16) -> Target {
    Target::Account(Account::new(format!("account-{number}")).unwrap())
}

fn host() -> Target {
    Target::Machine(Vantage::Host(Host::new("mini-1").unwrap()))
}

/// Its events are nobody else's: `bad` and `explained` of every other account stay zero.
fn only_the_first_pays(site: &Site) {
    let hour = Duration::from_hours(1);
    for other in 2..=ACCOUNTS {
        let counts = site.counts(other, hour);
        assert_eq!((counts.bad, counts.explained), (0, 0), "account-{other}");
        let left = budget(
            &site.keeper.book,
            &site.policy,
            &Site::key(other),
            site.sim.now(0),
        );
        let left = left.and_then(|budget| budget.remaining).unwrap();
        assert!((left - 1.0).abs() < 1e-9, "account-{other}: {left}");
    }
}

#[test]
fn one_dead_account_of_twenty_pages_by_its_own_burn_rate_alone_and_all_together_would_not() {
    let mut site = Site::after(
        CLEAN,
        vec![step(FIRST, account(1), Break::PodHung, Some(0))],
    );
    site.explained = false;
    site.run_until(FIRST + Duration::from_mins(1));
    let burns = site.opened(true);
    let [(at, subject, severity)] = burns.as_slice() else {
        unreachable!("one budget burns: {burns:?}")
    };
    assert_eq!(
        (subject.as_str(), *severity),
        ("account-1/budget", Severity::Critical)
    );
    // 2 % of the budget in 24 s, and what is younger than 15 s may still be explained.
    let after = at.saturating_sub(FIRST);
    assert!(
        (Duration::from_secs(24)..Duration::from_secs(48)).contains(&after),
        "{after:?}"
    );
    for more in [60, 180] {
        site.run_until(FIRST + Duration::from_secs(more));
        assert_eq!(site.fleet_wide(), None, "after {more} s");
        only_the_first_pays(&site);
    }
}

#[test]
fn where_a_finding_names_the_account_the_budget_shows_it_and_nobody_is_woken_twice() {
    for clean in [Duration::ZERO, CLEAN] {
        let steps = vec![step(FIRST, account(1), Break::PodHung, Some(0))];
        let mut site = Site::after(clean, steps);
        site.run_until(FIRST + Duration::from_mins(3));
        assert_eq!(site.opened(true), []);
        let pages = site.opened(false);
        assert_eq!(pages.len(), 1, "{pages:?}");
        assert_eq!(pages[0].1, "account-1");
        let counts = site.counts(1, Duration::from_mins(5));
        assert_eq!(counts.bad, 0);
        assert!(counts.explained > 3 * 60, "{counts:?}");
        only_the_first_pays(&site);
    }
}

/// Each in an exporter that knows nothing but the last twenty seconds, and after six clean hours.
#[test]
fn one_hosts_fault_burns_no_account() {
    for (what, value) in [
        (Break::VmNatGone, 0),
        (Break::VmNetworkDead, 0),
        (Break::PortsFiltered, 0),
        (Break::InterfaceGone, 0),
        (Break::AddressGone, 0),
        (Break::CarrierLost, 0),
        (Break::Isolated, 0),
        (Break::MachineDead, 0),
        (Break::RouteWrong, 0),
        (Break::StatesFull, 0),
        (Break::LocalNetworkDenied, 0),
        (Break::FilterStale, 1),
    ] {
        let mut steps = vec![step(FIRST, host(), what, Some(value))];
        let end = FIRST + Duration::from_mins(1);
        steps.push(step(end, host(), what, None));
        let mut site = Site::after(Duration::ZERO, steps);
        site.run_until(end + Duration::from_secs(30));
        assert_eq!(site.opened(true), [], "{what:?} in a young exporter");
        let pages = site.opened(false);
        assert!(!pages.is_empty(), "{what:?}: nobody is blamed");
        let theirs = |subject: &str| subject == "mini-1" || subject == "host/mini-1";
        assert!(
            pages.iter().all(|(_, s, _)| theirs(s)),
            "{what:?}: {pages:?}"
        );
    }
    // Its VMs' checks are in no budget, its own are charged to it.
    for (what, pays) in [(Break::VmNatGone, false), (Break::PortsFiltered, true)] {
        let mut site = Site::after(CLEAN, vec![step(FIRST, host(), what, Some(0))]);
        site.run_until(FIRST + Duration::from_mins(4));
        assert_eq!(site.opened(true), [], "{what:?}");
        let window = Duration::from_mins(15);
        let mut charged = 0;
        for number in 1..=ACCOUNTS {
            let counts = site.counts(number, window);
            assert_eq!(counts.bad, 0, "{what:?}: account-{number}");
            charged += counts.explained;
        }
        let blamed = SeriesKey::Charged {
            blame: Blame::Host,
            subject: "mini-1".to_owned(),
        };
        let theirs = site.keeper.book.window(&blamed, window, site.sim.now(0));
        assert_eq!(theirs.explained, charged, "{what:?}");
        assert_eq!(charged > 0, pays, "{what:?}: {charged}");
    }
}

#[test]
fn a_legal_drain_of_260_seconds_is_excused() {
    let drain = Duration::from_secs(260);
    let refuses = FIRST + Duration::from_secs(15);
    let mut site = Site::after(
        CLEAN,
        vec![
            step(FIRST, account(1), Break::Draining, Some(0)),
            step(refuses, account(1), Break::PortRefused, Some(0)),
            step(FIRST + drain, account(1), Break::PortRefused, None),
            step(FIRST + drain, account(1), Break::Draining, None),
        ],
    );
    site.run_until(FIRST + drain + Duration::from_secs(40));
    assert_eq!(site.opened(true), []);
    assert_eq!(site.opened(false), []);
    let counts = site.counts(1, Duration::from_mins(10));
    assert_eq!((counts.bad, counts.explained), (0, 0), "{counts:?}");
    assert!(counts.excused > 200, "{counts:?}");
}

#[test]
fn a_rollout_of_all_pods_pages_nobody() {
    let (apart, away) = (Duration::from_secs(15), Duration::from_secs(20));
    let mut steps = Vec::new();
    for number in 1..=ACCOUNTS {
        let drains = FIRST + apart * u32::from(number - 1);
        let refuses = drains + Duration::from_secs(12);
        steps.push(step(drains, account(number), Break::Draining, Some(0)));
        steps.push(step(refuses, account(number), Break::PortRefused, Some(0)));
        steps.push(step(
            refuses + away,
            account(number),
            Break::PortRefused,
            None,
        ));
        steps.push(step(refuses + away, account(number), Break::Draining, None));
    }
    let end = FIRST + apart * u32::from(ACCOUNTS) + away + Duration::from_mins(1);
    let mut site = Site::after(CLEAN, steps);
    site.run_until(end);
    assert_eq!(site.opened(true), []);
    assert_eq!(site.opened(false), []);
    for number in 1..=ACCOUNTS {
        let counts = site.counts(number, Duration::from_mins(10));
        assert_eq!((counts.bad, counts.explained), (0, 0), "account-{number}");
        assert!(counts.excused > 0, "account-{number}: {counts:?}");
    }
}
