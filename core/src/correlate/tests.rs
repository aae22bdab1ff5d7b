#![allow(
    clippy::float_cmp,
    reason = "rates of whole numbers come through unchanged"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::table::{DemandSign, InternalSign, PathSign, PublicSign, WitnessSign, verdict};
use super::*;
use crate::traffic::{Pod, RouteCount, Scrape};

/// Every row by name: what is seen, and what it means. `*` stands for any value.
const ROWS: &[(&str, &str, &str, &str, &str, &str)] = &[
    // public, path, demand, witness, internal -> verdict; the first row that fits counts.
    ("missing", "*", "*", "*", "*", "unknown"),
    ("flowing", "down", "*", "*", "*", "vantage_fault"),
    ("flowing", "split", "*", "*", "*", "vantage_fault"),
    ("flowing", "*", "*", "*", "*", "flowing"),
    ("pausing", "split", "*", "*", "*", "vantage_fault"),
    ("pausing", "down", "*", "*", "*", "unknown"),
    ("pausing", "*", "*", "*", "*", "flowing"),
    ("lull", "split", "*", "*", "*", "vantage_fault"),
    ("lull", "down", "*", "*", "*", "unknown"),
    ("lull", "*", "none", "*", "*", "idle"),
    ("lull", "*", "unknown", "quiet", "*", "idle"),
    ("lull", "*", "*", "*", "*", "unknown"),
    ("stopped", "down", "*", "*", "*", "blackhole"),
    ("dry", "down", "proven", "*", "*", "blackhole"),
    ("dry", "down", "none", "*", "*", "idle"),
    (
        "dry",
        "down",
        "unknown",
        "account_elsewhere",
        "*",
        "blackhole",
    ),
    ("dry", "down", "unknown", "quiet", "*", "idle"),
    ("dry", "down", "unknown", "*", "*", "unknown"),
    ("*", "split", "proven", "*", "*", "blackhole"),
    (
        "*",
        "split",
        "unknown",
        "account_elsewhere",
        "*",
        "blackhole",
    ),
    ("*", "split", "*", "*", "*", "vantage_fault"),
    ("*", "reached", "proven", "*", "*", "not_dispatched"),
    ("*", "reached", "none", "*", "*", "idle"),
    ("*", "reached", "unknown", "quiet", "*", "idle"),
    ("*", "reached", "unknown", "mixed", "*", "idle"),
    ("*", "reached", "unknown", "absent", "*", "unknown"),
    ("stopped", "reached", "unknown", "*", "*", "not_dispatched"),
    ("dry", "reached", "unknown", "*", "*", "unknown"),
    ("*", "unwatched", "proven", "*", "*", "blackhole"),
    ("*", "unwatched", "none", "*", "*", "idle"),
    ("*", "unwatched", "unknown", "quiet", "*", "idle"),
    (
        "*",
        "unwatched",
        "unknown",
        "account_elsewhere",
        "flowing",
        "blackhole",
    ),
    (
        "stopped",
        "unwatched",
        "unknown",
        "node_alone",
        "flowing",
        "blackhole",
    ),
    ("*", "unwatched", "*", "*", "*", "unknown"),
];

fn all_signs() -> impl Iterator<Item = Signs> {
    PathSign::ALL.iter().flat_map(|path| {
        PublicSign::ALL.iter().flat_map(move |public| {
            InternalSign::ALL.iter().flat_map(move |internal| {
                WitnessSign::ALL.iter().flat_map(move |witness| {
                    DemandSign::ALL.iter().map(move |demand| Signs {
                        path: *path,
                        public: *public,
                        internal: *internal,
                        witness: *witness,
                        demand: *demand,
                    })
                })
            })
        })
    })
}

#[test]
fn every_combination_of_signs_has_its_row() {
    let mut used = vec![false; ROWS.len()];
    let mut count = 0;
    for signs in all_signs() {
        let fits = |want: &str, is: &str| want == "*" || want == is;
        let row = ROWS.iter().position(|row| {
            fits(row.0, signs.public.as_label())
                && fits(row.1, signs.path.as_label())
                && fits(row.2, signs.demand.as_label())
                && fits(row.3, signs.witness.as_label())
                && fits(row.4, signs.internal.as_label())
        });
        let row = row.unwrap_or_else(|| panic!("no row for {signs:?}"));
        used[row] = true;
        assert_eq!(verdict(signs).as_label(), ROWS[row].5, "{signs:?}");
        count += 1;
    }
    assert_eq!(count, 4 * 6 * 2 * 5 * 3);
    assert!(
        used.iter().all(|u| *u),
        "a row that no signs reach: {used:?}"
    );
}

