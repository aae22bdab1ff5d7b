//! Files that people write.

use pnwatch_edge::config::{Problem, Severity, parse};
use pnwatch_edge::fuzzing;

use crate::site::{cluster, is_one_line};

/// A configuration.
pub(crate) fn config(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (config, problems) = parse(&text);
    for problem in &problems {
        is_a_line(problem, &text);
    }
    let refused = problems.iter().any(|p| p.severity == Severity::Error);
    assert!(
        config.is_some() || refused,
        "no configuration, and no word why"
    );
    config.is_some() && !refused
}

/// An inventory.
pub(crate) fn inventory(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let read = fuzzing::inventory(&text, cluster());
    match &read {
        Ok(inventory) => {
            for (subject, target) in &inventory.targets {
                assert!(inventory.nodes.contains_key(&target.node), "{subject}");
                assert_ne!(target.port, 0);
                assert_eq!(subject.to_string().parse().as_ref(), Ok(subject));
            }
        }
        Err(problem) => is_a_line(problem, &text),
    }
    read.is_ok()
}

/// Where it is and what to do, on one line of a terminal.
fn is_a_line(problem: &Problem, text: &str) {
    let said = problem.to_string();
    assert!(is_one_line(&said), "{said:?}");
    assert!(said.len() < 8 << 10, "{said:?}");
    assert!(problem.line <= text.split(['\n', '\r']).count() as u64 + 1);
}
