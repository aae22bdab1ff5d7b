//! The command as a person meets it: help, version, faults of input, exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn pnwatch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pnwatch"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

/// Expects `code` and exactly one line on stderr that begins with `pnwatch: ` and holds `words`.
#[track_caller]
fn fails(arguments: &[&str], code: i32, words: &[&str]) {
    let output = pnwatch(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.starts_with("pnwatch: "), "{said}");
    for word in words {
        assert!(
            said.contains(word),
            "{arguments:?}: {word:?} is not in {said}"
        );
    }
}

/// Writes `text` as a configuration and gives its path.
fn config(dir: &Path, text: &str) -> String {
    let path = dir.join("pnwatch.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help_and_version_answer() {
    let help = pnwatch(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for name in ["probe", "serve", "check"] {
        assert!(help.contains(&format!("\n  {name} ")), "{help}");
    }
    let version = pnwatch(&["--version"]);
    assert!(version.status.success());
    let version = String::from_utf8(version.stdout).unwrap();
    assert!(
        version.starts_with(concat!("pnwatch ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
}

#[test]
fn shells_complete_every_command_that_help_names() {
    let help = String::from_utf8(pnwatch(&["--help"]).stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let names: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = pnwatch(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for name in &names {
            assert!(script.contains(name), "{shell} does not complete {name}");
        }
    }
}

#[test]
fn a_wrong_command_line_is_one_line_and_64() {
    fails(&[], 64, &["a command is missing"]);
    fails(&["explain"], 64, &["PATH|ACCOUNT|NODE"]);
    fails(&["explain", "node/x", "--anything"], 64, &["--anything"]);
    fails(&["prboe"], 64, &["prboe", "probe"]);
    fails(&["probe"], 64, &["--config"]);
    fails(&["probe", "--confg", "x"], 64, &["--confg", "--config"]);
    fails(&["check"], 64, &["--config"]);
}

#[test]
fn a_file_that_cannot_be_read_is_66() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none.yaml");
    let none = none.to_str().unwrap();
    for command in ["probe", "serve", "check"] {
        fails(
            &[command, "--config", none],
            66,
            &[none, "name an existing file"],
        );
        let folder = dir.path().to_str().unwrap();
        fails(&[command, "--config", folder], 66, &[folder]);
    }
    let text = format!("cluster: staging\nserve:\n  inventory: {{ file: {none} }}\n");
    let file = config(dir.path(), &text);
    fails(
        &["check", "--config", &file],
        66,
        &["serve.inventory.file", none],
    );
}

#[test]
fn a_wrong_configuration_is_78_with_key_and_fix() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), "cluster: a b\n");
    for command in ["probe", "serve", "check"] {
        fails(
            &[command, "--config", &file],
            78,
            &["pnwatch.yaml:1: cluster:", "' '"],
        );
    }
    let file = config(dir.path(), "cluster: staging\n");
    fails(
        &["probe", "--config", &file],
        78,
        &["probe: required", "--print-default"],
    );
    fails(
        &["serve", "--config", &file],
        78,
        &["serve: required", "--print-default"],
    );
    let file = config(dir.path(), "cluster: staging\nlgo: {}\n");
    fails(
        &["check", "--config", &file],
        78,
        &["lgo: unknown key", "`log`"],
    );
    let file = config(dir.path(), &"x".repeat(2 << 20));
    fails(&["check", "--config", &file], 78, &["larger than 1 MiB"]);
}

#[test]
fn every_problem_is_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = config(
        dir.path(),
        "cluster: a b\nlog: { level: loud, format: xml }\n",
    );
    let output = pnwatch(&["check", "--config", &file]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 3);
}

#[test]
fn the_printed_default_passes_the_check() {
    let printed = pnwatch(&["check", "--print-default"]);
    assert!(printed.status.success());
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), &String::from_utf8(printed.stdout).unwrap());
    let checked = pnwatch(&["check", "--config", &file]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(
        String::from_utf8(checked.stdout)
            .unwrap()
            .ends_with(": good\n")
    );
}

/// A configuration of an exporter whose inventory is good; `page` is where its page listens.
fn exporter(dir: &Path, page: &str) -> String {
    let inventory = dir.join("inventory.yaml");
    std::fs::write(&inventory, "pn_cidr: 172.16.0.0/22\n").unwrap();
    let text = format!(
        "cluster: staging\nserve:\n  inventory: {{ file: {} }}\n  listen: {{ ingest: \"127.0.0.1:0\", page: \"{page}\", metrics: \"127.0.0.1:0\" }}\n",
        inventory.display()
    );
    config(dir, &text)
}

#[test]
fn a_port_in_use_is_69_and_names_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = exporter(dir.path(), &address);
    let output = pnwatch(&["serve", "--config", &file]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{said}");
    let last = said.lines().last().unwrap();
    for word in [
        "pnwatch: serve.listen.page",
        &address,
        "in use",
        "another port",
    ] {
        assert!(last.contains(word), "{word:?} is not in {last}");
    }
}

#[test]
fn a_daemon_warns_of_an_unknown_key_and_ends_cleanly_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = exporter(dir.path(), "127.0.0.1:0");
    let text = std::fs::read_to_string(&file).unwrap() + "futrue: {}\n";
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pnwatch"))
        .args(["serve", "--config", &file])
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let warning = lines.next().unwrap();
    assert!(
        warning.contains("level=warn") && warning.contains("key=futrue"),
        "{warning}"
    );
    // The daemon says when it is up; the pipe ends with it, so this cannot wait for ever.
    let up = lines.by_ref().find(|line| line.contains("serving"));
    assert!(up.is_some());
    let id = child.id().to_string();
    // Twice at once, as timeout(1) does it: one wish.
    assert!(
        Command::new("kill")
            .args(["-TERM", &id, &id])
            .status()
            .unwrap()
            .success()
    );
    let deadline = Instant::now() + Duration::from_secs(15);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            unreachable!("SIGTERM did not end the daemon");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(
        status.success(),
        "{status}: {:?}",
        lines.collect::<Vec<_>>()
    );
}

/// What a repair command quotes, a real shell gives back as the one word that it was.
#[test]
fn nothing_of_a_name_reaches_a_shell() {
    for text in [
        "kura-fleet-1",
        "",
        "a b",
        "$(touch x)",
        "`id`",
        "'; rm -rf / #",
        "\"",
        "\\",
        "a\nb",
        "*",
        "~root",
        "-n",
        "&& true",
        "é\u{202e}x",
    ] {
        let word = pnwatch_core::diagnosis::repair::shell_quoted(text);
        let output = Command::new("dash")
            .args(["-c", &format!("printf '<%s>' {word}")])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("<{text}>")
        );
    }
}