#[test]
fn the_promises_hold_for_every_combination() {
    for signs in all_signs() {
        let says = verdict(signs);
        let down = matches!(signs.path, PathSign::Down | PathSign::Split);
        let proof = signs.demand == DemandSign::Proven
            || matches!(
                signs.witness,
                WitnessSign::AccountElsewhere | WitnessSign::NodeAlone
            );
        if says == TrafficVerdict::Blackhole {
            assert!(down || proof, "no proof: {signs:?}");
            assert!(matches!(
                signs.public,
                PublicSign::Stopped | PublicSign::Dry
            ));
        }
        if says == TrafficVerdict::Idle {
            assert_ne!(signs.demand, DemandSign::Proven, "{signs:?}");
            assert!(
                signs.witness != WitnessSign::Absent || signs.demand == DemandSign::None,
                "idle for want of a witness: {signs:?}"
            );
        }
        if says == TrafficVerdict::NotDispatched {
            assert_eq!(signs.path, PathSign::Reached, "{signs:?}");
        }
    }
}

/// A fleet of pods that are scraped each 5 s.
struct World {
    at: u64,
    pods: Vec<(PodSight, Pod, Scrape)>,
    demand: BTreeMap<Account, Demand>,
    path: PathSight,
}

fn account(name: &str) -> Account {
    Account::new(name).unwrap()
}

impl World {
    fn new(pods: &[(&str, &str)]) -> Self {
        let pods = pods.iter().map(|(name, node)| {
            let sight = PodSight {
                account: account(name),
                instance: Instance::new(format!("kura-{name}-{node}")).unwrap(),
                node: (!node.is_empty()).then(|| Node::new(*node).unwrap()),
                traffic: PodTraffic::missing(),
            };
            let scrape = Scrape {
                complete: true,
                has_requests: true,
                started: Some(1000.0),
                ..Scrape::default()
            };
            (sight, Pod::default(), scrape)
        });
        Self {
            at: 100_000,
            pods: pods.collect(),
            demand: BTreeMap::new(),
            path: PathSight::default(),
        }
    }

    fn now(&self) -> Now {
        Now {
            tick: Tick::from_millis(self.at * 1000),
            wall: crate::time::Timestamp::from_unix_seconds(1000 + self.at),
        }
    }

    /// For so many seconds, with so many public requests per second of each pod; 212/s internal.
    fn run(&mut self, seconds: u64, public: &[f64]) -> &mut Self {
        for _ in 0..seconds / 5 {
            self.at += 5;
            let now = self.now();
            for ((sight, pod, scrape), rate) in self.pods.iter_mut().zip(public) {
                scrape.internal += 212.0 * 5.0;
                scrape.public += rate * 5.0;
                if *rate > 0.0 {
                    let route = scrape.routes.entry("/api/a".into()).or_default();
                    route.total += rate * 5.0;
                }
                let settings = crate::traffic::Settings::default();
                pod.observe(scrape.clone(), now.tick, &settings);
                sight.traffic = pod.read(now, &settings);
            }
        }
        self
    }

    fn path(&mut self, reached: usize, down: usize) -> &mut Self {
        let since = self.path.down_since.unwrap_or(self.now().tick);
        self.path = PathSight {
            reached,
            down,
            down_since: (down > 0).then_some(since),
        };
        self
    }

    fn judge(&self, pod: usize) -> Correlation {
        let sights: Vec<_> = self.pods.iter().map(|(sight, ..)| sight.clone()).collect();
        let fleet = Fleet {
            pods: &sights,
            demand: &self.demand,
        };
        let settings = Settings::default();
        correlate(&sights[pod], &self.path, &fleet, &settings, self.now())
    }

    fn says(&self, pod: usize) -> &'static str {
        self.judge(pod).verdict.as_label()
    }
}

