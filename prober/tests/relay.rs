//! The relay's parser against clients of every kind, over loopback; what comes out at the host's
//! end of the pipe.

#![allow(clippy::unwrap_used)] // a test: a fault ends it

use std::net::SocketAddr;
use std::time::Duration;

use pnwatch_edge::clock::SystemClock;
use pnwatch_prober::relay::parser;
use pnwatch_prober::relay::talk::{Brief, FromParser, MAX_BODY, Numbered, Told, VERSION, line};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

/// Three times the longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);

struct Bench {
    relay: SocketAddr,
    lines: Lines<BufReader<OwnedReadHalf>>,
    pipe: OwnedWriteHalf,
}

impl Bench {
    async fn open(vms: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = listener.local_addr().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let vms = vms.parse().unwrap();
        tokio::spawn(parser::serve(listener, theirs, vms, SystemClock::shared()));
        let (read, mut pipe) = ours.into_split();
        pipe.write_all(&line(&brief())).await.unwrap();
        Self {
            relay,
            lines: BufReader::new(read).lines(),
            pipe,
        }
    }

    async fn next(&mut self) -> FromParser {
        let text = timeout(DEADLINE, self.lines.next_line()).await.unwrap();
        FromParser::from_line(text.unwrap().unwrap().as_bytes()).unwrap()
    }

    /// The next message, whatever was turned away meanwhile.
    async fn next_told(&mut self) -> Told {
        loop {
            if let FromParser::Told { told, .. } = self.next().await {
                return told;
            }
        }
    }

    async fn next_refused(&mut self) -> u64 {
        loop {
            if let FromParser::Refused { count } = self.next().await {
                return count;
            }
        }
    }
}

fn brief() -> Brief {
    Brief {
        version: VERSION,
        number: 7,
        salt: "salt".to_owned(),
        targets: vec![Numbered {
            id: 1,
            at: "192.0.2.1:30001".parse().unwrap(),
        }],
        control: Vec::new(),
        hold: false,
    }
}

fn told(seq: u64) -> Vec<u8> {
    let body = format!("{{\"version\":1,\"run\":5,\"seq\":{seq},\"brief\":7,\"seen\":[]}}");
    post("/v1/vm", &body)
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

/// Sends, and reads until `end` is in the answer or the connection ends.
async fn ask(stream: &mut TcpStream, request: &[u8], end: &str) -> String {
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = async {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..count]);
            if String::from_utf8_lossy(&answer).contains(end) {
                return;
            }
        }
    };
    timeout(DEADLINE, read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_vm_tells_and_hears_what_to_do() {
    let mut bench = Bench::open("127.0.0.0/8").await;
    let mut stream = TcpStream::connect(bench.relay).await.unwrap();
    let answer = ask(&mut stream, &told(1), "}").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"number\":7"), "{answer}");
    assert_eq!(bench.next_told().await.seq, 1);
    // The same connection goes on; a new brief is handed out from then on.
    let newer = Brief {
        number: 8,
        ..brief()
    };
    bench.pipe.write_all(&line(&newer)).await.unwrap();
    let told_again = async {
        for seq in 2.. {
            let answer = ask(&mut stream, &told(seq), "}").await;
            if answer.contains("\"number\":8") {
                return;
            }
        }
    };
    timeout(DEADLINE, told_again).await.unwrap();
    let handed = r#"{"version":1,"at":"192.0.2.1:30001","outcome":"reached"}"#;
    let answer = ask(&mut stream, &post("/v1/vm/once", handed), "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    loop {
        if let FromParser::Handed { handed, .. } = bench.next().await {
            assert_eq!(handed.at, Some("192.0.2.1:30001".parse().unwrap()));
            break;
        }
    }
}

#[tokio::test]
async fn nothing_else_is_reachable() {
    let mut bench = Bench::open("127.0.0.0/8").await;
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/vm HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
        "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/report HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(bench.relay).await.unwrap();
        let answer = ask(&mut stream, request.as_bytes(), "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{request}: {answer}");
    }
    let mut stream = TcpStream::connect(bench.relay).await.unwrap();
    ask(&mut stream, &told(1), "}").await;
    assert_eq!(bench.next_told().await.seq, 1);
}

#[tokio::test]
async fn only_the_vms_network_is_answered() {
    let mut bench = Bench::open("192.0.2.0/24").await;
    let mut stream = TcpStream::connect(bench.relay).await.unwrap();
    assert_eq!(ask(&mut stream, &told(1), "}").await, "");
    assert_eq!(bench.next_refused().await, 1);
}

#[tokio::test]
async fn what_is_too_large_too_slow_or_rubbish_ends_and_others_go_on() {
    let mut bench = Bench::open("127.0.0.0/8").await;
    let mut large = TcpStream::connect(bench.relay).await.unwrap();
    let head = "POST /v1/vm HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n";
    let answer = ask(&mut large, head.as_bytes(), "\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let mut chunked = TcpStream::connect(bench.relay).await.unwrap();
    let head = "POST /v1/vm HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n";
    let body = format!("{head}{}", "{".repeat(MAX_BODY + 1));
    let answer = ask(&mut chunked, body.as_bytes(), "\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let mut rubbish = TcpStream::connect(bench.relay).await.unwrap();
    let answer = ask(&mut rubbish, &post("/v1/vm", "{\"version\":9}"), "\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // A head that never ends is waited for as long as may be, and no longer.
    let began = Instant::now();
    let mut slow = TcpStream::connect(bench.relay).await.unwrap();
    ask(&mut slow, b"POST /v1/vm HTTP/1.1\r\nHo", "never").await;
    assert!(began.elapsed() < Duration::from_secs(15));
    let mut stream = TcpStream::connect(bench.relay).await.unwrap();
    ask(&mut stream, &told(1), "}").await;
    assert_eq!(bench.next_told().await.seq, 1);
}

#[tokio::test]
async fn a_flood_waits_and_an_open_connection_is_served_in_between() {
    let mut bench = Bench::open("127.0.0.0/8").await;
    // Loopback has many addresses: the agent's is not the flood's.
    let from = |address: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        let source: std::net::IpAddr = address.parse().unwrap();
        socket.bind((source, 0).into()).unwrap();
        socket
    };
    let mut agent = from("127.0.0.2").connect(bench.relay).await.unwrap();
    ask(&mut agent, &told(1), "}").await;
    assert_eq!(bench.next_told().await.run, 5);
    let relay = bench.relay;
    let flood = async move {
        loop {
            let stream = from("127.0.0.3").connect(relay);
            if let Ok(Ok(mut stream)) = timeout(Duration::from_millis(100), stream).await {
                let body = r#"{"version":1,"run":6,"seq":1,"brief":7}"#;
                let _ = stream.write_all(&post("/v1/vm", body)).await;
            }
        }
    };
    let flood = tokio::spawn(flood);
    let began = Instant::now();
    for seq in 2..6 {
        let answer = ask(&mut agent, &told(seq), "}").await;
        assert!(answer.contains("\"number\":7"), "{answer}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(bench.next_refused().await > 0);
    flood.abort();
}

#[tokio::test]
async fn the_parser_ends_with_its_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let vms = "127.0.0.0/8".parse().unwrap();
    let parser = tokio::spawn(parser::serve(listener, theirs, vms, SystemClock::shared()));
    drop(ours);
    timeout(DEADLINE, parser).await.unwrap().unwrap();
}
