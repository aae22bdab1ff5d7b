//! Reads the answer of a probe route: total, bounded, incremental (RFC 9112).
//!
//! Only what a verdict needs: status, and the body of a small JSON answer. Every input ends as
//! [`Progress`]; no answer may take more than [`MAX_ANSWER`] bytes, and no byte is read twice.

use std::borrow::Cow;

use serde::Deserialize;

/// Most bytes that are kept of an answer, head included.
pub const MAX_ANSWER: usize = 64 * 1024;
/// Bytes of memory that are kept from answer to answer.
const KEPT: usize = 4096;
/// Most bytes of a head.
const MAX_HEAD: usize = 16 * 1024;
/// Longest line that announces a chunk, extensions included.
const MAX_CHUNK_LINE: usize = 256;

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    Nothing,
    /// It began, and is well formed so far.
    Began,
    /// It is whole, or as much of it as is kept.
    Whole {
        /// The status of the final answer.
        status: u16,
    },
    /// It is not HTTP.
    NotHttp,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// One answer being read.
#[derive(Debug, Default)]
pub struct Response {
    bytes: Vec<u8>,
    /// Up to here no end of head was found, or, with a head, the body is decoded.
    cursor: usize,
    head: Option<(u16, Framing)>,
    body: Vec<u8>,
    broken: bool,
    whole: bool,
}

impl Response {
    /// Forgets everything but the memory, of which it keeps what a small answer takes.
    pub fn clear(&mut self) {
        for bytes in [&mut self.bytes, &mut self.body] {
            bytes.clear();
            bytes.shrink_to(KEPT);
        }
        (self.cursor, self.head) = (0, None);
        (self.broken, self.whole) = (false, false);
    }

    /// Takes the next bytes in.
    pub fn feed(&mut self, bytes: &[u8]) -> Progress {
        if !self.broken && !self.whole {
            let room = MAX_ANSWER.saturating_sub(self.bytes.len());
            self.bytes
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
            self.advance();
            if !self.broken && self.bytes.len() >= MAX_ANSWER {
                // Enough for a verdict; a probe route's answer is small.
                self.whole = self.head.is_some();
                self.broken = self.head.is_none();
            }
        }
        self.progress()
    }

    /// The peer closed its side. An answer that lacks bytes stays [`Progress::Began`].
    pub fn end(&mut self) -> Progress {
        if let Some((_, Framing::UntilClose)) = self.head {
            self.whole = true;
        }
        self.progress()
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        match self.head {
            _ if self.broken => Progress::NotHttp,
            Some((status, _)) if self.whole => Progress::Whole { status },
            _ if self.bytes.is_empty() => Progress::Nothing,
            _ => Progress::Began,
        }
    }

    /// The body as far as it was read.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn advance(&mut self) {
        while self.head.is_none() {
            const START: &[u8] = b"HTTP/1.";
            let seen = self.bytes.len().min(START.len());
            if self.bytes[..seen] != START[..seen] {
                self.broken = true;
                return;
            }
            let Some(end) = find(&self.bytes, self.cursor.saturating_sub(3), b"\r\n\r\n") else {
                self.cursor = self.bytes.len();
                self.broken = self.bytes.len() > MAX_HEAD;
                return;
            };
            let Some((status, framing)) = head(&self.bytes[..end]) else {
                self.broken = true;
                return;
            };
            self.cursor = end + 4;
            if (100..200).contains(&status) && status != 101 {
                // An interim answer (RFC 9110 §15.2): the final one follows.
                self.bytes.drain(..self.cursor);
                self.cursor = 0;
                if self.bytes.is_empty() {
                    return;
                }
                continue;
            }
            self.head = Some((status, framing));
        }
        match self.head {
            Some((_, Framing::Length(length))) => {
                let missing = length.saturating_sub(self.body.len());
                let take = missing.min(self.bytes.len() - self.cursor);
                self.take(take);
                self.whole = take == missing;
            }
            Some((_, Framing::UntilClose)) => self.take(self.bytes.len() - self.cursor),
            Some((_, Framing::Chunked)) => self.chunks(),
            None => {}
        }
    }

    fn take(&mut self, count: usize) {
        let from = self.cursor;
        self.body.extend_from_slice(&self.bytes[from..from + count]);
        self.cursor += count;
    }

    /// Decodes whole chunks (RFC 9112 §7.1); trailers are not waited for.
    fn chunks(&mut self) {
        loop {
            let rest = &self.bytes[self.cursor..];
            let Some(line) = find(&rest[..rest.len().min(MAX_CHUNK_LINE)], 0, b"\r\n") else {
                self.broken = rest.len() >= MAX_CHUNK_LINE;
                return;
            };
            let Some(size) = chunk_size(&rest[..line]) else {
                self.broken = true;
                return;
            };
            if size == 0 {
                self.whole = true;
                return;
            }
            if size > MAX_ANSWER {
                // Cannot be kept; what is there decides.
                self.whole = true;
                return;
            }
            if rest.len() < line + 2 + size + 2 {
                return;
            }
            if &rest[line + 2 + size..line + 4 + size] != b"\r\n" {
                self.broken = true;
                return;
            }
            self.cursor += line + 2;
            self.take(size);
            self.cursor += 2;
        }
    }
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let from = from.min(bytes.len());
    let at = bytes[from..].windows(what.len()).position(|w| w == what)?;
    Some(from + at)
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    // More digits than fit are simply more than is ever kept.
    let text = core::str::from_utf8(digits).ok()?;
    Some(usize::from_str_radix(text, 16).unwrap_or(usize::MAX))
}

/// Status and framing of a head without its final empty line.
fn head(bytes: &[u8]) -> Option<(u16, Framing)> {
    let mut lines = bytes.split(|b| *b == b'\n');
    let status = status_line(lines.next()?)?;
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let text = core::str::from_utf8(value).ok()?;
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            length = Some(text.parse().unwrap_or(usize::MAX));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked = value
                .rsplit(|b| *b == b',')
                .next()
                .is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        }
    }
    let framing = match (status, chunked, length) {
        (204 | 304, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::UntilClose,
    };
    Some((status, framing))
}

/// `HTTP/1.1 200 OK` (RFC 9112 §4); the reason may be missing.
fn status_line(line: &[u8]) -> Option<u16> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [minor, b' ', a, b, c, tail @ ..] = rest else {
        return None;
    };
    let digits = [*a, *b, *c];
    let plain = minor.is_ascii_digit()
        && digits.iter().all(u8::is_ascii_digit)
        && tail.first().is_none_or(|next| *next == b' ');
    let status = digits
        .iter()
        .fold(0u16, |n, d| n * 10 + u16::from(d.saturating_sub(b'0')));
    (plain && (100..600).contains(&status)).then_some(status)
}

/// The tenant that an answer of `/up` names, if it names one.
pub fn tenant(body: &[u8]) -> Option<Cow<'_, str>> {
    super::skim::text(body, "tenant_id")
}

/// What an answer of `/ready` says: (ready, draining).
pub fn readiness(status: u16, body: &[u8]) -> (bool, bool) {
    #[derive(Deserialize, Default)]
    struct Ready {
        ready: Option<bool>,
        draining: Option<bool>,
    }
    let said: Ready = serde_json::from_slice(body).unwrap_or_default();
    let ready = status == 200 && said.ready.unwrap_or(true);
    (ready, said.draining.unwrap_or(false))
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