#[test]
fn evidence_is_told_in_numbers() {
    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    world.run(600, &[31.0, 31.0]).run(95, &[0.0, 31.0]);
    world
        .demand
        .insert(account("tuist"), Demand::Proven { jobs: 4.0 });
    let seen = world.judge(0);
    assert_eq!(seen.verdict, TrafficVerdict::Blackhole);
    assert_eq!(
        seen.evidence,
        "0 public requests for 95 s; 31/s before; 212/s internal; \
         same account elsewhere 31/s; 4 jobs running"
    );
    assert!(seen.missing[0].contains("only a warning"), "{seen:?}");
}

#[test]
fn traffic_alone_warns_and_says_why_and_what_checks_confirm_it_leaves_to_them() {
    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    world.run(600, &[31.0, 31.0]).run(95, &[0.0, 31.0]);
    let say = |world: &World| diagnoses(&world.judge(0), &Settings::default(), world.now());
    let said = say(&world);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].fault, crate::fault::Fault::TrafficSilent);
    assert_eq!(said[0].severity, crate::fault::Severity::Warning);
    assert!(said[0].missing[0].contains("only a warning"));
    assert_eq!(world.now().tick.since(said[0].since).as_secs(), 95);
    assert!(say(world.path(0, 2)).is_empty());
    world.path(2, 0).run(900, &[0.0, 31.0]);
    assert_eq!(say(&world)[0].fault, crate::fault::Fault::NotDispatched);
}

#[test]
fn checks_confirm_within_ten_seconds_and_counters_alone_within_two_windows() {
    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    world.run(600, &[31.0, 31.0]).path(2, 0);
    assert_eq!(world.says(0), "flowing");
    world.path(0, 2).run(5, &[2.0, 31.0]);
    assert_eq!(
        world.says(0),
        "unknown",
        "requests of the step in which it died"
    );
    world.run(5, &[0.0, 31.0]);
    assert_eq!(world.says(0), "blackhole");

    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    world.run(600, &[31.0, 31.0]);
    for _ in 0..11 {
        assert_ne!(world.run(5, &[0.0, 31.0]).says(0), "blackhole");
    }
    assert_eq!(world.run(60, &[0.0, 31.0]).says(0), "blackhole");
}

#[test]
fn what_is_no_black_hole() {
    // An idle account, its neighbours busy.
    let mut world = World::new(&[("idle", "a"), ("x", "b"), ("y", "a")]);
    world.run(3600, &[0.0, 20.0, 20.0]);
    assert_eq!(world.says(0), "unknown");
    assert_eq!(world.path(2, 0).says(0), "idle");
    // One that stopped while its neighbours behind the same node go on.
    let mut world = World::new(&[("done", "a"), ("x", "b"), ("y", "a")]);
    world
        .run(600, &[9.0, 20.0, 20.0])
        .run(600, &[0.0, 20.0, 20.0]);
    assert_eq!(world.says(0), "unknown");
    // A quiet night.
    let mut world = World::new(&[("a", "a"), ("b", "b"), ("a", "c")]);
    world.run(600, &[9.0; 3]).run(1200, &[0.0; 3]);
    for pod in 0..3 {
        assert_eq!(world.says(pod), "idle");
    }
    // A pod that is idle, and then its path dies: nobody tried.
    world.path(0, 2).run(60, &[0.0; 3]);
    assert_eq!(world.says(0), "idle");
}

#[test]
fn a_fresh_pod_a_restart_and_a_gap_are_unknown() {
    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    world.pods[0].2.started = Some(1000.0 + world.at as f64);
    for _ in 0..120 {
        assert_ne!(world.run(5, &[0.0, 31.0]).says(0), "blackhole");
    }
    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    world.run(600, &[31.0, 31.0]);
    world.pods[0].2 = Scrape {
        complete: true,
        has_requests: true,
        started: Some(1000.0 + world.at as f64),
        ..Scrape::default()
    };
    for _ in 0..120 {
        assert_ne!(world.run(5, &[0.0, 31.0]).says(0), "blackhole");
    }
    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    world.run(600, &[31.0, 31.0]);
    world.pods[0].0.traffic = PodTraffic::missing();
    assert_eq!(world.says(0), "unknown");
    assert_eq!(world.path(0, 2).says(0), "unknown");
}

