#![allow(
    clippy::float_cmp,
    reason = "the numbers are whole and come through unchanged"
)]

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::time::{Now, Tick, Timestamp};

const BUSY: &str = include_str!("fixtures/busy.txt");
const SILENT: &str = include_str!("fixtures/silent.txt");
const STARTED: u64 = 1_750_550_000;

fn parse(text: &str) -> Scrape {
    let names = Names::default();
    let mut parser = Parser::new(&names);
    parser.push(text.as_bytes());
    parser.finish()
}

#[test]
fn the_samples_say_what_they_say() {
    let busy = parse(BUSY);
    assert!(busy.complete && busy.has_requests);
    assert_eq!(busy.rejected, 0);
    assert_eq!(busy.public, 4211.0 + 310.0 + 1890.0 + 702.0 + 12.0);
    assert_eq!(busy.internal, 51_840.0 + 412.0 + 9123.0);
    assert_eq!(busy.unclassified, 0.0);
    assert_eq!(busy.latency_count, Some(500.0 + 500.0 + 810.0 + 12.0));
    assert_eq!(busy.egress, Some(98_765_432_100.0));
    assert_eq!(busy.started, Some(STARTED as f64));
    assert_eq!(busy.tenant.as_deref(), Some("tuist"));
    assert_eq!(busy.region.as_deref(), Some("scw-fr-par-runners"));
    let start = busy.routes["/api/cache/module/start"];
    assert_eq!((start.total, start.shed), (12.0, 12.0));

    let silent = parse(SILENT);
    assert!(silent.complete && silent.has_requests);
    assert_eq!((silent.public, silent.latency_count), (0.0, None));
    assert!(silent.routes.is_empty());
    assert_eq!(silent.internal, 51_840.0 + 412.0 + 9123.0);
}

#[test]
fn both_generations_of_names_read_alike_and_never_add_up() {
    let single = BUSY.replace("_total_total", "_total");
    assert_eq!(parse(&single), parse(BUSY));
    let both = format!("{single}{BUSY}").replace("kura_public_request_latency", "other");
    assert_eq!(parse(&both).public, parse(BUSY).public);
    assert_eq!(parse(&both).egress, parse(BUSY).egress);
}

#[test]
fn the_size_of_chunks_does_not_matter() {
    let names = Names::default();
    for size in [1, 2, 3, 7, 64, 1000] {
        let mut parser = Parser::new(&names);
        for chunk in BUSY.as_bytes().chunks(size) {
            assert!(parser.push(chunk));
        }
        assert_eq!(parser.finish(), parse(BUSY), "chunks of {size}");
    }
}

#[test]
fn a_cut_body_proves_nothing() {
    for end in [BUSY.len() - 1, BUSY.len() / 2, 100] {
        let cut = &BUSY[..end];
        assert_eq!(parse(cut).complete, cut.ends_with('\n'), "cut at {end}");
    }
    assert!(!parse("").complete);
    let names = Names::default();
    let mut parser = Parser::new(&names);
    let line = format!("x {}\n", "1".repeat(4000));
    while parser.push(line.as_bytes()) {}
    assert!(!parser.finish().complete);
}

#[test]
fn lines_of_every_shape() {
    let name = "kura_http_requests_total_total";
    for (line, public) in [
        (format!("{name}{{route=\"/a\",status=\"200\"}} 5"), 5.0),
        (
            format!("{name}{{route=\"/a\",status=\"200\",}} 5 1750550000000"),
            5.0,
        ),
        (
            format!("  {name} {{ route = \"/a\" }} 5e0 # {{trace=\"x\"}} 1"),
            5.0,
        ),
        (format!("{name}{{route=\"/a}}\\\"b\"}} 5"), 5.0),
        (format!("{name}{{route=\"/a\"}} NaN"), 0.0),
        (format!("{name}{{route=\"/a\"}} 1e308"), 0.0),
        (format!("{name}{{route=\"/a\"}} -5"), 0.0),
        (format!("{name}{{route=\"/a\"}}"), 0.0),
        (format!("{name}{{route=\"/a\" 5"), 0.0),
        (format!("{name}{{route=\"/a}} 5"), 0.0),
        (format!("{name}{{route=\"/a\"}} 5 6 7"), 0.0),
        (format!("{name}s{{route=\"/a\"}} 5"), 0.0),
    ] {
        assert_eq!(parse(&format!("{line}\n")).public, public, "{line}");
    }
    let long = format!("{name}{{route=\"/{}\"}} 5\n", "a".repeat(MAX_LINE));
    assert_eq!(parse(&long).rejected, 1);
    let hostile = parse(&format!(
        "{name}{{route=\"/a\\n\u{1b}[2J\\\u{1b}[2J\"}} 5\n"
    ));
    assert_eq!(hostile.routes.keys().collect::<Vec<_>>(), ["/a??[2J?[2J"]);
    let renamed = BUSY.replace("route=", "path=");
    assert!(parse(&renamed).unclassified > 0.0);
}

