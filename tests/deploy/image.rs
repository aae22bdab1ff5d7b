//! The image without an engine: what builds its program, and that program under the rights that
//! the chart gives it, set as runc sets them (capabilities(7)), in a network namespace of its own
//! without a route out. Needs root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::chart::{root, text};

/// `CAP_NET_RAW` (capability.h).
const NET_RAW: u32 = 13;

#[test]
fn the_program_is_built_static_and_without_stand_ins() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let script = "#!/bin/sh\necho \"$RUSTFLAGS\" >\"$CARGO_TARGET_DIR/flags\"\necho \"$*\" >\"$CARGO_TARGET_DIR/arguments\"\nfor dir in x86_64 aarch64; do mkdir -p \"$CARGO_TARGET_DIR/$dir-unknown-linux-gnu/dist\"; cp \"$PROGRAM\" \"$CARGO_TARGET_DIR/$dir-unknown-linux-gnu/dist/pnwatch\"; done\n";
    fs::write(path("cargo"), script).unwrap();
    fs::set_permissions(path("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let build = |readelf: &str| {
        Command::new(root().join("deploy/image/build.sh"))
            .arg(path("out"))
            .env("CARGO", path("cargo"))
            .env("READELF", readelf)
            .env("CARGO_TARGET_DIR", dir.path())
            .env("PROGRAM", env!("CARGO_BIN_EXE_pnwatch"))
            .output()
            .unwrap()
    };
    // This test's own program is linked dynamically: the real readelf sees it.
    let refused = build("readelf");
    assert!(!refused.status.success(), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("needs a dynamic loader"),
        "{refused:?}"
    );
    assert!(!fs::exists(path("out")).unwrap());
    let taken = build("true");
    assert!(taken.status.success(), "{taken:?}");
    assert!(String::from_utf8_lossy(&taken.stdout).starts_with("pnwatch "));
    let flags = fs::read_to_string(path("flags")).unwrap();
    assert!(
        flags.contains("target-feature=+crt-static") && flags.contains("--remap-path-prefix="),
        "{flags}"
    );
    let arguments = fs::read_to_string(path("arguments")).unwrap();
    for word in [
        "--locked",
        "--profile dist",
        "--no-default-features",
        "--features prober,exporter",
        "--target ",
    ] {
        assert!(arguments.contains(word), "{arguments}");
    }
}

#[test]
fn the_build_file_makes_what_the_chart_expects() {
    let file = text("deploy/image/Dockerfile");
    let last = file.split("\nFROM ").last().unwrap();
    assert!(
        last.starts_with("scratch\n"),
        "nothing but the program is in the image: {last}"
    );
    for line in [
        "USER 65532:65532",
        "ENTRYPOINT [\"/pnwatch\"]",
        "COPY --from=build /out/pnwatch /pnwatch",
    ] {
        assert!(last.lines().any(|l| l == line), "{line}");
    }
    assert!(file.contains("setcap cap_net_raw+p /out/pnwatch"));
    assert!(file.contains("deploy/image/build.sh /out"));
    let toolchain = text("rust-toolchain.toml");
    let version = file
        .lines()
        .find_map(|line| line.strip_prefix("ENV RUSTUP_TOOLCHAIN="))
        .unwrap();
    assert!(
        toolchain.contains(&format!("\"{version}\"")) && file.contains(&format!("rust:{version}-"))
    );
}

/// A network namespace with a device `pn0`; it goes with this value.
struct Namespace(String);

impl Namespace {
    fn new(case: &str) -> Self {
        let this = Self(format!("pnwatch-image-{case}-{}", std::process::id()));
        ip(&["netns", "add", &this.0]);
        for words in [
            "link set lo up",
            "link add pn0 type veth peer name pn1",
            "addr add 192.0.2.1/24 dev pn0",
            "link set pn0 up",
            "link set pn1 up",
        ] {
            let mut all = vec!["-n", &this.0];
            all.extend(words.split(' '));
            ip(&all);
        }
        this
    }