#[test]
fn a_single_node_is_never_called_idle() {
    let mut world = World::new(&[("a", "n"), ("b", "n")]);
    world.run(600, &[9.0, 9.0]).run(1200, &[0.0, 0.0]);
    assert_eq!(world.says(0), "unknown");
    assert_eq!(world.path(1, 0).says(0), "unknown");
    world
        .demand
        .insert(account("a"), Demand::Proven { jobs: 1.0 });
    assert_eq!(world.says(0), "not_dispatched");
    world.path = PathSight::default();
    assert_eq!(world.says(0), "blackhole");
    // With checks, what stopped with the path needs no witness.
    let mut world = World::new(&[("a", "n"), ("b", "n")]);
    world.run(600, &[9.0, 9.0]).path(0, 1).run(10, &[0.0, 0.0]);
    assert_eq!(world.says(0), "blackhole");
}

#[test]
fn everybody_behind_one_node_stopped_together() {
    let mut world = World::new(&[("a", "n"), ("b", "n"), ("c", "m")]);
    world.run(600, &[9.0; 3]).run(60, &[0.0, 0.0, 9.0]);
    assert_eq!(world.says(0), "blackhole");
    assert_eq!(world.says(1), "blackhole");
    assert_eq!(world.says(2), "flowing");
}

#[test]
fn pods_whose_node_is_unknown_are_no_witnesses() {
    let mut world = World::new(&[("tuist", "a"), ("tuist", "")]);
    world.run(600, &[31.0, 31.0]).run(300, &[0.0, 31.0]);
    assert_eq!(world.says(0), "unknown");
}

#[test]
fn builds_that_get_through_acquit_the_path() {
    let mut world = World::new(&[("tuist", "a")]);
    world.run(600, &[31.0]).path(0, 1).run(15, &[31.0]);
    assert_eq!(world.says(0), "vantage_fault");
}

#[test]
fn one_route_that_is_used_elsewhere_alone() {
    let mut world = World::new(&[("tuist", "a"), ("tuist", "b")]);
    for _ in 0..200 {
        let routes = &mut world.pods[1].2.routes;
        routes.entry("/api/b".into()).or_default().total += 40.0;
        world.run(5, &[31.0, 31.0]);
    }
    let seen = world.judge(0);
    assert_eq!(seen.routes.len(), 1);
    assert_eq!(seen.routes[0].route, "/api/b");
    assert_eq!(
        (seen.routes[0].elsewhere, seen.routes[0].lasted),
        (8.0, None)
    );
    // A route of a new name here: the two cannot be compared.
    world.pods[0].2.routes.insert(
        "/api/v2/b".into(),
        RouteCount {
            total: 1.0,
            shed: 0.0,
        },
    );
    world.run(5, &[31.0, 31.0]);
    assert!(world.judge(0).routes.is_empty());
}

#[test]
fn hundreds_of_503_are_shedding() {
    let mut world = World::new(&[("tuist", "a")]);
    for _ in 0..24 {
        let route = world.pods[0].2.routes.entry("/api/a".into()).or_default();
        route.shed += 20.0;
        world.run(5, &[31.0]);
    }
    let seen = world.judge(0);
    assert_eq!(
        (seen.verdict, seen.shedding.len()),
        (TrafficVerdict::Flowing, 1)
    );
    assert!((seen.shedding[0].share - 20.0 / 155.0).abs() < 1e-6);
}

/// A timeline as data: rates per pod, and what must be said at its end.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[serde(rename = "story")]
    _story: String,
    pods: Vec<ScenarioPod>,
    steps: Vec<Step>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioPod {
    account: String,
    node: String,
    #[serde(default)]
    fresh: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    for_s: u64,
    public: Vec<f64>,
    internal: f64,
    #[serde(default)]
    second_route: Vec<f64>,
    #[serde(default)]
    shed: Vec<f64>,
    #[serde(default)]
    path: Option<ScenarioPath>,
    #[serde(default)]
    demand: BTreeMap<String, f64>,
    /// Which pods; all where it is empty.
    #[serde(default)]
    judge: Vec<usize>,
    expect: Vec<String>,
    #[serde(default)]
    fault: Vec<Option<String>>,
}

#[derive(serde::Deserialize)]
struct ScenarioPath {
    reached: usize,
    down: usize,
}

