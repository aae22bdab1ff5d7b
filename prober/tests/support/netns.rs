//! Namespaces of a test: two machines joined by a veth pair, made and broken by ip(8) and nft(8).
//!
//! Their names carry the process id, they have no route out, and they go away with the value.

use std::fs::File;
use std::future::Future;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// `own` (the prober's machine, 172.16.0.11 on `vlan0`) and `node` (172.16.0.2 on `pn0`).
pub struct Pair {
    pub own: String,
    pub node: String,
}

/// Runs a program, or fails with what it said.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {} (these tests need root and namespaces)",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Pair {
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("pp{}-{number}", std::process::id());
        let pair = Self {
            own: format!("{id}-own"),
            node: format!("{id}-node"),
        };
        for name in [&pair.own, &pair.node] {
            run("ip", &["netns", "add", name]);
            run("ip", &["-n", name, "link", "set", "lo", "up"]);
        }
        pair.join();
        pair
    }

    /// Makes the veth pair and its addresses (again).
    pub fn join(&self) {
        let (own, node) = (self.own.as_str(), self.node.as_str());
        // An index that the peer has not: where the two agree, the kernel takes the device for
        // its own lower one and tells carrier changes up to a second late (linkwatch).
        let index = (100 + NEXT.fetch_add(1, Ordering::Relaxed)).to_string();
        ip(
            own,
            &format!("link add vlan0 index {index} type veth peer name pn0 netns {node}"),
        );
        run(
            "ip",
            &["-n", own, "addr", "add", "172.16.0.11/22", "dev", "vlan0"],
        );
        run(
            "ip",
            &["-n", node, "addr", "add", "172.16.0.2/22", "dev", "pn0"],
        );
        run("ip", &["-n", own, "link", "set", "vlan0", "up"]);
        run("ip", &["-n", node, "link", "set", "pn0", "up"]);
    }

    /// ip(8) on the prober's machine.
    pub fn own_ip(&self, arguments: &str) -> String {
        ip(&self.own, arguments)
    }

    /// ip(8) on the node.
    pub fn node_ip(&self, arguments: &str) -> String {
        ip(&self.node, arguments)
    }

    /// Sets a value below `/proc/sys/net` on the node.
    pub fn node_sysctl(&self, key: &str, value: &str) {
        let line = format!("echo {value} > /proc/sys/net/{key}");
        run("ip", &["netns", "exec", &self.node, "sh", "-c", &line]);
    }

    /// nft(8) on the node.
    pub fn nft(&self, rules: &str) {
        run("ip", &["netns", "exec", &self.node, "nft", rules]);
    }

    /// Drops whatever a rule on the node's input says.
    pub fn node_input(&self, rule: &str) {
        self.nft(&format!(
            "table inet t {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}"
        ));
    }

    /// Runs `work` on a runtime of its own inside a namespace.
    pub fn inside<T: Send>(namespace: &str, work: impl Future<Output = T> + Send) -> T {
        let path = format!("/run/netns/{namespace}");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&path);
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(work)
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Keeps `work` going on the node until the test ends.
    pub fn serve_on_node<F: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl FnOnce() -> F + Send + 'static,
    ) {
        let path = format!("/run/netns/{}", self.node);
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            enter(&path);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                work().await;
                ready.send(()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        is_ready.recv().expect("the node's peers start");
    }
}

fn enter(path: &str) {
    let namespace = File::open(path).unwrap();
    move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&namespace),
        Some(LinkNameSpaceType::Network),
    )
    .expect("these tests need root to enter their namespaces");
}

fn ip(namespace: &str, arguments: &str) -> String {
    let mut all = vec!["-n", namespace];
    all.extend(arguments.split_whitespace());
    run("ip", &all)
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in [&self.own, &self.node] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}
