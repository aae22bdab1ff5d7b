//! What an exporter answers to a report: its plan's id, and what it wants to know now.
//!
//! `{"plan_id": "…", "burst": ["account:a/kura-a/nodeport", …]}`. An older prober ignores it, an
//! older exporter sends an empty list. Reading is total: what does not read is not asked for.

use serde::{Deserialize, Serialize};

use crate::plan::PlanId;
use crate::subject::Subject;

/// Most subjects of one answer; what is asked beyond comes with the next one.
pub const MAX_ASKED: usize = 64;

/// What an exporter answers to a report that it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// The plan that the vantage should follow.
    pub plan_id: PlanId,
    /// What is to be checked now, at burst pace ([`crate::burst::Bursts::ask`]).
    pub burst: Vec<Subject>,
}

/// What is to be checked now, of an answer's bytes: at most [`MAX_ASKED`] subjects.
pub fn asked(bytes: &[u8]) -> Vec<Subject> {
    #[derive(Deserialize, Default)]
    struct Body {
        #[serde(default)]
        burst: Vec<serde_json::Value>,
    }
    let body: Body = serde_json::from_slice(bytes).unwrap_or_default();
    let subjects = body.burst.iter().filter_map(|value| value.as_str());
    subjects
        .filter_map(|text| text.parse().ok())
        .take(MAX_ASKED)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_reads_back_and_damage_asks_for_nothing() {
        let subject: Subject = "account:a/kura-a/nodeport".parse().unwrap();
        let reply = Reply {
            plan_id: PlanId::from_wire("00ff"),
            burst: vec![subject.clone()],
        };
        let text = serde_json::to_string(&reply).unwrap();
        let committed = r#"{"plan_id":"00ff","burst":["account:a/kura-a/nodeport"]}"#;
        assert_eq!(text, committed);
        assert_eq!(asked(text.as_bytes()), std::slice::from_ref(&subject));
        for (bytes, expected) in [
            (r#"{"plan_id":"x","burst":[]}"#, 0),
            (r#"{"plan_id":"x"}"#, 0),
            (
                r#"{"burst":[1,{},"moon:x","account:a/kura-a/nodeport"]}"#,
                1,
            ),
            (r#"{"burst":"control"}"#, 0),
            ("", 0),
            ("[]", 0),
        ] {
            assert_eq!(asked(bytes.as_bytes()).len(), expected, "{bytes}");
        }
        let many = vec![subject; MAX_ASKED + 1];
        let bytes = serde_json::to_vec(&serde_json::json!({ "burst": many })).unwrap();
        assert_eq!(asked(&bytes).len(), MAX_ASKED);
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(asked(&bytes).len() <= MAX_ASKED);
        }
    }
}
