use proptest::prelude::*;

use super::*;

fn whole(bytes: &[u8]) -> (Progress, Response) {
    let mut response = Response::default();
    response.feed(bytes);
    (response.end(), response)
}

#[test]
fn answers_mean_what_they_say() {
    use Progress::{Began, NotHttp, Nothing, Whole};
    for (bytes, means, body) in [
        ("", Nothing, ""),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Whole { status: 200 },
            "ok",
        ),
        (
            "HTTP/1.0 200\r\n\r\nuntil close",
            Whole { status: 200 },
            "until close",
        ),
        (
            "HTTP/1.1 503 no\r\nContent-Length:0\r\n\r\n",
            Whole { status: 503 },
            "",
        ),
        (
            "HTTP/1.1 204 x\r\ncontent-length: 9\r\n\r\n",
            Whole { status: 204 },
            "",
        ),
        (
            "HTTP/1.1 100 go\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
            Whole { status: 200 },
            "x",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2;a=b\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            Whole { status: 200 },
            "abc",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcde",
            NotHttp,
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            Began,
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
            Began,
            "ab",
        ),
        ("HTTP/1.1 200 OK\r\nconte", Began, ""),
        ("HT", Began, ""),
        ("SSH-2.0-OpenSSH_9.2\r\n", NotHttp, ""),
        ("HTTP/2 200\r\n\r\n", NotHttp, ""),
        ("HTTP/1.1 2000 OK\r\n\r\n", NotHttp, ""),
        ("HTTP/1.1 999 OK\r\n\r\n", NotHttp, ""),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", NotHttp, ""),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", NotHttp, ""),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
            Began,
            "",
        ),
    ] {
        let (progress, response) = whole(bytes.as_bytes());
        assert_eq!(progress, means, "{bytes:?}");
        assert_eq!(response.body(), body.as_bytes(), "{bytes:?}");
    }
}

#[test]
fn an_endless_answer_is_bounded() {
    let mut response = Response::default();
    response.feed(b"HTTP/1.1 200 OK\r\n\r\n");
    for _ in 0..100 {
        response.feed(&[b'x'; 4096]);
    }
    assert_eq!(response.progress(), Progress::Whole { status: 200 });
    assert!(response.body().len() <= MAX_ANSWER);
    let mut response = Response::default();
    response.feed(b"HTTP/1.1 200 OK\r\nx: ");
    for _ in 0..100 {
        response.feed(&[b'x'; 4096]);
    }
    assert_eq!(response.progress(), Progress::NotHttp);
}

#[test]
fn bodies_are_read_as_far_as_they_say_something() {
    let up = br#"{"status":"ok","tenant_id":"tuist","ring_members":5}"#;
    assert_eq!(tenant(up).as_deref(), Some("tuist"));
    for body in [&b"{}"[..], b"", b"[]", br#"{"tenant_id":null}"#, b"\xff"] {
        assert_eq!(tenant(body), None);
    }
    let draining = br#"{"status":"not_ready","ready":false,"draining":true}"#;
    assert_eq!(readiness(503, draining), (false, true));
    assert_eq!(readiness(200, b"{}"), (true, false));
    assert_eq!(readiness(503, b"oops"), (false, false));
}

proptest! {
    /// However the network cuts an answer, it reads the same; and nothing panics.
    #[test]
    fn pieces_read_as_the_whole(
        start in prop_oneof![
            Just("HTTP/1.1 200 OK\r\n".to_owned()),
            Just("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 500 E\r\n".to_owned()),
            Just(String::new()),
        ],
        headers in prop_oneof![
            Just("transfer-encoding: chunked\r\n\r\n"), Just("content-length: 7\r\n\r\n"),
            Just("\r\n"), Just("x:y\r\n"),
        ],
        tail in prop::collection::vec(prop_oneof![
            Just(b'0'), Just(b'3'), Just(b'\r'), Just(b'\n'), Just(b';'), any::<u8>()
        ], 0..300),
        cuts in prop::collection::vec(1usize..40, 1..30),
    ) {
        let bytes = [start.as_bytes(), headers.as_bytes(), &tail].concat();
        let (expected, at_once) = whole(&bytes);
        let mut response = Response::default();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            response.feed(now);
            rest = later;
        }
        prop_assert_eq!(response.end(), expected);
        if matches!(expected, Progress::Whole { .. }) {
            prop_assert_eq!(response.body(), at_once.body());
        }
    }
}
