use std::collections::BTreeMap;

use super::*;
use crate::webhook::Alert;

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn notification(at: i64, status: &str, name: &str, starts_at: i64) -> Notification {
    let labels = [
        ("alertname", name),
        ("subject", "n"),
        ("severity", "critical"),
    ];
    Notification {
        at: second(at),
        receiver: "pnwatch-page".to_owned(),
        alerts: vec![Alert {
            status: status.to_owned(),
            labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            annotations: BTreeMap::new(),
            starts_at: Some(second(starts_at)),
        }],
    }
}

fn story(told: Vec<Told>) -> Story {
    Story {
        mark: 0,
        told,
        allowed: Vec::new(),
        wrong: Vec::new(),
        measured: BTreeMap::new(),
    }
}

fn told() -> Told {
    Told {
        key: ("PNNodeUnreachable", "n".to_owned(), "critical"),
        began: Some(second(10)),
        ended: Some(second(60)),
        resolves: true,
    }
}

fn wrongs(arrived: &[Notification]) -> Vec<String> {
    let mut story = story(Vec::new());
    let line = story.line(arrived, &told());
    assert_eq!(line.alertname, "PNNodeUnreachable");
    let other = story.unexpected(arrived, &[told()]);
    let other = other.into_iter().map(|(name, ..)| name);
    story.wrong.into_iter().chain(other).collect()
}

#[test]
fn once_each_way_with_its_true_time_is_right() {
    let name = "PNNodeUnreachable";
    let fired = notification(12, "firing", name, 10);
    let ended = notification(70, "resolved", name, 10);
    assert!(wrongs(&[fired.clone(), ended.clone()]).is_empty());
    for (arrived, word) in [
        (vec![fired.clone()], "0 resolved"),
        (
            vec![fired.clone(), fired.clone(), ended.clone()],
            "2 firing",
        ),
        (
            vec![fired.clone(), notification(50, "resolved", name, 10)],
            "before its cause ended",
        ),
        (
            vec![notification(12, "firing", name, 20), ended.clone()],
            "off by 10.0 s",
        ),
        (
            vec![fired, ended, notification(30, "firing", "PNOther", 30)],
            "PNOther",
        ),
    ] {
        let wrong = wrongs(&arrived);
        assert!(
            wrong.len() == 1 && wrong[0].contains(word),
            "{word}: {wrong:?}"
        );
    }
}
