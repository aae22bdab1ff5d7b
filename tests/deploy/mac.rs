//! The Mac's installer, uninstaller, verifier and roll-out under dash, with stand-ins for what
//! only a Mac has: each writes its call into one log, whose order is compared. The property list
//! is read by Python's plistlib.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::chart::{root, text};

const PLIST: &str = "Library/LaunchDaemons/dev.tuist.pnwatch.plist";
const BINARY: &str = "usr/local/bin/tuist-pnwatch";
const CONFIG: &str = "etc/pnwatch/pnwatch.yaml";

/// launchd in small: `loaded` holds the pid; a program that says CRASH has a new pid whenever it
/// is looked at.
const LAUNCHCTL: &str = r#"#!/bin/sh
[ "$1" = print ] || echo "launchctl $*" >>"$CALLS"
state=$STATE/loaded
case $1 in
    print)
        [ -e "$state" ] || exit 113
        if grep -q CRASH "$PNWATCH_ROOT/usr/local/bin/tuist-pnwatch"; then echo $(($(cat "$state") + 1)) >"$state"; fi
        printf 'system/dev.tuist.pnwatch = {\n\tstate = running\n\tpid = %s\n}\n' "$(cat "$state")" ;;
    bootstrap)
        [ ! -e "$state" ] || exit 37
        if grep -q REFUSED "$PNWATCH_ROOT/Library/LaunchDaemons/dev.tuist.pnwatch.plist"; then exit 5; fi
        echo 100 >"$state" ;;
    kickstart) echo $(($(cat "$state") + 100)) >"$state" ;;
    bootout) rm "$state" ;;
esac
"#;

/// A Mac: its root, its stand-ins, and the log of their calls.
struct Mac {
    dir: TempDir,
}

impl Mac {
    fn new() -> Self {
        let mac = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(mac.at("bin")).unwrap();
        fs::create_dir_all(mac.at("root/var/run")).unwrap();
        fs::create_dir_all(mac.at("root/var/log")).unwrap();
        // The scripts stand in a copy, so that a test can change the property list.
        fs::create_dir_all(mac.at("pack")).unwrap();
        for name in [
            "install.sh",
            "uninstall.sh",
            "verify.sh",
            "fleet.sh",
            "places.sh",
            "newsyslog.conf",
            "dev.tuist.pnwatch.plist",
        ] {
            fs::copy(
                root().join("deploy/macos").join(name),
                mac.at("pack").join(name),
            )
            .unwrap();
        }
        mac.stand_in("launchctl", LAUNCHCTL);
        for name in ["codesign", "chown", "sleep"] {
            mac.stand_in(
                name,
                &format!("#!/bin/sh\necho \"{name} $*\" >>\"$CALLS\"\n"),
            );
        }
        mac.stand_in("plutil", "#!/bin/sh\ngrep -q '</plist>' \"$2\"\n");
        mac.stand_in("uname", "#!/bin/sh\necho Darwin\n");
        mac.stand_in("id", "#!/bin/sh\necho 0\n");
        mac.stand_in(
            "stat",
            "#!/bin/sh\nprintf 'root:wheel %s\\n' \"$(/usr/bin/stat -c %a \"$3\")\"\n",
        );
        mac.stand_in("curl", "#!/bin/sh\nprintf 200\n");
        mac
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn installed(&self, path: &str) -> PathBuf {
        self.at("root").join(path)
    }

    fn stand_in(&self, name: &str, script: &str) {
        let path = self.at("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program that names its version and takes every configuration without the word WRONG.
    fn program(&self, words: &str) -> String {
        let name = format!("program-{}", words.replace(' ', "-"));
        let script = format!(
            "#!/bin/sh\n# {words}\ncase $1 in --version) echo 'pnwatch {words}' ;; check) ! grep WRONG \"$3\" ;; *) exit 64 ;; esac\n"
        );
        self.stand_in(&name, &script);
        self.at("bin").join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.at(name), content).unwrap();
        self.at(name).to_str().unwrap().to_owned()
    }

    /// Runs one of the scripts under dash; gives its output and the calls that it made.
    fn run(&self, script: &str, arguments: &[&str]) -> (Output, Vec<String>) {
        let calls = self.at("calls");
        fs::write(&calls, "").unwrap();
        let output = Command::new("dash")
            .arg(self.at("pack").join(script))
            .args(arguments)
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.at("bin").display()),
            )
            .env("PNWATCH_ROOT", self.at("root"))
            .env("STATE", self.dir.path())
            .env("CALLS", &calls)
            .output()
            .expect("dash is needed (package dash)");
        let here = self.at("root").to_str().unwrap().to_owned();
        let calls = fs::read_to_string(&calls).unwrap();
        let calls = calls.lines().map(|line| {
            let line = line.replace(&here, "");
            // The script's own process id.
            line.split('.')
                .filter(|part| part.parse::<u32>().is_err())
                .collect::<Vec<_>>()
                .join(".")
        });
        (
            output,
            calls.filter(|line| !line.starts_with("chown")).collect(),
        )
    }

