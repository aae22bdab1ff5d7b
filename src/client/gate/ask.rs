//! The question to the exporter, asked until it opens or time is over; what each answer means.
//!
//! One call at a time. While it waits, the exporter holds each call for some seconds and answers
//! at once when the gate opens, so that waiting costs a few requests a minute.

use std::time::Duration;

use pnwatch_edge::http::{CallError, Client, Request, Response};
use serde::Deserialize;
use tokio::time::Instant;

use crate::client::failure::code;
use crate::client::monitor::encode;

/// How long one call may take beside what the exporter holds it.
const CALL: Duration = Duration::from_secs(10);
/// How long the exporter is asked to hold one call: progress is told this often.
const HOLD: Duration = Duration::from_secs(10);
/// Between two calls when the monitor does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// No answer in time (`EX_TEMPFAIL`).
const LATE: u8 = 75;

/// Why the gate does not open.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Reason {
    /// Which condition.
    #[serde(default)]
    pub(super) rule: String,
    /// About what.
    #[serde(default)]
    pub(super) about: String,
    /// What is the matter.
    #[serde(default)]
    pub(super) text: String,
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    Closed,
    Unknown,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }
}

/// The exporter's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) cluster: String,
    pub(super) reasons: Vec<Reason>,
    pub(super) targets: u64,
    pub(super) measured: u64,
}

/// How asking ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With an answer.
    Said(Said),
    /// Without: the exit code and a sentence.
    Not { code: u8, why: String },
}

impl End {
    pub(super) fn misused(code: u8, why: impl Into<String>) -> Self {
        Self::Not {
            code,
            why: why.into(),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Said(said) => match said.verdict {
                Verdict::Open => 0,
                Verdict::Closed => 1,
                Verdict::Unknown => 2,
            },
            // Whatever went wrong is not open.
            Self::Not { code, .. } => (*code).max(1),
        }
    }

    /// One sentence.
    pub(super) fn headline(&self) -> String {
        match self {
            Self::Said(said) => {
                let of = format!("{} of {} targets measured", said.measured, said.targets);
                match (said.verdict, said.reasons.first()) {
                    (Verdict::Open, _) => format!("open, {of}"),
                    (verdict, None) => format!("{}, {of}", verdict.word()),
                    (verdict, Some(first)) => {
                        let more = match said.reasons.len() {
                            1 => String::new(),
                            n => format!(" (and {} more)", n - 1),
                        };
                        format!("{}, {of}: {}{more}", verdict.word(), first.sentence())
                    }
                }
            }
            Self::Not { why, .. } => format!("no answer: {why}"),
        }
    }

    fn is_worth_a_retry(&self) -> bool {
        matches!(self, Self::Not { code, .. } if [code::UNAVAILABLE, LATE].contains(code))
    }
}

impl Reason {
    pub(super) fn sentence(&self) -> String {
        if self.about.is_empty() {
            self.text.clone()
        } else {
            format!("{} {}", self.about, self.text)
        }
    }
}

/// Who asks, whom, what.
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    pub(super) url: &'a str,
    pub(super) parameters: &'a [(&'static str, &'a str)],
}

impl Asker<'_> {
    /// Asks once, without a wait, within `limit`.
    pub(super) async fn once(&self, limit: Duration) -> End {
        self.call(Duration::ZERO, limit).await
    }

    /// Asks until the gate is open, or `timeout` is over; then the last end counts.
    pub(super) async fn until_open(&self, timeout: Duration, progress: impl Fn(&str)) -> End {
        if timeout.is_zero() {
            return self.once(CALL).await;
        }
        let started = Instant::now();
        let deadline = started + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Whole milliseconds, as the parameter has them; the last call is a plain question.
            let hold = Duration::from_millis(left.min(HOLD).as_millis() as u64);
            let end = self.call(hold, hold + CALL.min(left.max(PAUSE))).await;
            let left = deadline.saturating_duration_since(Instant::now());
            let retry = end.is_worth_a_retry();
            let open = end.exit_code() == 0;
            let answered = matches!(end, End::Said(_));
            if open || !(retry || answered) || left.is_zero() {
                return end;
            }
            let waited = started.elapsed().as_secs();
            let all = timeout.as_secs();
            progress(&format!("{waited} s of {all} s: {}", end.headline()));
            if retry {
                tokio::time::sleep(PAUSE.min(left)).await;
            }
        }
    }

    async fn call(&self, hold: Duration, limit: Duration) -> End {
        let mut url = format!("{}/v1/gate", self.url);
        let hold_text = format!("{}ms", hold.as_millis());
        let wait = (!hold.is_zero()).then_some(("wait", hold_text.as_str()));
        for (n, (name, value)) in self.parameters.iter().copied().chain(wait).enumerate() {
            url.push(if n == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.push_str(&encode(value));
        }
        match self.client.send(Request::get(url).within(limit)).await {
            Ok(response) => read(&response),
            Err(error) => End::misused(code_of(&error), error.to_string()),
        }
    }
}

fn code_of(error: &CallError) -> u8 {
    match error {
        CallError::Timeout { .. } => LATE,
        CallError::Connect { .. } | CallError::Broken { .. } => code::UNAVAILABLE,
        CallError::BadUrl { .. } => code::USAGE,
        // A token that cannot be read; a service that is no gate.
        CallError::Secret(_) | CallError::TooLarge { .. } => code::CONFIG,
    }
}

/// What a response means. Only 200 with an answer in which everything agrees is a verdict.
pub(super) fn read(response: &Response) -> End {
    #[derive(Deserialize, Default)]
    struct Body {
        #[serde(default)]
        cluster: String,
        data: Option<Data>,
        error: Option<Refusal>,
    }
    #[derive(Deserialize)]
    struct Data {
        ok: bool,
        verdict: String,
        #[serde(default)]
        reasons: Vec<Reason>,
        targets: u64,
        measured: u64,
    }
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let body: Body = serde_json::from_slice(&response.body).unwrap_or_default();
    let refused = body.error.map_or_else(
        || format!("HTTP {}: {}", response.status, response.first_line()),
        |refusal| refusal.message,
    );
    let no_gate = || {
        let line = response.first_line();
        let why = format!(
            "what answers is not pnwatch's gate (HTTP {}: {line:.60}); --url must name the page \
             listener of `pnwatch serve`",
            response.status
        );
        End::misused(code::CONFIG, why)
    };
    match (response.status, body.data) {
        (200, Some(data)) => {
            let evidence = data.targets > 0 && data.measured > 0;
            let verdict = match data.verdict.as_str() {
                "open" if data.ok && evidence => Verdict::Open,
                "closed" if !data.ok => Verdict::Closed,
                // Also a word of a newer exporter, or an answer that contradicts itself.
                _ => Verdict::Unknown,
            };
            End::Said(Said {
                verdict,
                cluster: body.cluster,
                reasons: data.reasons,
                targets: data.targets,
                measured: data.measured,
            })
        }
        (400, _) => End::misused(code::USAGE, refused),
        (401 | 403, _) => End::misused(
            code::CONFIG,
            format!("the exporter does not know us: {refused}; look at --token-file"),
        ),
        (421, _) => End::misused(code::CONFIG, refused),
        (408 | 429 | 500.., _) => End::misused(code::UNAVAILABLE, refused),
        // 404 and redirects among them: a token must not travel.
        _ => no_gate(),
    }
}
