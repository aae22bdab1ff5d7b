//! A report's body from the wire to a checked value, bounded at every step.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use pnwatch_core::wire::{MAX_REPORT_BODY, MAX_REPORT_BYTES, Report, ReportError};

use crate::answer::Refusal;

/// How much of a body that is refused is still taken off the wire: a client that is cut off
/// while it writes sees a reset instead of the answer.
pub const MAX_TAKEN: usize = 32 << 20;
/// For how long at most.
const DRAINED_FOR: Duration = Duration::from_secs(5);
/// How long a prober may take to send a report.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Reads, unpacks and checks a report.
pub(super) async fn report(headers: &HeaderMap, body: Body) -> Result<Report, Refusal> {
    let packed = match tokio::time::timeout(BODY_TIMEOUT, collect(headers, body)).await {
        Ok(packed) => packed?,
        Err(_) => {
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow",
                "the report did not arrive within 15 s; look at the path from prober to exporter",
            ));
        }
    };
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|v| v.to_str().unwrap_or("?").to_ascii_lowercase());
    // At most a few ten milliseconds, even for the largest.
    let work = move || read(encoding.as_deref(), &packed);
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "reading the report failed; this is a fault of the exporter, its log says more",
        )
    })?
}

async fn collect(headers: &HeaderMap, mut body: Body) -> Result<Bytes, Refusal> {
    let announced: Option<usize> = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    if let Some(size) = announced.filter(|size| *size > MAX_REPORT_BODY) {
        drain(body, 0).await;
        return Err(too_large(&format!("the report has {size} bytes as sent")));
    }
    let mut taken = BytesMut::with_capacity(announced.unwrap_or(8 << 10));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            malformed("the report broke off before its end; the prober will send it again")
        })?;
        if let Ok(data) = frame.into_data() {
            if taken.len() + data.len() > MAX_REPORT_BODY {
                let read = taken.len() + data.len();
                drop(taken);
                drain(body, read).await;
                return Err(too_large("the report is larger as sent"));
            }
            taken.extend_from_slice(&data);
        }
    }
    Ok(taken.freeze())
}

/// Takes the body of a request that is refused by its head off the wire.
pub(super) async fn discard(body: Body) {
    drain(body, MAX_TAKEN - MAX_REPORT_BODY).await;
}

async fn drain(mut body: Body, mut read: usize) {
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_TAKEN {
                return;
            }
        }
    };
    // Whoever sends that slowly loses the answer.
    let _ = tokio::time::timeout(DRAINED_FOR, rest).await;
}

/// Unpacks and checks a whole body. Total.
pub(crate) fn read(encoding: Option<&str>, packed: &Bytes) -> Result<Report, Refusal> {
    let json = unpack(encoding, packed)?;
    Report::from_json(&json).map_err(|error| refuse_report(&error))
}

fn unpack(encoding: Option<&str>, packed: &Bytes) -> Result<Bytes, Refusal> {
    match encoding {
        None | Some("identity") => Ok(packed.clone()),
        Some("gzip" | "x-gzip") => {
            let mut json = Vec::new();
            MultiGzDecoder::new(packed.as_ref())
                .take(MAX_REPORT_BYTES as u64 + 1)
                .read_to_end(&mut json)
                .map_err(|error| malformed(&format!("the report is not valid gzip: {error}")))?;
            if json.len() > MAX_REPORT_BYTES {
                return Err(too_large("the report is larger when unpacked"));
            }
            Ok(json.into())
        }
        Some(other) => {
            let other: String = other.chars().take(32).collect();
            Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoding",
                format!("Content-Encoding {other:?} is not read here; send gzip or identity"),
            ))
        }
    }
}

fn too_large(what: &str) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!(
            "{what}; at most {} KiB as sent and {} KiB unpacked are accepted: report more often or plan fewer targets per vantage",
            MAX_REPORT_BODY >> 10,
            MAX_REPORT_BYTES >> 10
        ),
    )
}

fn malformed(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "malformed", message)
}

fn refuse_report(error: &ReportError) -> Refusal {
    let code = match error {
        ReportError::Version(_) => "wrong_version",
        _ => "malformed",
    };
    Refusal::new(StatusCode::BAD_REQUEST, code, error.to_string())
}
