//! What Apple's commands say, read by the real program in a process without rights.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use pnwatch_core::link::{DeviceState, LinkFacts};
use pnwatch_prober::mac::apart::{Answer, ApartError, Question, Said, answer, ask, is_possible};
use tempfile::TempDir;

use crate::blocks::{blocks, part};

fn question(said: Said) -> Question {
    Question {
        device: "vlan0".to_owned(),
        pn: "172.16.0.0/22".parse().unwrap(),
        said,
    }
}

fn leg(ifconfig: &str) -> Question {
    question(Said::Leg {
        ifconfig: ifconfig.to_owned(),
        route: Some(([172, 16, 0, 2].into(), String::new())),
        summary: String::new(),
        lease_file: String::new(),
        wall: 1_795_177_200 * 1_000_000_000,
    })
}

fn filter(said: &str) -> Question {
    let part = |name| part(said, name).map(str::to_owned);
    question(Said::Filter {
        info: part("info"),
        memory: part("memory"),
        main: part("main"),
        rules: part("rules"),
        sources: part("sources"),
        nat: part("nat"),
        errors: part("errors").unwrap_or_default(),
    })
}

/// The program where nobody may start it, or a script in its place.
struct Program {
    dir: TempDir,
}

impl Program {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    // Both are written by another process: a descriptor of ours that a child of another test
    // inherits would make them busy.
    fn real(&self) -> PathBuf {
        let at = self.dir.path().join("pnwatch");
        let mut copy = Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_pnwatch")).arg(&at);
        assert!(copy.status().unwrap().success());
        at
    }

    fn script(&self, text: &str) -> PathBuf {
        let at = self.dir.path().join("script");
        let mut write = Command::new("sh");
        let words = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$2\" && chmod 755 \"$2\"";
        write.args(["-c", words, "sh", text]).arg(&at);
        assert!(write.status().unwrap().success());
        at
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_output_is_read_apart_as_it_is_here() {
    let program = Program::new();
    let program = program.real();
    let legs = blocks("ifconfig.txt");
    let legs = legs.iter().map(|block| leg(&block.said));
    let filters = blocks("pf.txt");
    let filters = filters.iter().map(|block| filter(&block.said));
    for question in legs.chain(filters) {
        let apart = ask(&program, &question).await.unwrap();
        assert_eq!(apart, answer(&question));
    }
    // As much as the commands may say, of what JSON writes longest.
    let long = leg(&"\u{1}".repeat(256 << 10));
    assert_eq!(ask(&program, &long).await.unwrap(), answer(&long));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_no_rights_and_no_words_of_ours() {
    assert!(is_root(), "this test lowers rights: run it as root");
    let program = Program::new();
    // It says who it is where an answer should be.
    let seen = program.dir.path().join("seen");
    std::fs::create_dir(&seen).unwrap();
    std::fs::set_permissions(&seen, Permissions::from_mode(0o777)).unwrap();
    let script = program.script(&format!(
        "{{ id -u; id -g; id -G; env | grep -cv '^\\(PWD\\|SHLVL\\|_\\)='; pwd; }} >{}/who; cat >/dev/null",
        seen.display()
    ));
    let error = ask(&script, &leg("")).await.unwrap_err();
    assert!(matches!(error, ApartError::Answer), "{error}");
    let who = std::fs::read_to_string(seen.join("who")).unwrap();
    assert_eq!(who, "65534\n65534\n65534\n0\n/\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lies_stalls_floods_or_dies_is_not_believed() {
    let program = Program::new();
    for (script, word) in [
        ("exit 3", "could not read"),
        ("cat >/dev/null; exit 3", "that is none"),
        ("cat >/dev/null; echo '{\"filter\":{}}'", "that is none"),
        ("cat >/dev/null; yes", "that is none"),
        ("cat >/dev/null; exec sleep 60", "longer than 3 s"),
    ] {
        // More than a pipe holds: who does not read it breaks it.
        let error = ask(&program.script(script), &leg(&"x".repeat(200_000))).await;
        let said = error.unwrap_err().to_string();
        assert!(said.contains(word), "{script}: {said}");
    }
    let none = program.dir.path().join("none");
    assert!(matches!(
        ask(&none, &leg("")).await,
        Err(ApartError::System(_))
    ));
}

#[test]
fn an_answer_that_no_reader_gives_is_refused() {
    let asked = leg("");
    let right = answer(&asked);
    assert!(is_possible(&asked, &right));
    assert!(!is_possible(&filter(""), &right));
    let Answer::Leg { facts, arp } = right else {
        unreachable!("a leg was asked for")
    };
    let wrong: [fn(&mut LinkFacts); 4] = [
        |facts| facts.device = "en0".to_owned(),
        |facts| facts.route = None,
        |facts| facts.route.as_mut().unwrap().device = Some("$(reboot)".to_owned()),
        |facts| facts.filter = Some(pnwatch_core::filter::FilterFacts::default()),
    ];
    for change in wrong {
        let mut facts = facts.clone();
        assert_eq!(facts.state, DeviceState::Absent);
        change(&mut facts);
        assert!(!is_possible(&asked, &Answer::Leg { facts, arp }));
    }
}

fn is_root() -> bool {
    let said = Command::new("id").arg("-u").output().unwrap();
    said.stdout == b"0\n"
}