    /// What `127.0.0.1:9763` answers to a GET, once somebody listens there.
    fn get(&self, path: &str) -> String {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/9763; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        );
        let output = Command::new("ip")
            .args(["netns", "exec", &self.0, "bash", "-c", &script])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("ip is needed (package iproute2)");
    assert!(
        output.status.success(),
        "ip {arguments:?}: {output:?}; this test needs root"
    );
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The rights of a container.
struct Rights {
    user: u32,
    net_raw: bool,
}

/// Starts the prober as a container with these rights is started: bounding, permitted and
/// effective set hold what was granted, and `no_new_privs` is on.
fn start(rights: &Rights, namespace: &Namespace, dir: &std::path::Path) -> Running {
    let program = dir.join("pnwatch");
    fs::copy(env!("CARGO_BIN_EXE_pnwatch"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let given = Command::new("setcap")
        .arg("cap_net_raw+p")
        .arg(&program)
        .output()
        .expect("setcap is needed (package libcap2-bin)");
    assert!(given.status.success(), "{given:?}");
    let inventory = "pn_cidr: 192.0.2.0/24\nnodes: [{ name: one, address: 192.0.2.2 }]\nvantages: [{ vantage: node/here, address: 192.0.2.1 }]\ntargets: []\n";
    fs::write(dir.join("inventory.yaml"), inventory).unwrap();
    let config = format!(
        "cluster: image\nprobe:\n  vantage: node/${{NODE_NAME}}\n  interface: pn0\n  pn_cidr: 192.0.2.0/24\n  plan_file: {}/inventory.yaml\n",
        dir.display()
    );
    fs::write(dir.join("pnwatch.yaml"), config).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();

    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let dropped: Vec<String> = (0..=last)
        .filter(|n| !(rights.net_raw && *n == NET_RAW))
        .map(|n| n.to_string())
        .collect();
    let granted = if rights.net_raw {
        "cap_net_raw+ep"
    } else {
        "="
    };
    let child = Command::new("ip")
        .args(["netns", "exec", &namespace.0, "capsh"])
        .arg(format!("--drop={}", dropped.join(",")))
        .args([
            format!("--gid={}", rights.user),
            "--keep=1".to_owned(),
            format!("--uid={}", rights.user),
        ])
        .arg(format!("--caps={granted}"))
        .args([
            "--no-new-privs",
            &format!("--shell={}", program.display()),
            "--",
        ])
        .args([
            "probe",
            "--config",
            dir.join("pnwatch.yaml").to_str().unwrap(),
        ])
        .env("NODE_NAME", "here")
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("log")).unwrap())
        .spawn()
        .expect("ip is needed (package iproute2)");
    Running(child)
}

/// Whether ARP is there by the prober's own word, which must come, with it being ready.
fn arp_available(case: &str, rights: &Rights) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let namespace = Namespace::new(case);
    let running = start(rights, &namespace, dir.path());
    let log = || fs::read_to_string(dir.path().join("log")).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let available = loop {
        let metrics = namespace.get("/metrics");
        let line = metrics
            .lines()
            .find(|line| line.starts_with("pnwatch_prober_arp_available"));
        match line.and_then(|line| line.rsplit(' ').next()) {
            Some("1") => break true,
            Some("0") => break false,
            _ => assert!(Instant::now() < until, "{case}: {metrics}\n{}", log()),
        }
        std::thread::yield_now();
    };
    assert!(
        namespace.get("/readyz").contains(" 200 "),
        "{case}: ready whatever the checks say\n{}",
        log()
    );
    let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(field("Uid:"), rights.user.to_string());
    assert_eq!(field("NoNewPrivs:"), "1");
    let permitted = if rights.net_raw { 1_u64 << NET_RAW } else { 0 };
    assert_eq!(
        u64::from_str_radix(&field("CapPrm:"), 16).unwrap(),
        permitted,
        "{case}"
    );
    if rights.user != 0 {
        let effective = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
        assert_eq!(effective, 0, "{case}: raised for the open alone");
    }
    available
}

#[test]
fn in_the_charts_context_the_prober_has_arp() {
    assert!(arp_available(
        "chart",
        &Rights {
            user: 65532,
            net_raw: true
        }
    ));
}

#[test]
fn as_root_with_net_raw_alone_the_prober_has_arp() {
    assert!(arp_available(
        "root",
        &Rights {
            user: 0,
            net_raw: true
        }
    ));
}

/// The file's capability keeps nobody from starting, as the exporter's container shows.
#[test]
fn without_net_raw_the_prober_starts_and_says_that_it_is_blind() {
    assert!(!arp_available(
        "none",
        &Rights {
            user: 65532,
            net_raw: false
        }
    ));
}