    fn pid(&self) -> Option<String> {
        fs::read_to_string(self.at("loaded"))
            .ok()
            .map(|pid| pid.trim().to_owned())
    }

    fn content(&self, path: &str) -> String {
        fs::read_to_string(self.installed(path)).unwrap()
    }

    /// Nothing staged or kept back is left.
    fn assert_tidy(&self) {
        for place in [PLIST, BINARY, CONFIG] {
            let Ok(inside) = fs::read_dir(self.installed(place).parent().unwrap()) else {
                continue;
            };
            for entry in inside {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.contains(".new.") && !name.contains(".old."), "{name}");
            }
        }
    }

    /// Version 1, installed and running.
    fn with_version_1() -> Self {
        let mac = Self::new();
        let config = mac.file("config", "cluster: one\n");
        let token = mac.file("token", "secret\n");
        let (output, _) = mac.run(
            "install.sh",
            &[
                "--binary",
                &mac.program("1"),
                "--config",
                &config,
                "--token",
                &token,
            ],
        );
        assert!(output.status.success(), "{output:?}");
        mac
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const SIGN: &str =
    "codesign --force --sign - --identifier dev.tuist.pnwatch /usr/local/bin/tuist-pnwatch.new";
const ENABLE: &str = "launchctl enable system/dev.tuist.pnwatch";
const BOOTSTRAP: &str = "launchctl bootstrap system /Library/LaunchDaemons/dev.tuist.pnwatch.plist";
const BOOTOUT: &str = "launchctl bootout system/dev.tuist.pnwatch";
const KICKSTART: &str = "launchctl kickstart -k system/dev.tuist.pnwatch";

#[test]
fn a_first_installation_signs_bootstraps_and_waits() {
    let mac = Mac::new();
    let config = mac.file("config", "cluster: one\n");
    let token = mac.file("token", "secret\n");
    let (output, calls) = mac.run(
        "install.sh",
        &[
            "--binary",
            &mac.program("1"),
            "--config",
            &config,
            "--token",
            &token,
        ],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls, [SIGN, ENABLE, BOOTSTRAP, "sleep 5"]);
    assert!(
        said(&output).contains("pnwatch 1 runs (pid 100)"),
        "{output:?}"
    );
    for (path, mode) in [
        (BINARY, 0o755),
        (PLIST, 0o644),
        (CONFIG, 0o600),
        ("etc/pnwatch/token", 0o600),
    ] {
        let seen = fs::metadata(mac.installed(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(seen, mode, "{path}");
    }
    assert_eq!(
        mac.content("etc/newsyslog.d/dev.tuist.pnwatch.conf"),
        text("deploy/macos/newsyslog.conf")
    );
    mac.assert_tidy();
}

#[test]
fn installing_the_same_again_touches_nothing() {
    let mac = Mac::with_version_1();
    let inode = fs::metadata(mac.installed(BINARY)).unwrap().ino();
    let (output, calls) = mac.run("install.sh", &["--binary", &mac.program("1")]);
    assert!(
        output.status.success() && said(&output).contains("nothing to do"),
        "{output:?}"
    );
    assert_eq!(calls, [SIGN]);
    assert_eq!(fs::metadata(mac.installed(BINARY)).unwrap().ino(), inode);
    assert_eq!(mac.pid().as_deref(), Some("100"));
    mac.assert_tidy();
}

#[test]
fn an_upgrade_with_the_same_property_list_is_a_kickstart() {
    let mac = Mac::with_version_1();
    let inode = fs::metadata(mac.installed(BINARY)).unwrap().ino();
    let (output, calls) = mac.run("install.sh", &["--binary", &mac.program("2")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls, [SIGN, KICKSTART, "sleep 5"]);
    assert_ne!(
        fs::metadata(mac.installed(BINARY)).unwrap().ino(),
        inode,
        "a new inode"
    );
    assert_eq!(mac.pid().as_deref(), Some("200"));
    assert_eq!(mac.content(CONFIG), "cluster: one\n");
    mac.assert_tidy();
}

#[test]
fn a_changed_property_list_is_a_bootout_and_a_bootstrap() {
    let mac = Mac::with_version_1();
    let changed = text("deploy/macos/dev.tuist.pnwatch.plist")
        .replace("<integer>10</integer>", "<integer>11</integer>");
    fs::write(mac.at("pack/dev.tuist.pnwatch.plist"), &changed).unwrap();
    let (output, calls) = mac.run("install.sh", &["--binary", &mac.program("2")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls, [SIGN, BOOTOUT, ENABLE, BOOTSTRAP, "sleep 5"]);
    assert_eq!(mac.content(PLIST), changed);
    mac.assert_tidy();
}

#[test]
fn a_version_that_does_not_stay_up_is_rolled_back() {
    let mac = Mac::with_version_1();
    let (program, plist) = (mac.content(BINARY), mac.content(PLIST));
    let config = mac.file("config-2", "cluster: two\n");
    let (output, calls) = mac.run(
        "install.sh",
        &["--binary", &mac.program("2 CRASH"), "--config", &config],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("did not stay up"), "{output:?}");
    assert!(said(&output).contains("pnwatch 1 runs again"), "{output:?}");
    assert_eq!(calls, [SIGN, KICKSTART, "sleep 5", KICKSTART]);
    assert_eq!((mac.content(BINARY), mac.content(PLIST)), (program, plist));
    assert_eq!(mac.content(CONFIG), "cluster: one\n");
    mac.assert_tidy();
}

#[test]
fn a_property_list_that_launchd_refuses_is_rolled_back() {
    let mac = Mac::with_version_1();
    let plist = mac.content(PLIST);
    fs::write(
        mac.at("pack/dev.tuist.pnwatch.plist"),
        plist.replace("RunAtLoad", "REFUSED"),
    )
    .unwrap();
    let (output, calls) = mac.run("install.sh", &["--binary", &mac.program("2")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(calls, [SIGN, BOOTOUT, ENABLE, BOOTSTRAP, ENABLE, BOOTSTRAP]);
    assert_eq!(mac.content(PLIST), plist);
    assert_eq!(mac.pid().as_deref(), Some("100"));
    mac.assert_tidy();
}

#[test]
fn a_refused_configuration_stops_nothing() {
    let mac = Mac::with_version_1();
    let config = mac.file("config-2", "WRONG\n");
    let (output, calls) = mac.run(
        "install.sh",
        &["--binary", &mac.program("2"), "--config", &config],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(calls, [SIGN]);
    assert_eq!(mac.content(CONFIG), "cluster: one\n");
    assert_eq!(
        mac.pid().as_deref(),
        Some("100"),
        "the old version runs on, untouched"
    );
    mac.assert_tidy();
}

#[test]
fn a_failed_first_installation_leaves_nothing() {
    let mac = Mac::new();
    let config = mac.file("config", "cluster: one\n");
    let (output, calls) = mac.run(
        "install.sh",
        &["--binary", &mac.program("1 CRASH"), "--config", &config],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(calls, [SIGN, ENABLE, BOOTSTRAP, "sleep 5", BOOTOUT]);
    for path in [BINARY, PLIST, CONFIG] {
        assert!(!mac.installed(path).exists(), "{path}");
    }
    assert_eq!(mac.pid(), None);
}

#[test]
fn wrong_calls_and_wrong_machines_are_refused_before_anything_happens() {
    let mac = Mac::new();
    let config = mac.file("config", "cluster: one\n");
    let not_a_program = mac.file("text", "\u{7f}ELF");
    let none = mac.at("none").to_str().unwrap().to_owned();
    let one = mac.program("1");
    for (arguments, word) in [
        (vec![], "--binary FILE is missing"),
        (vec!["--binary", &one], "no configuration yet"),
        (vec!["--binary", &none, "--config", &config], "is no file"),
        (vec!["--force", "x"], "--force is not known"),
        (
            vec!["--binary", &not_a_program, "--config", &config],
            "does not run on this machine",
        ),
    ] {
        let (output, _) = mac.run("install.sh", &arguments);
        assert!(
            !output.status.success() && said(&output).contains(word),
            "{arguments:?}: {output:?}"
        );
        assert!(!mac.installed(BINARY).exists());
        mac.assert_tidy();
    }
    mac.stand_in("uname", "#!/bin/sh\necho Linux\n");
    let (output, calls) = mac.run("install.sh", &["--binary", &one, "--config", &config]);
    assert!(
        said(&output).contains("not macOS") && calls.is_empty(),
        "{output:?}"
    );
    mac.stand_in("uname", "#!/bin/sh\necho Darwin\n");
    mac.stand_in("id", "#!/bin/sh\necho 501\n");
    for script in ["install.sh", "uninstall.sh", "verify.sh"] {
        let arguments: &[&str] = if script == "install.sh" {
            &["--binary", &one, "--config", &config]
        } else {
            &[]
        };
        let (output, calls) = mac.run(script, arguments);
        assert!(
            said(&output).contains("needs root") && calls.is_empty(),
            "{output:?}"
        );
    }
}

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
