use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Every state in `states/`: its JSON as the API gives it, and how it looks. The expected text
/// is written anew with `PNWATCH_BLESS=1`, to be looked at in review.
#[test]
fn states_look_as_recorded_and_exit_as_they_should() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/status/states");
    for (name, code) in [
        ("healthy", 0),
        ("node-down", 1),
        ("draining", 0),
        ("just-started", 2),
        ("no-accounts", 2),
        ("blind", 2),
        ("many", 1),
        ("hostile", 2),
    ] {
        let json = std::fs::read(dir.join(format!("{name}.json"))).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let state = State::read(&json["view"], &json["findings"]);
        let text = render(&state, Paint { colored: false });
        assert_eq!(state.worst().exit_code(), code, "{name}:\n{text}");
        fits(&text, name);
        let golden = dir.join(format!("{name}.txt"));
        if std::env::var_os("PNWATCH_BLESS").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            text, expected,
            "{name}: look, then PNWATCH_BLESS=1 writes it"
        );
        // Color adds nothing but color.
        let colored = render(&state, Paint { colored: true });
        let bare = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"]
            .iter()
            .fold(colored, |text, code| text.replace(code, ""));
        assert_eq!(bare, text, "{name}");
    }
}

/// What the exporter said in the lab of each fault before it was healed
/// (`pnwatch-lab run all … --states src/client/status/states/lab`), and how it looks: every row that
/// is no variant of another.
#[test]
fn every_fault_of_the_lab_reads_in_eighty_columns() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/status/states/lab");
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    names.sort();
    for needed in [
        "healthy",
        "F1",
        "F1-blind",
        "F2",
        "F2-blind",
        "F2-lease",
        "F3",
        "F4",
        "F4-idle",
        "F6",
        "F7",
        "F8",
        "F9",
        "F10",
        "F11",
        "F12",
        "F12-host",
        "F14",
        "F15",
        "F16",
        "F17",
        "F18",
        "F19",
        "F20",
        "F21",
        "F22",
        "F23",
        "F24",
        "F25",
        "F26",
        "F27",
        "F28",
        "F29",
        "F30",
        "F31",
        "F32",
        "F32-host",
        "F34",
        "F35",
        "F36",
        "F37",
        "F38",
        "F39",
        "blackhole",
        "blackhole-unwatched",
        "single-node",
        "single-node-jobs",
    ] {
        assert!(
            names.iter().any(|name| name == needed),
            "{needed} is missing"
        );
    }
    for name in names {
        let json = std::fs::read(dir.join(format!("{name}.json"))).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let state = State::read(&json["view"], &json["findings"]);
        let text = render(&state, Paint { colored: false });
        fits(&text, &name);
        let text = format!("{text}exit code {}\n", state.worst().exit_code());
        let golden = dir.join(format!("{name}.txt"));
        if std::env::var_os("PNWATCH_BLESS").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            text, expected,
            "{name}: look, then PNWATCH_BLESS=1 writes it"
        );
    }
}

/// Only a repair may be longer: it is there to be copied.
fn fits(text: &str, name: &str) {
    let mut repair = false;
    for line in text.lines() {
        assert!(
            repair || line.chars().count() <= render::WIDTH,
            "{name}: {line}"
        );
        assert!(!line.contains(char::is_control), "{name}: {line:?}");
        repair = line.trim() == "repair:";
    }
}

#[test]
fn what_does_not_read_is_unknown_never_fine() {
    for (view, findings) in [
        (json!(null), json!(null)),
        (json!({}), json!({})),
        (json!([1]), json!("x")),
        (
            json!({"targets": [{}], "vantages": [{"vantage": "host/a", "reporting": true}]}),
            json!({}),
        ),
    ] {
        let state = State::read(&view, &findings);
        assert_eq!(state.worst().exit_code(), 2, "{view}");
        fits(&render(&state, Paint { colored: false }), "odd");
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,100}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let keys = prop::sample::select(vec![
            "targets",
            "target",
            "vantages",
            "nodes",
            "data",
            "at",
            "verdict",
            "excuse",
            "until",
            "summary",
            "repair",
            "command",
            "newest_age_s",
            "vantage",
            "account",
            "node",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_panics_or_breaks_the_table(view in anything(), findings in anything()) {
        let state = State::read(&view, &findings);
        fits(&render(&state, Paint { colored: false }), "any");
    }
}
