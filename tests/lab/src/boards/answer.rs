//! What Prometheus answers, and whether an answer can be right. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its newest value; not a number where there is none.
    pub value: f64,
}

/// Reads `data` of an answer of Prometheus' HTTP API: a vector, a matrix or a scalar.
pub fn read(data: &Value) -> Option<Vec<Series>> {
    let number = |sample: &Value| -> Option<f64> { sample.get(1)?.as_str()?.parse().ok() };
    let result = &data["result"];
    if data["resultType"] == "scalar" {
        return Some(vec![Series {
            labels: Labels::new(),
            value: number(result)?,
        }]);
    }
    let series = result.as_array()?.iter().map(|series| {
        let newest = series
            .get("value")
            .or_else(|| series["values"].as_array()?.last())?;
        let labels = series["metric"].as_object()?.iter();
        let labels = labels.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Some(Series {
            labels: labels.collect::<Option<Labels>>()?,
            value: number(newest)?,
        })
    });
    series.collect()
}

/// How Grafana names a series under `format`.
pub fn legend(format: &str, labels: &Labels) -> String {
    if format.is_empty() || format == "__auto" {
        return format!("{labels:?}");
    }
    let mut named = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("{{") {
        named.push_str(before);
        let (label, tail) = after.split_once("}}").unwrap_or((after, ""));
        named.push_str(labels.get(label.trim()).map_or("", String::as_str));
        rest = tail;
    }
    named + rest
}

/// What cannot be right about an answer, wherever it comes from: two series under one name, a
/// label that tells replicas apart, somebody who is not there.
pub fn faults(
    answer: &[Series],
    format: &str,
    known: &BTreeMap<&'static str, BTreeSet<String>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for series in answer {
        let name = legend(format, &series.labels);
        if !names.insert(name.clone()) {
            wrong.push(format!("two series are called {name:?}"));
        }
        for label in ["instance", "pod"] {
            if series.labels.contains_key(label) {
                wrong.push(format!(
                    "its series have the label {label}: one per replica"
                ));
            }
        }
        for (label, values) in known {
            let stranger = series.labels.get(*label).filter(|value| {
                // Empty is Prometheus' word for none.
                !value.is_empty() && !values.contains(*value)
            });
            if let Some(stranger) = stranger {
                wrong.push(format!("there is no {label} {stranger:?} in the lab"));
            }
        }
    }
    wrong
}

/// How far two replicas may be apart, as a share: they are scraped up to an interval apart.
const APART: f64 = 0.25;
/// What is nothing, per second or in seconds.
const LEAST: f64 = 0.2;

