//! A real Alertmanager with the example configuration, and a webhook that keeps what it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::files::{alerts, list, run, succeed, text, word};

/// Three times what the slowest step takes: `group_wait` of the rules' route, shortened here.
const PATIENCE: Duration = Duration::from_secs(30);

struct Alertmanager {
    child: Child,
    url: String,
    told: mpsc::Receiver<Value>,
    _folder: tempfile::TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes one webhook call per connection; hands over its JSON body.
fn webhook() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if let Some(body) = stream.ok().and_then(answer)
                && tell.send(body).is_err()
            {
                return;
            }
        }
    });
    (url, told)
}

fn answer(stream: TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).ok()?;
    serde_json::from_slice(&body).ok()
}

impl Alertmanager {
    fn start() -> Self {
        let (hook, told) = webhook();
        let folder = tempfile::tempdir().unwrap();
        let config = text("alertmanager.example.yml");
        let config = config
            .replace("http://127.0.0.1:9/replace-me", &hook)
            // The rules' route, faster: the order of things is what is tested.
            .replace("group_wait: 30s", "group_wait: 2s");
        let file = folder.path().join("alertmanager.yml");
        std::fs::write(&file, config).unwrap();
        // A port that was free a moment ago; a clash shows as "not ready".
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-alertmanager; apt-get install prometheus-alertmanager");
        let this = Self {
            child,
            url: format!("--alertmanager.url=http://{address}"),
            told,
            _folder: folder,
        };
        until("Alertmanager answers", || {
            let output = run("amtool", &alerts(), &[&this.url, "alert", "query"]);
            output.status.success().then_some(())
        });
        this
    }

    fn amtool(&self, args: &[&str]) -> String {
        let mut all = vec![self.url.as_str()];
        all.extend(args);
        succeed("amtool", &alerts(), &all)
    }

    fn push(&self, labels: &[&str]) {
        let mut args = vec!["alert", "add"];
        args.extend(labels);
        self.amtool(&args);
    }

    fn resolve(&self, labels: &[&str]) {
        let now = succeed("date", &alerts(), &["-u", "+--end=%Y-%m-%dT%H:%M:%SZ"]);
        let mut args = vec!["alert", "add", now.trim()];
        args.extend(labels);
        self.amtool(&args);
    }

    /// How many alerts inhibit this one.
    fn inhibited(&self, matcher: &str) -> bool {
        let told = self.amtool(&[
            "alert",
            "query",
            "-o",
            "json",
            "--active",
            "--inhibited",
            "--silenced",
            matcher,
        ]);
        let found: Value = serde_json::from_str(&told).unwrap();
        let [alert] = list(&found) else {
            panic!("{matcher}: {told}");
        };
        !list(&alert["status"]["inhibitedBy"]).is_empty()
    }

    /// Waits for the next notification about `alertname`; what else comes before is kept.
    fn next(&self, alertname: &str, seen: &mut Vec<(String, String)>) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let body = self
                .told
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("nothing was told of {alertname}; told: {seen:?}"));
            for alert in list(&body["alerts"]) {
                let name = word(&alert["labels"], "alertname").to_owned();
                seen.push((name, word(alert, "status").to_owned()));
            }
            if seen.last().is_some_and(|(name, _)| name == alertname) {
                return;
            }
        }
    }
}

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const NODE: [&str; 6] = [
    "alertname=PNNodeUnreachable",
    "cluster=staging",
    "blame=node",
    "subject=n1",
    "node=n1",
    "severity=critical",
];

