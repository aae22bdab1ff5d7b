//! Answers as HTTP responses.

use axum::body::Body;
use http::{Response, StatusCode, header};
use serde_json::Value;

use crate::{auth, requests::Request, status::Refusal};

pub(crate) fn refusal_by_fault(code: u16, request: &Request) -> Refusal {
    match code {
        401 => Refusal::unauthorized(),
        403 => auth::forbidden(&request.user, request),
        404 => Refusal::no_such_resource(),
        410 => Refusal::expired(0, 0),
        429 => Refusal::new(
            429,
            "TooManyRequests",
            "too many requests, please try again later",
        ),
        503 => Refusal::new(503, "ServiceUnavailable", "apiserver not ready"),
        504 => Refusal::new(504, "Timeout", "the request did not complete in time"),
        code if (400..600).contains(&code) => Refusal::new(
            code,
            "InternalError",
            "an error on the server was switched on",
        ),
        _ => Refusal::new(
            500,
            "InternalError",
            "an error on the server was switched on",
        ),
    }
}

pub(crate) fn refused(refusal: &Refusal) -> Response<Body> {
    let code = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(code, &refusal.to_status());
    if refusal.code == 429 {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

pub(crate) fn json_response(code: StatusCode, value: &Value) -> Response<Body> {
    plain(code, "application/json", value.to_string().into_bytes())
}

pub(crate) fn plain(code: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}
