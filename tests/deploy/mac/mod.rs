//! The Mac's installer, uninstaller, verifier and roll-out under dash, with stand-ins for what
//! only a Mac has: each writes its call into one log, whose order is compared. The property list
//! is read by Python's plistlib.

mod installing;
mod others;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::chart::root;

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

const BOOTOUT: &str = "launchctl bootout system/dev.tuist.pnwatch";