#[test]
fn causes_inhibit_consequences_and_nothing_else() {
    let am = Alertmanager::start();
    let account = |name: &'static str, node: &'static str, cluster: &'static str| {
        am.push(&[
            "alertname=PNAccountUnreachable",
            cluster,
            "blame=account",
            &format!("subject={name}"),
            &format!("account={name}"),
            node,
            "severity=critical",
        ]);
    };
    account("here", "node=n1", "cluster=staging");
    account("there", "node=n2", "cluster=staging");
    account("elsewhere", "node=n1", "cluster=canary");
    am.push(&[
        "alertname=PNHostPathBroken",
        "cluster=staging",
        "blame=host",
        "subject=mini",
        "host=mini",
        "severity=critical",
    ]);
    am.push(&[
        "alertname=PNBudgetBurnFast",
        "source=pnwatch-rules",
        "role=judge",
        "cluster=staging",
        "account=there",
        "severity=critical",
    ]);
    am.push(&[
        "alertname=PNBudgetBurnFast",
        "source=pnwatch-rules",
        "role=judge",
        "cluster=staging",
        "account=fine",
        "severity=critical",
    ]);
    am.push(&[
        "alertname=PNLeaseLow",
        "source=pnwatch-rules",
        "role=judge",
        "cluster=staging",
        "subject=n9",
        "severity=warning",
    ]);
    am.push(&[
        "alertname=PNLeaseLow",
        "source=pnwatch-rules",
        "role=judge",
        "cluster=staging",
        "subject=n9",
        "severity=critical",
    ]);
    am.push(&NODE);
    let expect = |matcher: &str, inhibited: bool| {
        assert_eq!(am.inhibited(matcher), inhibited, "{matcher}");
    };
    expect("alertname=PNNodeUnreachable", false);
    expect("subject=here", true);
    expect("subject=there", false);
    expect("subject=elsewhere", false);
    expect("subject=mini", false);
    let burn = |account: &str| {
        let told = am.amtool(&[
            "alert",
            "query",
            "-o",
            "json",
            "--active",
            "--inhibited",
            "alertname=PNBudgetBurnFast",
            account,
        ]);
        let found: Value = serde_json::from_str(&told).unwrap();
        !list(&found[0]["status"]["inhibitedBy"]).is_empty()
    };
    assert!(burn("account=there") && !burn("account=fine"));
    let low = |severity: &str| {
        let told = am.amtool(&[
            "alert",
            "query",
            "-o",
            "json",
            "--active",
            "--inhibited",
            "alertname=PNLeaseLow",
            severity,
        ]);
        let found: Value = serde_json::from_str(&told).unwrap();
        !list(&found[0]["status"]["inhibitedBy"]).is_empty()
    };
    assert!(low("severity=warning") && !low("severity=critical"));
    // The network above everything in its cluster.
    am.push(&[
        "alertname=PNNetworkDown",
        "cluster=staging",
        "blame=network",
        "subject=pn",
        "severity=critical",
    ]);
    for (matcher, inhibited) in [
        ("alertname=PNNetworkDown", false),
        ("alertname=PNNodeUnreachable", true),
        ("subject=mini", true),
        ("subject=there", true),
        ("subject=elsewhere", false),
    ] {
        expect(matcher, inhibited);
    }
}

#[test]
fn one_push_is_told_once_when_it_fires_and_once_when_it_ends_and_its_back_up_never() {
    let am = Alertmanager::start();
    let mut seen = Vec::new();
    let backup = [
        "alertname=PNNodeUnreachableBackup",
        "source=pnwatch-rules",
        "role=backup",
        "cluster=staging",
        "blame=node",
        "subject=n1",
        "node=n1",
        "severity=critical",
    ];
    am.push(&backup);
    am.push(&NODE);
    am.next("PNNodeUnreachable", &mut seen);
    // The same again, from another replica: nothing new.
    am.push(&NODE);
    // A rule's alert that nobody inhibits, sent after the back-up, shows that its wait is over.
    am.push(&[
        "alertname=PNCacheShedding",
        "source=pnwatch-rules",
        "role=twin",
        "cluster=staging",
        "account=x",
        "severity=warning",
    ]);
    am.next("PNCacheShedding", &mut seen);
    am.resolve(&NODE);
    am.resolve(&backup);
    am.next("PNNodeUnreachable", &mut seen);
    let expected = [
        ("PNNodeUnreachable", "firing"),
        ("PNCacheShedding", "firing"),
        ("PNNodeUnreachable", "resolved"),
    ];
    let seen: Vec<(&str, &str)> = seen.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
    assert_eq!(seen, expected);
}

#[test]
fn without_a_push_the_back_up_pages_once_and_a_silence_is_respected() {
    let am = Alertmanager::start();
    let mut seen = Vec::new();
    am.amtool(&[
        "silence",
        "add",
        "--author=test",
        "--duration=1h",
        "--comment=test",
        "alertname=PNNodeUnreachable",
        "cluster=staging",
        "subject=n1",
    ]);
    let rule = |name: &str, subject: &str| {
        am.push(&[
            &format!("alertname={name}"),
            "source=pnwatch-rules",
            "role=backup",
            "cluster=staging",
            "blame=node",
            &format!("subject={subject}"),
            "severity=critical",
        ]);
    };
    // Silenced push of n1, its back-up inhibited all the same; n2 could not be pushed at all.
    am.push(&NODE);
    rule("PNNodeUnreachableBackup", "n1");
    rule("PNAddressConflictBackup", "n2");
    am.next("PNAddressConflictBackup", &mut seen);
    rule("PNWrongTenantBackup", "n3");
    am.next("PNWrongTenantBackup", &mut seen);
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PNAddressConflictBackup", "PNWrongTenantBackup"]);
}