#[test]
fn routes_are_bounded_but_sums_are_whole() {
    let text: Vec<String> = (0..5000)
        .map(|n| format!("kura_http_requests_total{{route=\"/r{n}\"}} 1\n"))
        .collect();
    let text = text.concat();
    let scrape = parse(&text);
    assert_eq!((scrape.routes.len(), scrape.public), (MAX_ROUTES, 5000.0));
}

/// A pod that is scraped each 5 s, starting at 1000 s of uptime.
struct Watch {
    pod: Pod,
    at: u64,
    scrape: Scrape,
}

impl Watch {
    fn new(scrape: Scrape) -> Self {
        let mut watch = Self {
            pod: Pod::default(),
            at: 1000,
            scrape,
        };
        watch.take();
        watch
    }

    fn now(&self) -> Now {
        Now {
            tick: Tick::from_millis(self.at * 1000),
            wall: Timestamp::from_unix_seconds(STARTED + self.at),
        }
    }

    fn take(&mut self) {
        let tick = self.now().tick;
        self.pod
            .observe(self.scrape.clone(), tick, &Settings::default());
    }

    /// For `steps` scrapes, with so many requests per second.
    fn run(&mut self, steps: u32, public: f64, internal: f64) -> &mut Self {
        for _ in 0..steps {
            self.at += 5;
            self.scrape.public += public * 5.0;
            if public > 0.0 {
                let route = self.scrape.routes.entry("/api/x".into()).or_default();
                route.total += public * 5.0;
            }
            self.scrape.internal += internal * 5.0;
            self.take();
        }
        self
    }

    fn read(&self) -> PodTraffic {
        self.pod.read(self.now(), &Settings::default())
    }
}

fn zero(seconds: u64) -> Traffic {
    Traffic::Zero {
        lasted: Duration::from_secs(seconds),
    }
}

#[test]
fn flowing_then_silent() {
    let mut watch = Watch::new(parse(SILENT));
    assert_eq!(
        watch.read().public,
        Traffic::Missing,
        "one scrape is no step"
    );
    let seen = watch.run(24, 31.0, 212.0).read();
    assert_eq!(seen.public, Traffic::Flowing { rate: 31.0 });
    assert_eq!(seen.internal, Traffic::Flowing { rate: 212.0 });
    let seen = watch.run(19, 0.0, 212.0).read();
    assert_eq!(seen.public, zero(95));
    assert!((seen.before.unwrap() - 31.0).abs() < 0.01);
    assert_eq!(seen.internal, Traffic::Flowing { rate: 212.0 });
    assert_eq!(seen.usual_gap, Duration::ZERO);
}

#[test]
fn a_series_that_was_never_born_is_zero_since_the_process_started() {
    let mut watch = Watch::new(parse(SILENT));
    let seen = watch.run(3, 0.0, 212.0).read();
    assert!(!seen.born);
    assert_eq!(seen.public, zero(1015));
    assert_eq!(seen.before, None);
}

