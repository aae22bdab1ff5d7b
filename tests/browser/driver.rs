//! A headless Chromium by chromedriver (W3C `WebDriver`, JSON over HTTP), and a demo beside it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use pnwatch_edge::http::{Client, ClientSettings, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything that is no promise of pnwatch's may take here.
const PATIENCE: Duration = Duration::from_mins(1);

/// What keeps the browser to itself: nothing is fetched but what the tests ask for.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// Ends `child` as a person would, and waits for it.
fn end(child: &mut Child) {
    let ended = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    if !ended.is_ok_and(|status| status.success()) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// A browser window of its own profile.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    client: Client,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of the session ends the browser; the end of chromedriver alone does not.
        // Whatever of it fails, chromedriver is ended as well.
        let _ = self.close();
        end(&mut self.driver);
    }
}

impl Browser {
    /// `DELETE /session/ID`, without a runtime: a drop cannot wait for one.
    fn close(&self) -> std::io::Result<()> {
        let rest = self.session.trim_start_matches("http://");
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "DELETE /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        // Answered once the browser has ended.
        stream.read(&mut [0; 16]).map(|_| ())
    }

    /// It asks for any free port for IPv4, then for the same for IPv6, and ends if that is taken:
    /// then another try finds another.
    fn start_driver() -> (Child, u16) {
        let found = (0..5).find_map(|_| {
            let mut driver = Command::new("chromedriver")
                .arg("--port=0")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect(
                    "chromedriver must be installed (Debian: chromium-driver); tests/run does it",
                );
            let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
            let port = lines.map_while(Result::ok).find_map(|line| {
                let port = line.split("successfully on port ").nth(1)?;
                port.trim_end_matches('.').parse::<u16>().ok()
            });
            if port.is_none() {
                driver.wait().unwrap();
            }
            Some((driver, port?))
        });
        found.expect("chromedriver tells its port")
    }

    pub(crate) async fn open() -> Self {
        let (driver, port) = Self::start_driver();
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            client: Client::new(ClientSettings::default()).unwrap(),
            _profile: profile,
        };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let session = browser.post("", &wanted).await;
        let id = session["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let body = serde_json::to_vec(body).unwrap();
        let url = format!("{}{path}", self.session);
        let request = Request::post(url, "application/json", body.into()).within(PATIENCE);
        let answer = self.client.send(request).await.unwrap();
        let mut said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{path}: {said}");
        said["value"].take()
    }

    pub(crate) async fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url })).await;
    }

    /// What the body of a function gives.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
            .await
    }

    /// What the promise of an async function's body gives.
    pub(crate) async fn wait_for(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (e) => done(String(e)))"
        );
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
            .await
    }

    /// Presses one key.
    pub(crate) async fn press(&self, key: &str) {
        let keys = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key },
        ]}]});
        self.post("/actions", &keys).await;
    }

    /// Lets no page run a script from now on.
    pub(crate) async fn without_scripts(&self) {
        let off = json!({ "value": true });
        self.command("Emulation.setScriptExecutionDisabled", off)
            .await;
    }

    /// What a screen reader finds: role and name of everything that has one.
    pub(crate) async fn spoken(&self) -> Vec<(String, String)> {
        let tree = self.command("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().unwrap().iter();
        let of = |node: &Value, key: &str| {
            let text = node[key]["value"].as_str().unwrap_or_default();
            text.to_owned()
        };
        nodes
            .map(|node| (of(node, "role"), of(node, "name")))
            .collect()
    }

    /// Waits until the expression holds; gives how long that took.
    pub(crate) async fn until(&self, expression: &str, deadline: Duration) -> Duration {
        let began = Instant::now();
        let script = format!("return Boolean({expression})");
        while self.run(&script).await != Value::Bool(true) {
            if began.elapsed() > deadline {
                let body = self.run("return document.body.innerText").await;
                unreachable!("not within {deadline:?}: {expression}\n{body}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    /// A command of the browser's own protocol.
    async fn command(&self, name: &str, parameters: Value) -> Value {
        let call = json!({ "cmd": name, "params": parameters });
        self.post("/goog/cdp/execute", &call).await
    }

    /// Takes the shape of a screen, and the scheme that its owner prefers.
    pub(crate) async fn resize(&self, width: u32, scheme: &str) {
        let shape = json!({
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.command("Emulation.setDeviceMetricsOverride", shape)
            .await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    /// The upper part of the page as PNG.
    pub(crate) async fn picture(&self, width: u32, most: u64) -> Vec<u8> {
        let height = self.run("return document.body.scrollHeight").await;
        let height = height.as_u64().unwrap().min(most);
        let wanted = json!({
            "format": "png", "captureBeyondViewport": true,
            "clip": { "x": 0, "y": 0, "width": width, "height": height, "scale": 1 },
        });
        let taken = self.command("Page.captureScreenshot", wanted).await;
        let data = taken["data"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap()
    }

    /// What the browser complained about: blocked scripts and styles, failed loads, exceptions.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" })).await;
        let lines = log.as_array().unwrap().iter();
        lines.map(|line| line["message"].to_string()).collect()
    }
}

/// A running `pnwatch demo --json`.
pub(crate) struct Demo {
    child: Child,
    lines: Receiver<(Instant, Value)>,
    /// Where its page is.
    pub(crate) page: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Demo {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pnwatch"))
            .args(["demo", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let told = serde_json::from_str(&line).unwrap_or_else(|_| json!(line));
                if tell.send((Instant::now(), told)).is_err() {
                    return;
                }
            }
        });
        let mut demo = Self {
            child,
            lines,
            page: String::new(),
        };
        let (_, told) = demo.next("page");
        told["url"].as_str().unwrap().clone_into(&mut demo.page);
        demo
    }

    /// The next line of that event, with the time when it was told.
    pub(crate) fn next(&self, event: &str) -> (Instant, Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (at, line) = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("the demo tells no {event}"));
            if line["event"] == event {
                return (at, line);
            }
        }
    }
}
