//! Who is let in, and what every answer carries: the check of `Host` on a loopback listener, the
//! rate of each source, the reader, the security headers. Style, script and health need no reader.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use pnwatch_edge::clock::SharedClock;

use super::rate::Rate;
use super::reader::Readers;
use crate::answer::Refusal;
use crate::tally::{PageRefusal, Tally};

/// Nothing but what the listener itself serves; no inline script or style, no frame, no form.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the guard knows.
pub(super) struct Guard {
    /// The listener is bound to loopback.
    pub(super) local: bool,
    /// Who may read.
    pub(super) readers: Arc<Readers>,
    /// How much each source asked.
    pub(super) rate: Rate,
    /// When.
    pub(super) clock: SharedClock,
    /// Counts refusals.
    pub(super) tally: Arc<Tally>,
}

/// Puts the guard before `routes`.
pub(super) fn protect(routes: Router, guard: Guard) -> Router {
    let guard = Arc::new(guard);
    routes.layer(from_fn(move |request: Request, next: Next| {
        let guard = Arc::clone(&guard);
        async move {
            let mut response = match guard.admit(&request) {
                Ok(()) => next.run(request).await,
                Err((why, refusal)) => {
                    guard.tally.page_refused(why);
                    let mut response = refusal.into_response();
                    if why == PageRefusal::Unauthorized {
                        // What makes a browser ask.
                        let scheme =
                            HeaderValue::from_static("Basic realm=\"pnwatch\", charset=\"UTF-8\"");
                        response
                            .headers_mut()
                            .insert(header::WWW_AUTHENTICATE, scheme);
                    }
                    response
                }
            };
            harden(&mut response);
            response
        }
    }))
}

impl Guard {
    fn admit(&self, request: &Request) -> Result<(), (PageRefusal, Refusal)> {
        named(request, self.local).map_err(|refusal| (PageRefusal::Host, refusal))?;
        if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
            self.rate
                .take(peer.ip(), self.clock.now().tick)
                .map_err(|_| {
                    let message =
                        "too many requests from this address; slow down and come again in a second";
                    (
                        PageRefusal::Rate,
                        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate", message),
                    )
                })?;
        }
        if open_to_all(request.uri().path()) {
            return Ok(());
        }
        self.readers
            .admit(request.headers())
            .map_err(|refusal| (PageRefusal::Unauthorized, refusal))
    }
}

/// Nothing of a customer's stands in these.
fn open_to_all(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz") || path.starts_with("/assets/")
}

fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
}

fn named(request: &Request, local: bool) -> Result<(), Refusal> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if !local || is_local(host) {
        return Ok(());
    }
    let host: String = host.chars().take(80).collect();
    Err(Refusal::new(
        StatusCode::MISDIRECTED_REQUEST,
        "host",
        format!(
            "the page listens on loopback and answers for localhost only, not for {host:?}; open it by 127.0.0.1, or set serve.listen.page"
        ),
    ))
}

/// `localhost` or a loopback address, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:9761",
            "127.1.2.3",
            "[::1]:9761",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "198.51.100.7:9761",
            "[2001:db8::1]",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