fn replay(name: &str, text: &str) {
    let scenario: Scenario = serde_json::from_str(text).unwrap();
    let pods: Vec<_> = scenario
        .pods
        .iter()
        .map(|p| (p.account.as_str(), p.node.as_str()))
        .collect();
    let mut world = World::new(&pods);
    for (pod, spec) in world.pods.iter_mut().zip(&scenario.pods) {
        if spec.fresh {
            pod.2.started = Some(1000.0 + 100_000.0);
        }
    }
    for (n, step) in scenario.steps.iter().enumerate() {
        let place = format!("{name}, step {n}");
        assert_eq!(
            step.internal, 212.0,
            "{place}: the world's pods replicate at 212/s"
        );
        if let Some(path) = &step.path {
            world.path(path.reached, path.down);
        } else {
            world.path = PathSight::default();
        }
        world.demand = step
            .demand
            .iter()
            .map(|(a, jobs)| (account(a), Demand::Proven { jobs: *jobs }))
            .collect();
        for _ in 0..step.for_s / 5 {
            for (pod, (_, _, scrape)) in world.pods.iter_mut().enumerate() {
                let rate = |rates: &[f64]| rates.get(pod).copied().unwrap_or(0.0) * 5.0;
                if rate(&step.second_route) > 0.0 {
                    let route = scrape.routes.entry("/api/b".into()).or_default();
                    route.total += rate(&step.second_route);
                }
                if rate(&step.shed) > 0.0 {
                    let route = scrape.routes.entry("/api/a".into()).or_default();
                    route.shed += rate(&step.shed);
                }
            }
            world.run(5, &step.public);
        }
        let judged = if step.judge.is_empty() {
            (0..pods.len()).collect()
        } else {
            step.judge.clone()
        };
        assert_eq!(judged.len(), step.expect.len(), "{place}");
        for (i, pod) in judged.iter().enumerate() {
            let seen = world.judge(*pod);
            assert_eq!(
                seen.verdict.as_label(),
                step.expect[i],
                "{place}, pod {pod}: {seen:?}"
            );
            let Some(fault) = step.fault.get(i) else {
                continue;
            };
            let said = diagnoses(&seen, &Settings::default(), world.now());
            let said = said.first().map(|d| d.fault.as_label());
            assert_eq!(said, fault.as_deref(), "{place}, pod {pod}");
        }
    }
}

#[test]
fn the_outages_and_incidents_are_judged_right() {
    for (name, text) in [
        (
            "series stopped",
            include_str!("scenarios/outage-series-stopped.json"),
        ),
        (
            "series never born",
            include_str!("scenarios/outage-series-never-born.json"),
        ),
        (
            "F6",
            include_str!("scenarios/f6-one-client-never-learned.json"),
        ),
        ("F14", include_str!("scenarios/f14-controller-rollout.json")),
        ("F16", include_str!("scenarios/f16-shedding.json")),
    ] {
        replay(name, text);
    }
}

proptest! {
    #[test]
    fn no_black_hole_without_proof(
        rates in prop::collection::vec(prop::collection::vec(0.0_f64..50.0, 4), 1..12),
        silent in prop::collection::vec(any::<[bool; 4]>(), 12),
        (reached, down) in (0_usize..2, 0_usize..2),
        jobs in prop::option::of(0.0_f64..3.0),
    ) {
        let mut world = World::new(&[("t", "a"), ("t", "b"), ("u", "a"), ("u", "c")]);
        if let Some(jobs) = jobs {
            world.demand.insert(account("t"), Demand::Proven { jobs });
        }
        world.run(300, &[9.0; 4]).path(reached, down);
        for (rates, silent) in rates.iter().zip(&silent) {
            let rates: Vec<f64> = rates.iter().zip(silent).map(|(r, s)| if *s { 0.0 } else { *r }).collect();
            world.run(95, &rates);
            let seen = world.judge(0);
            if seen.verdict == TrafficVerdict::Blackhole {
                let elsewhere = seen.signs.witness == WitnessSign::AccountElsewhere
                    || seen.signs.witness == WitnessSign::NodeAlone;
                prop_assert!(down > 0 || elsewhere || jobs.is_some_and(|j| j > 0.0));
                prop_assert_eq!(world.pods[0].0.traffic.public.rate(), Some(0.0));
            }
            prop_assert!(!seen.evidence.contains("NaN"));
        }
    }
}
