use proptest::prelude::*;

use super::super::tests::{NOW, ask, target, view};
use super::super::{Verdict, judge};
use super::*;

fn left(account: &str, measure: Measure, remaining: Option<f64>) -> BudgetLeft {
    BudgetLeft {
        account: Account::new(account).unwrap(),
        kind: VantageKind::Host,
        measure,
        remaining,
    }
}

fn compared(account: &str, before: (u64, u64), after: (u64, u64)) -> Compared {
    let sample = |(bad, total)| Sample { bad, total };
    Compared {
        account: Account::new(account).unwrap(),
        kind: VantageKind::Host,
        measure: Measure::Reachability,
        allowed: 0.0005,
        before: sample(before),
        after: sample(after),
    }
}

#[test]
fn the_table_of_budgets() {
    use Measure::{Latency, Reachability};
    let view = view(vec![target("a"), target("b")]);
    for (name, query, budgets, verdict) in [
        (
            "enough",
            "account=a&budget=0.1",
            vec![
                left("a", Reachability, Some(0.11)),
                left("a", Latency, Some(1.0)),
            ],
            Verdict::Open,
        ),
        (
            "exactly enough",
            "account=a&budget=0.1",
            vec![left("a", Reachability, Some(0.1))],
            Verdict::Open,
        ),
        (
            "spent",
            "account=a&budget=0.1",
            vec![left("a", Reachability, Some(-3.0))],
            Verdict::Closed,
        ),
        (
            "one of two measures",
            "account=a&budget=0.1",
            vec![
                left("a", Reachability, Some(1.0)),
                left("a", Latency, Some(0.0)),
            ],
            Verdict::Closed,
        ),
        (
            "one of two accounts",
            "all=1&budget=0.1",
            vec![
                left("a", Reachability, Some(1.0)),
                left("b", Reachability, Some(0.0)),
            ],
            Verdict::Closed,
        ),
        (
            "another account's",
            "account=a&budget=0.1",
            vec![
                left("a", Reachability, Some(1.0)),
                left("b", Reachability, Some(0.0)),
            ],
            Verdict::Open,
        ),
        (
            "no ledger",
            "account=a&budget=0.1",
            vec![],
            Verdict::Unknown,
        ),
        (
            "no events",
            "account=a&budget=0.1",
            vec![left("a", Reachability, None)],
            Verdict::Unknown,
        ),
        (
            "latency alone proves nothing",
            "account=a&budget=0.1",
            vec![left("a", Latency, Some(1.0))],
            Verdict::Unknown,
        ),
        (
            "a cluster node's word",
            "account=a&budget=0.1",
            vec![BudgetLeft {
                kind: VantageKind::Node,
                ..left("a", Reachability, Some(1.0))
            }],
            Verdict::Unknown,
        ),
        (
            "not asked",
            "account=a",
            vec![left("a", Reachability, Some(0.0))],
            Verdict::Open,
        ),
    ] {
        let grounds = Grounds {
            budgets: &budgets,
            ..Grounds::of(&view)
        };
        let answer = judge(&ask(query), &grounds);
        assert_eq!(answer.verdict, verdict, "{name}: {answer:?}");
        let rule = answer.reasons.first().map(|r| r.rule);
        let expected = (verdict != Verdict::Open).then_some(Rule::Budget);
        assert_eq!(rule, expected, "{name}: {answer:?}");
    }
}

#[test]
fn the_table_of_baselines() {
    let view = view(vec![target("a")]);
    let at = NOW.before(Duration::from_mins(10));
    let query = format!("account=a&baseline={at}");
    for (name, lines, verdict) in [
        (
            "as before",
            vec![compared("a", (0, 1800), (0, 600))],
            Verdict::Open,
        ),
        (
            "one more than none",
            vec![compared("a", (0, 1800), (1, 600))],
            Verdict::Open,
        ),
        (
            "every twentieth",
            vec![compared("a", (0, 1800), (30, 600))],
            Verdict::Closed,
        ),
        (
            "better",
            vec![compared("a", (90, 1800), (0, 600))],
            Verdict::Open,
        ),
        (
            "as bad as before",
            vec![compared("a", (90, 1800), (30, 600))],
            Verdict::Open,
        ),
        (
            "twice as bad",
            vec![compared("a", (90, 1800), (60, 600))],
            Verdict::Closed,
        ),
        (
            "chance explains it",
            vec![compared("a", (9, 1800), (7, 600))],
            Verdict::Open,
        ),
        (
            "too few since",
            vec![compared("a", (0, 1800), (0, 29))],
            Verdict::Unknown,
        ),
        (
            "too few before",
            vec![compared("a", (0, 29), (0, 600))],
            Verdict::Unknown,
        ),
        (
            "another account's",
            vec![compared("b", (0, 1800), (0, 600))],
            Verdict::Unknown,
        ),
        ("no ledger", vec![], Verdict::Unknown),
        (
            "worse from VMs alone",
            vec![
                compared("a", (0, 1800), (0, 600)),
                Compared {
                    kind: VantageKind::Vm,
                    ..compared("a", (0, 1800), (60, 600))
                },
            ],
            Verdict::Closed,
        ),
    ] {
        let grounds = Grounds {
            compared: &lines,
            ..Grounds::of(&view)
        };
        let answer = judge(&ask(&query), &grounds);
        assert_eq!(answer.verdict, verdict, "{name}: {answer:?}");
        let rule = answer.reasons.first().map(|r| r.rule);
        let expected = (verdict != Verdict::Open).then_some(Rule::Baseline);
        assert_eq!(rule, expected, "{name}: {answer:?}");
    }
    // The future, and what the ledger has forgotten, are no baseline.
    let lines = [compared("a", (0, 1800), (0, 600))];
    for wrong in [
        NOW.after(Duration::from_secs(1)),
        NOW.before(Duration::from_hours(6)),
    ] {
        let grounds = Grounds {
            compared: &lines,
            ..Grounds::of(&view)
        };
        let answer = judge(&ask(&format!("account=a&baseline={wrong}")), &grounds);
        assert_eq!(answer.verdict, Verdict::Unknown, "{answer:?}");
        assert!(answer.reasons[0].text.contains("within the last 5 h"));
    }
}

proptest! {
    /// More failures never make it better, and equal shares are never worse.
    #[test]
    fn worse_is_monotonous(total in 30u64..5_000, before in 0u64..50, after in 0u64..50, more in 0u64..50) {
        let before = before.min(total);
        let of = |bad: u64| compared("a", (before, total), (bad.min(total), total)).is_worse();
        prop_assert_eq!(of(before), Some(false));
        if of(after) == Some(true) {
            prop_assert_eq!(of(after.saturating_add(more)), Some(true));
        }
    }

    /// With history asked for and none there, nothing opens the gate.
    #[test]
    fn no_history_never_opens(which in 0usize..3, left in 0.01f64..0.99, age in 0u64..40_000) {
        let budget = (which != 1).then_some(left);
        let age = (which != 0).then_some(age);
        let view = view(vec![target("a")]);
        let query = Query {
            budget,
            baseline: age.map(|age| NOW.before(Duration::from_secs(age))),
            ..ask("all=1")
        };
        prop_assert!(!judge(&query, &Grounds::of(&view)).ok);
    }
}
