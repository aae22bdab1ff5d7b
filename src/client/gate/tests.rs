use serde_json::Value;

use super::ask::{Reason, Said, Verdict, read};
use super::*;

fn response(status: u16, body: &str) -> pnwatch_edge::http::Response {
    pnwatch_edge::http::Response {
        status,
        headers: pnwatch_edge::http::Request::get("").headers,
        body: body.as_bytes().to_vec().into(),
    }
}

fn code_of(status: u16, body: &str) -> u8 {
    read(&response(status, body)).exit_code()
}

#[test]
fn only_a_whole_open_answer_is_zero() {
    let body = |ok: bool, verdict: &str, targets: u8, measured: u8| {
        format!(
            r#"{{"cluster":"c","data":{{"ok":{ok},"verdict":"{verdict}","reasons":[],"targets":{targets},"measured":{measured}}}}}"#
        )
    };
    let open = body(true, "open", 2, 2);
    assert_eq!(code_of(200, &open), 0);
    for (status, body, code) in [
        (200, body(false, "closed", 2, 2), 1),
        (200, body(false, "unknown", 2, 0), 2),
        // Contradictions, and open for want of data.
        (200, body(false, "open", 2, 2), 2),
        (200, body(true, "closed", 2, 2), 2),
        (200, body(true, "open", 0, 0), 2),
        (200, body(true, "open", 2, 0), 2),
        (200, body(true, "ajar", 2, 2), 2),
        // Not the gate.
        (200, String::new(), 78),
        (200, "<html>welcome</html>".into(), 78),
        (200, r#"{"data":{"ok":true}}"#.into(), 78),
        (200, r#"{"data":{"ok":true,"verdict":"open"}}"#.into(), 78),
        (204, open.clone(), 78),
        (302, open.clone(), 78),
        (404, open.clone(), 78),
        (
            400,
            r#"{"error":{"message":"unknown parameter"}}"#.into(),
            64,
        ),
        (401, open.clone(), 78),
        (403, String::new(), 78),
        (421, open.clone(), 78),
        (408, open.clone(), 69),
        (429, open.clone(), 69),
        (500, open.clone(), 69),
        (503, open, 69),
    ] {
        assert_eq!(code_of(status, &body), code, "{status} {body}");
    }
}

fn told(verdict: Verdict, reasons: usize) -> Told {
    let hostile = "::error::x\n::set-output name=a::b | <b> %0A \u{1b}[31m @all";
    Told {
        selection: "all".into(),
        end: End::Said(Said {
            verdict,
            cluster: "staging".into(),
            reasons: vec![
                Reason {
                    rule: "reached".into(),
                    about: "account:acme".into(),
                    text: hostile.into(),
                };
                reasons
            ],
            targets: 3,
            measured: 3,
        }),
        waited: Duration::from_millis(1500),
        overridden: None,
    }
}

#[test]
fn json_says_what_the_exit_code_says() {
    for (verdict, code) in [
        (Verdict::Open, 0),
        (Verdict::Closed, 1),
        (Verdict::Unknown, 2),
    ] {
        let value: Value = serde_json::from_str(&tell::json(&told(verdict, 1))).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["exit_code"], code);
        assert_eq!(value["ok"], code == 0);
        assert_eq!(value["verdict"], verdict.word());
    }
}

#[test]
fn junit_counts_and_escapes() {
    let closed = tell::junit(&told(Verdict::Closed, 2));
    assert!(closed.contains("failures=\"1\" errors=\"0\""), "{closed}");
    assert!(
        closed.contains("&lt;b&gt;") && !closed.contains('\u{1b}'),
        "{closed}"
    );
    let unknown = tell::junit(&told(Verdict::Unknown, 1));
    assert!(unknown.contains("failures=\"0\" errors=\"1\""), "{unknown}");
    let open = tell::junit(&told(Verdict::Open, 0));
    assert!(
        open.contains("failures=\"0\" errors=\"0\"") && !open.contains("<failure"),
        "{open}"
    );
    for report in [closed, unknown, open] {
        let conditions = pnwatch_core::gate::Rule::ALL.len();
        assert_eq!(report.matches("<testcase").count(), conditions, "{report}");
        // As many elements closed as opened.
        let closers = report.matches("</").count() + report.matches("/>").count();
        let openers = report.matches('<').count() - report.matches("</").count() - 1;
        assert_eq!(openers, closers, "{report}");
    }
}

#[test]
fn what_comes_off_the_network_is_no_command() {
    let told = told(Verdict::Closed, 30);
    let commands = github::commands(&told);
    let annotations: Vec<&str> = commands.lines().filter(|l| l.starts_with("::")).collect();
    assert_eq!(annotations.len(), github::MAX_ANNOTATIONS);
    for line in &annotations {
        assert!(
            line.starts_with("::error title=pnwatch gate%3A closed::"),
            "{line}"
        );
        assert!(!line.contains("%0A ") || line.contains("%250A"), "{line}");
    }
    assert!(
        annotations[9].contains("21 more reasons"),
        "{}",
        annotations[9]
    );
    for text in [&commands, &tell::text(&told), &github::outputs(&told)] {
        assert!(!text.contains('\u{1b}'));
        assert!(
            !text
                .lines()
                .any(|l| l.starts_with("::set-output") || l.starts_with("::error::"))
        );
    }
    assert_eq!(github::outputs(&told).lines().count(), 4);
    let summary = github::summary(&told);
    assert!(summary.contains("\\|") && summary.contains("&lt;b&gt;") && !summary.contains("@all"));
}

#[test]
fn an_override_is_loud_and_zero() {
    for end in [
        told(Verdict::Closed, 1).end,
        End::misused(69, "no connection"),
        End::misused(0, "a code of 0 is no way out"),
    ] {
        let code = end.exit_code();
        assert_ne!(code, 0);
        let mut told = told(Verdict::Closed, 1);
        (told.end, told.overridden) = (end, Some("ship the fix".into()));
        assert_eq!(told.exit_code(), 0);
        assert!(tell::text(&told).starts_with("GATE OVERRIDDEN: ship the fix\n"));
        assert!(github::commands(&told).starts_with("::warning title="));
        assert!(github::summary(&told).contains("overridden:** ship the fix"));
        assert!(github::outputs(&told).contains("overridden=true"));
    }
}

#[test]
fn durations_and_reasons_of_the_command_line() {
    assert_eq!(timeout("5m"), Ok(Duration::from_mins(5)));
    for bad in ["5", "", "7h", "-1s"] {
        assert!(timeout(bad).is_err(), "{bad}");
    }
    assert_eq!(because(" why "), Ok("why".to_owned()));
    assert!(because("  ").is_err() && because(&"x".repeat(201)).is_err());
}