#[test]
fn a_gap_is_missing_and_silence_across_it_is_proven_by_the_counter() {
    let mut watch = Watch::new(parse(BUSY));
    watch.run(24, 31.0, 212.0).run(4, 0.0, 212.0);
    watch.at += 120;
    assert_eq!(watch.read().public, Traffic::Missing);
    assert_eq!(watch.run(1, 0.0, 212.0).read().public, zero(145));
    let mut watch = Watch::new(parse(BUSY));
    watch.run(24, 31.0, 212.0);
    watch.at += 120;
    watch.scrape.public += 3000.0;
    watch.take();
    assert!(matches!(watch.read().public, Traffic::Flowing { .. }));
}

#[test]
fn a_restart_starts_anew() {
    let mut watch = Watch::new(parse(BUSY));
    watch.run(24, 31.0, 212.0);
    watch.scrape = parse(SILENT);
    watch.scrape.started = Some((STARTED + watch.at) as f64);
    watch.scrape.internal = 0.0;
    watch.run(1, 0.0, 1.0);
    assert_eq!(watch.read().public, Traffic::Missing);
    let seen = watch.run(4, 0.0, 1.0).read();
    assert_eq!((seen.public, seen.restarts), (zero(25), 1));
    assert_eq!(seen.watched, Duration::from_secs(20));
    assert!(
        (seen.before.unwrap() - 31.0).abs() < 0.01,
        "told, not forgotten"
    );
    // A reset without a start time is seen by the sums.
    watch.scrape.started = None;
    watch.run(2, 3.0, 1.0);
    watch.scrape.public = 2.0;
    watch.run(1, 0.0, 1.0);
    assert_eq!(watch.read().restarts, 2);
}

#[test]
fn what_was_renamed_is_missing_and_not_zero() {
    for (from, to) in [
        ("route=", "path="),
        ("kura_http_requests_total", "kura_requests"),
        ("/api/", "/_internal/"),
    ] {
        let mut watch = Watch::new(parse(BUSY));
        watch.scrape.latency_count = None;
        watch.run(24, 31.0, 212.0);
        let renamed = parse(&BUSY.replace(from, to));
        for step in 0..40 {
            watch.at += 5;
            watch.scrape = renamed.clone();
            watch.scrape.unclassified *= 1.0 + 0.01 * f64::from(step);
            watch.scrape.latency_count = None;
            watch.take();
            assert_eq!(watch.read().public, Traffic::Missing, "{from} -> {to}");
        }
    }
}

#[test]
fn one_route_can_be_zero_or_shed_while_others_flow() {
    let mut watch = Watch::new(parse(BUSY));
    for _ in 0..20 {
        let start = watch.scrape.routes.get_mut("/api/cache/module/start");
        let start = start.unwrap();
        (start.total, start.shed) = (start.total + 50.0, start.shed + 40.0);
        watch.run(1, 31.0, 212.0);
    }
    let seen = watch.read();
    let route = |name: &str| seen.routes.iter().find(|r| r.route == name).unwrap();
    assert_eq!(route("/api/x").shed_share, Some(0.0));
    let start = route("/api/cache/module/start");
    assert!((start.shed_share.unwrap() - 0.8).abs() < 1e-9);
    assert_eq!(route("/api/cache/cas/{id}").traffic, zero(100));
}

#[test]
fn pauses_are_learned() {
    let mut watch = Watch::new(parse(BUSY));
    for _ in 0..10 {
        watch.run(2, 5.0, 1.0).run(12, 0.0, 1.0);
    }
    let gap = watch.run(2, 5.0, 1.0).read().usual_gap;
    assert!((59..=61).contains(&gap.as_secs()), "{gap:?}");
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::collection::vec(
        prop_oneof![
            Just(BUSY.as_bytes().to_vec()),
            Just(SILENT.as_bytes()[..300].to_vec()),
            prop::collection::vec(any::<u8>(), 0..200),
            "kura_http_requests_total(_total)?\\{[a-z=\",\\\\{} ]{0,40}\\}? ?[-0-9.eNa+]{0,20}\n?"
                .prop_map(String::into_bytes),
        ],
        0..12,
    );
    lines.prop_map(|lines| lines.concat())
}

