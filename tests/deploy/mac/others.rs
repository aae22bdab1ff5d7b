//! Removing, verifying, rolling out, and what launchd reads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{BINARY, BOOTOUT, CONFIG, Mac, PLIST, said};
use crate::chart::{root, text};

#[test]
fn uninstalling_twice_is_no_fault() {
    let mac = Mac::with_version_1();
    fs::write(
        mac.installed("usr/local/bin/tuist-pnwatch.old.77"),
        "left over",
    )
    .unwrap();
    let (output, calls) = mac.run("uninstall.sh", &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls, [BOOTOUT]);
    for path in [BINARY, PLIST, "etc/newsyslog.d/dev.tuist.pnwatch.conf"] {
        assert!(!mac.installed(path).exists(), "{path}");
    }
    assert!(mac.installed(CONFIG).exists(), "the configuration stays");
    mac.assert_tidy();
    let (output, calls) = mac.run("uninstall.sh", &["--purge"]);
    assert!(
        output.status.success() && calls.is_empty(),
        "{output:?} {calls:?}"
    );
    assert!(!mac.installed("etc/pnwatch").exists());
}

#[test]
fn the_verifier_names_what_is_wrong() {
    let mac = Mac::with_version_1();
    let (output, _) = mac.run("verify.sh", &[]);
    let lines = said(&output);
    assert!(output.status.success(), "{lines}");
    assert_eq!(
        lines.lines().filter(|line| line.starts_with("ok ")).count(),
        10,
        "{lines}"
    );

    fs::set_permissions(mac.installed(PLIST), fs::Permissions::from_mode(0o666)).unwrap();
    fs::remove_file(mac.at("loaded")).unwrap();
    mac.stand_in("curl", "#!/bin/sh\nprintf 503\n");
    mac.stand_in("codesign", "#!/bin/sh\nexit 1\n");
    let (output, _) = mac.run("verify.sh", &[]);
    let lines = said(&output);
    assert_eq!(output.status.code(), Some(1));
    for what in [
        "property list:",
        "signature:",
        "job is loaded:",
        "job runs:",
        "alive:",
        "ready:",
    ] {
        assert!(lines.contains(&format!("FAIL  {what}")), "{what}: {lines}");
    }
}

/// ssh and scp that reach Macs of this test: `ssh HOST COMMAND` runs the command here.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done
echo "ssh $2 $3" >>"$CALLS"
case $2 in down-*) exit 255 ;; esac
case $3 in
    *mktemp*) mkdir -p "$STATE/far-$2"; echo /tmp/pnwatch.far ;;
    *--version*) cat "$STATE/version-$2" 2>/dev/null || echo none ;;
    *install.sh*) case $2 in bad-*) exit 1 ;; esac; echo 'pnwatch 2' >"$STATE/version-$2" ;;
esac
"#;

#[test]
fn a_roll_out_goes_host_by_host_and_stops_at_the_first_fault() {
    let mac = Mac::new();
    mac.stand_in("ssh", SSH);
    mac.stand_in(
        "scp",
        "#!/bin/sh\nfor last; do :; done\necho \"scp $last\" >>\"$CALLS\"\n",
    );
    mac.file("version-mini-1", "pnwatch 1\n");
    let hosts = mac.file("hosts", "# all\nmini-1\n\nbad-2 # broken\nmini-3\n");
    fs::create_dir(mac.at("settings")).unwrap();
    mac.file("settings/mini-1.yaml", "cluster: one\n");
    mac.file("settings/mini-1.token", "t\n");
    let settings = mac.at("settings").to_str().unwrap().to_owned();
    let (output, calls) = mac.run(
        "fleet.sh",
        &["install", &hosts, &mac.program("2"), &settings],
    );
    let lines = said(&output);
    assert_eq!(output.status.code(), Some(1), "{lines}");
    assert!(lines.contains("pnwatch 1 -> pnwatch 2"), "{lines}");
    assert!(
        lines.contains("none -> none") && lines.contains("bad-2") && lines.contains("untouched"),
        "{lines}"
    );
    assert!(
        !calls.iter().any(|call| call.contains("mini-3")),
        "{calls:?}"
    );
    let install = calls
        .iter()
        .find(|call| call.contains("install.sh"))
        .unwrap();
    assert!(
        install.contains("--binary /tmp/pnwatch.far/tuist-pnwatch"),
        "{install}"
    );
    assert!(
        install.contains("--config") && install.contains("--token"),
        "{install}"
    );
    let cleaned = calls
        .iter()
        .filter(|call| call.contains("rm -rf /tmp/pnwatch.far"))
        .count();
    assert_eq!(cleaned, 2, "{calls:?}");

    let hosts = mac.file("hosts", "mini-1\ndown-9\n");
    let (output, _) = mac.run("fleet.sh", &["versions", &hosts]);
    let lines = said(&output);
    assert!(
        output.status.success() && lines.contains("pnwatch 2") && lines.contains("unreachable"),
        "{lines}"
    );
    for (content, code) in [("# none\n", 66), ("-oProxyCommand=x\n", 66)] {
        let hosts = mac.file("hosts", content);
        let (output, calls) = mac.run("fleet.sh", &["versions", &hosts]);
        assert_eq!(output.status.code(), Some(code), "{content}");
        assert!(calls.is_empty());
    }
}

#[test]
fn the_property_list_says_what_launchd_needs() {
    let script =
        "import json, plistlib, sys; json.dump(plistlib.load(open(sys.argv[1], 'rb')), sys.stdout)";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(root().join("deploy/macos/dev.tuist.pnwatch.plist"))
        .output()
        .expect("python3 is needed (package python3)");
    assert!(output.status.success(), "{output:?}");
    let plist: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plist["Label"], "dev.tuist.pnwatch");
    for key in ["RunAtLoad", "KeepAlive"] {
        assert_eq!(plist[key], true, "{key}");
    }
    assert_eq!(plist["ThrottleInterval"], 10);
    assert_eq!(plist["StandardErrorPath"], "/var/log/tuist-pnwatch.log");
    assert_eq!(plist["Umask"], 0o027);
    let words: Vec<&str> = plist["ProgramArguments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_str().unwrap())
        .collect();
    assert_eq!(
        words[3..],
        [
            "/usr/local/bin/tuist-pnwatch",
            "probe",
            "--config",
            "/etc/pnwatch/pnwatch.yaml"
        ]
    );

    // The shell really becomes the program, under the process id that it wrote down.
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let script = words[2].replace("/var/run/tuist-pnwatch.pid", pid_file.to_str().unwrap());
    assert_ne!(script, words[2]);
    let output = Command::new(words[0])
        .args([
            words[1],
            &script,
            "/bin/sh",
            "-c",
            "echo $$ \"$@\"",
            "probe",
            "--config",
            "x",
        ])
        .output()
        .unwrap();
    let pid = fs::read_to_string(pid_file).unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{} --config x\n", pid.trim())
    );
    let rotation = text("deploy/macos/newsyslog.conf");
    let line: Vec<&str> = rotation
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(line[0], plist["StandardOutPath"]);
    assert_eq!(line[7..], ["/var/run/tuist-pnwatch.pid", "15"]);
}
