//! Installing and upgrading: the calls in order, and what is put back when it fails.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::{BINARY, BOOTOUT, CONFIG, Mac, PLIST, said};
use crate::chart::text;

const SIGN: &str =
    "codesign --force --sign - --identifier dev.tuist.pnwatch /usr/local/bin/tuist-pnwatch.new";
const ENABLE: &str = "launchctl enable system/dev.tuist.pnwatch";
const BOOTSTRAP: &str = "launchctl bootstrap system /Library/LaunchDaemons/dev.tuist.pnwatch.plist";
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
