//! `dashboards/draw` draws every panel of every board from a recording, and says what it cannot.

#![allow(clippy::unwrap_used)] // a test fails by panicking, in its helpers too

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pnwatch_lab::boards::query::Board;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The shipped boards, each with the file it is in.
fn boards() -> Vec<(PathBuf, Value)> {
    let listed = std::fs::read_dir(root().join("dashboards")).unwrap();
    let paths = listed.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, serde_json::from_str(&text).unwrap())
        })
        .collect()
}

/// A recording in which every query of `board` had two series in one state.
fn recording(board: &Value) -> Value {
    let series = |account: &str, value: f64| {
        let metric = json!({ "account": account, "node": "n1", "device": "pn0", "le": "0.5" });
        let points: Vec<Value> = (0..20)
            .map(|n| json!([1_000 + 5 * n, (value * f64::from(n)).to_string()]))
            .collect();
        json!({ "metric": metric, "value": [1_095, value.to_string()], "values": points })
    };
    let mut answers = json!({});
    for query in Board::read(board).unwrap().queries {
        let both = json!([series("tuist", 1.0), series("acme", 2.0)]);
        answers[&query.place][&query.name] = json!({ "instant": both, "range": both });
    }
    let uid = board["uid"].as_str().unwrap();
    json!({
        "about": { "made_by": "a test", "at": "now", "exporters": 1, "scrape_s": 5, "chosen": {} },
        "states": { "full": {
            "about": "a test", "from": 1_000.0, "at": 1_095.0, "findings": ["node n1 saturated"],
            "boards": { uid: answers },
        }, "empty": {
            "about": "a test", "from": 1_000.0, "at": 1_095.0, "findings": [], "boards": {},
        } },
    })
}

fn draw(record: &Value, board: &Path, state: &str, picture: &Path) -> Output {
    let answers = picture.with_extension("answers.json");
    std::fs::write(&answers, record.to_string()).unwrap();
    Command::new("python3")
        .arg(root().join("dashboards/draw"))
        .args([answers.as_path(), board])
        .arg(state)
        .arg(picture)
        .output()
        .expect("python3 is missing; install: apt-get install -y python3")
}

#[test]
fn every_panel_is_on_the_page_and_none_is_strange() {
    let dir = tempfile::tempdir().unwrap();
    for (file, board) in boards() {
        let record = recording(&board);
        for state in ["full", "empty"] {
            let page = dir.path().join("page.html");
            let output = draw(&record, &file, state, &page);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", file.display());
            let text = std::fs::read_to_string(&page).unwrap();
            for panel in board["panels"].as_array().unwrap() {
                let title = panel["title"].as_str().unwrap();
                let title = title.replace('&', "&amp;").replace('\'', "&#x27;");
                assert!(text.contains(&title), "{}: no {title}", file.display());
            }
            assert!(!text.contains("does not know it"), "{}", file.display());
        }
    }
}

#[test]
fn a_panel_of_an_unknown_type_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut board) = boards().remove(0);
    board["panels"][0]["type"] = json!("geomap");
    let file = dir.path().join("board.json");
    std::fs::write(&file, board.to_string()).unwrap();
    let page = dir.path().join("page.html");
    let output = draw(&recording(&board), &file, "full", &page);
    assert!(output.status.success());
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("a panel of type geomap"), "{text}");
    let output = draw(&recording(&board), &file, "nowhere", &page);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("there are: empty, full"),
        "{said}"
    );
}

#[test]
fn a_picture_is_as_wide_as_promised() {
    let dir = tempfile::tempdir().unwrap();
    let (file, board) = boards().remove(0);
    let picture = dir.path().join("board.png");
    let output = draw(&recording(&board), &file, "full", &picture);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let bytes = std::fs::read(&picture).unwrap();
    // The PNG specification: a signature of 8 bytes, then IHDR with width and height.
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert_eq!(bytes.get(16..20).unwrap(), 1280u32.to_be_bytes());
    assert!(bytes.len() < 300_000, "{} bytes", bytes.len());
}