/// Pieces that mean something to the format, or almost.
const WORDS: [&str; 16] = [
    "kura_http_requests_total_total{",
    "kura_public_request_latency_seconds_count{",
    "process_start_time_seconds ",
    "route=\"",
    "status=\"503\"",
    "\\\"",
    "\\",
    "} ",
    ",,",
    " NaN\n",
    " +Inf\n",
    " 1e308\n",
    " 1e400\n",
    "# TYPE kura_http_requests_total counter\n",
    "\0",
    "\n",
];

/// One damage: where, which, with what, how much.
type Damage = (prop::sample::Index, u8, u8, usize);

/// A real body, damaged: bytes changed, words put in, parts cut out or doubled.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damages = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            0..5_u8,
            any::<u8>(),
            1..200_usize,
        ),
        1..24,
    );
    (any::<bool>(), damages).prop_map(|(busy, damages): (bool, Vec<Damage>)| {
        let mut body = if busy { BUSY } else { SILENT }.as_bytes().to_vec();
        for (place, what, byte, much) in damages {
            let at = place.index(body.len() + 1);
            let end = (at + much).min(body.len());
            match what {
                0 => body.extend(byte.to_le_bytes()),
                1 => drop(body.drain(at..end)),
                2 => {
                    let part = body[at..end].to_vec();
                    drop(body.splice(at..at, part));
                }
                3 => {
                    if let Some(there) = body.get_mut(at) {
                        *there = byte;
                    }
                }
                _ => {
                    let word = WORDS[much % WORDS.len()].bytes();
                    drop(body.splice(at..at, word));
                }
            }
        }
        body
    })
}

proptest! {
    /// `PROPTEST_CASES=1000000` makes the recorded run of docs/recorded-runs.md of it.
    #[test]
    fn a_damaged_body_in_any_chunks_is_bounded_and_reads_alike(
        body in damaged(),
        size in 1_usize..300,
    ) {
        let names = Names::default();
        let mut whole = Parser::new(&names);
        whole.push(&body);
        let whole = whole.finish();
        let mut pieces = Parser::new(&names);
        for chunk in body.chunks(size) {
            pieces.push(chunk);
        }
        prop_assert!(whole.routes.len() <= MAX_ROUTES);
        for sum in [whole.public, whole.internal, whole.unclassified] {
            prop_assert!(sum.is_finite() && sum >= 0.0, "{}", sum);
        }
        prop_assert_eq!(&whole, &pieces.finish());
        // And after real ones: nothing that a body says makes nonsense of what is known.
        let mut watch = Watch::new(parse(BUSY));
        watch.run(24, 31.0, 212.0);
        for _ in 0..3 {
            watch.at += 5;
            watch.scrape = whole.clone();
            watch.take();
            let seen = watch.read();
            for traffic in [seen.public, seen.internal] {
                prop_assert!(traffic.rate().is_none_or(|r| r.is_finite() && r >= 0.0));
            }
        }
    }

    #[test]
    fn any_bytes_in_any_chunks_are_read_alike(body in body(), size in 1_usize..300) {
        let names = Names::default();
        let mut whole = Parser::new(&names);
        whole.push(&body);
        let whole = whole.finish();
        let mut pieces = Parser::new(&names);
        for chunk in body.chunks(size) {
            pieces.push(chunk);
        }
        prop_assert!(whole.routes.len() <= MAX_ROUTES);
        prop_assert!(whole.public >= 0.0 && whole.internal >= 0.0);
        prop_assert_eq!(whole, pieces.finish());
    }

    #[test]
    fn any_history_reads_without_nonsense(
        steps in prop::collection::vec((0_u64..400, 0.0_f64..1e9, 0.0_f64..1e9, any::<bool>()), 0..60)
    ) {
        let mut watch = Watch::new(parse(SILENT));
        for (gap, public, internal, complete) in steps {
            watch.at += gap;
            (watch.scrape.public, watch.scrape.internal) = (public, internal);
            watch.scrape.complete = complete;
            watch.take();
            let seen = watch.read();
            for traffic in [seen.public, seen.internal] {
                prop_assert!(traffic.rate().is_none_or(|r| r.is_finite() && r >= 0.0));
            }
        }
    }
}