/// How both replicas' answer differs from what each says alone: every series of either, once,
/// with a value between theirs. Where `counted`, the answer is the sum on purpose.
pub fn compare(both: &[Series], alone: &[Vec<Series>], counted: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut single: BTreeMap<&Labels, Vec<f64>> = BTreeMap::new();
    for series in alone.iter().flatten() {
        single.entry(&series.labels).or_default().push(series.value);
    }
    if both.len() != single.len() {
        wrong.push(format!(
            "{} series with two replicas, {} with one",
            both.len(),
            single.len()
        ));
    }
    for series in both {
        let Some(values) = single.remove(&series.labels) else {
            wrong.push(format!("no replica alone has {:?}", series.labels));
            continue;
        };
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in &values {
            least = least.min(*value);
            most = most.max(*value);
        }
        if counted {
            (least, most) = (values.iter().sum(), values.iter().sum());
        }
        let value = series.value;
        // Not a number on one side alone is not within anything.
        let within = value >= least - least.abs() * APART - LEAST
            && value <= most + most.abs() * APART + LEAST;
        let none = value.is_nan() && values.iter().all(|v| v.is_nan());
        if !(within || none) {
            wrong.push(format!(
                "{:?} is {value} with two replicas, {values:?} with one each",
                series.labels
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn series(labels: &[(&str, &str)], value: f64) -> Series {
        let labels = labels
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Series {
            labels: labels.collect(),
            value,
        }
    }

    #[test]
    fn every_kind_of_answer_is_read() {
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"node": "a"}, "value": [1.5, "2.5"]}]});
        let matrix = json!({"resultType": "matrix", "result": [
            {"metric": {"node": "a"}, "values": [[1.5, "1"], [2.5, "2.5"]]}]});
        for data in [vector, matrix] {
            assert_eq!(read(&data), Some(vec![series(&[("node", "a")], 2.5)]));
        }
        let scalar = json!({"resultType": "scalar", "result": [1.5, "3"]});
        assert_eq!(read(&scalar), Some(vec![series(&[], 3.0)]));
        let nan = json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, "NaN"]}]});
        assert!(read(&nan).unwrap()[0].value.is_nan());
        for odd in [json!({}), json!({"result": [{"metric": {}}]}), json!(null)] {
            assert_eq!(read(&odd), None, "{odd}");
        }
    }

    #[test]
    fn series_are_named_as_the_legend_says() {
        let labels = series(&[("node", "a"), ("device", "pn0")], 1.0).labels;
        for (format, name) in [
            ("{{node}} {{ device }} rate", "a pn0 rate"),
            ("cap", "cap"),
            ("{{missing}}x", "x"),
            ("{{open", ""),
        ] {
            assert_eq!(legend(format, &labels), name);
        }
        assert!(legend("__auto", &labels).contains("pn0"));
    }

    #[test]
    fn what_cannot_be_right_is_found() {
        let known = [("node", BTreeSet::from(["a".to_owned()]))].into();
        let of = |answer: &[Series], format: &str| faults(answer, format, &known);
        let fine = [series(&[("node", "a")], 1.0), series(&[("node", "")], 1.0)];
        assert!(of(&fine, "{{node}}").is_empty());
        for (answer, format, said) in [
            (vec![series(&[("node", "b")], 1.0)], "", "there is no node"),
            (
                vec![series(&[("instance", "i")], 1.0)],
                "",
                "one per replica",
            ),
            (
                vec![
                    series(&[("x", "1"), ("node", "a")], 1.0),
                    series(&[("x", "2"), ("node", "a")], 1.0),
                ],
                "{{node}}",
                "two series are called",
            ),
        ] {
            let wrong = of(&answer, format);
            assert!(wrong.len() == 1 && wrong[0].contains(said), "{wrong:?}");
        }
    }

    #[test]
    fn two_replicas_answer_as_one() {
        let one = |value| vec![series(&[("node", "a")], value)];
        let (a, nan) = (one(1.0), one(f64::NAN));
        for (both, alone, counted, fine) in [
            (&a, vec![one(1.0), one(1.0)], false, true),
            // One of them was scraped a little later.
            (&a, vec![one(0.8), one(1.1)], false, true),
            (&one(2.0), vec![one(1.0), one(1.0)], false, false),
            (&one(2.0), vec![one(1.0), one(1.0)], true, true),
            (&a, vec![one(1.0), one(1.0)], true, false),
            // One of them does not see it.
            (&a, vec![one(1.0), vec![]], false, true),
            (&vec![], vec![one(1.0), one(1.0)], false, false),
            (&a, vec![vec![], vec![]], false, false),
            (&nan, vec![one(f64::NAN), one(f64::NAN)], false, true),
            (&nan, vec![one(1.0), one(1.0)], false, false),
            (&vec![], vec![vec![], vec![]], false, true),
        ] {
            let wrong = compare(both, &alone, counted);
            assert_eq!(wrong.is_empty(), fine, "{both:?} {alone:?}: {wrong:?}");
        }
        let twice = vec![
            series(&[("node", "a"), ("instance", "1")], 1.0),
            series(&[("node", "a"), ("instance", "2")], 1.0),
        ];
        assert!(!compare(&twice, &[one(1.0), one(1.0)], false).is_empty());
    }
}
