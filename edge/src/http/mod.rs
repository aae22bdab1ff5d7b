//! The HTTP client of both daemons: bounded in time and size, with a token that follows its
//! file.
//!
//! Owns a connection pool per [`Client`]; connections run as tasks of the runtime. Every call
//! is cancel-safe: dropping it closes its connection.

mod error;
mod way;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use rustls::RootCertStore;

pub use self::error::{CallError, ClientError};
pub use self::way::Proxy;
use self::way::Ways;
use crate::secret::SecretFile;
use crate::tls;

/// What a [`Client`] is made of.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Certificate authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Only `http://` is called: the system's authorities, a megabyte, are not read.
    pub plain: bool,
    /// Where to note until when the chains of servers are valid.
    pub expiry: Option<tls::ChainExpiry>,
    /// The certificate to show to servers that ask for one, followed through renewals.
    pub identity: Option<tls::Keypair>,
    /// A proxy that every call goes through; `None` = straight to the server.
    pub proxy: Option<Proxy>,
    /// A bearer token, read again whenever the file changes.
    pub token_file: Option<PathBuf>,
    /// How long connecting (TCP) may take.
    pub connect_timeout: Duration,
    /// How long a whole call may take, body included.
    pub timeout: Duration,
    /// Largest accepted response body in bytes.
    pub body_limit: usize,
    /// Headers of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who is asking.
    pub user_agent: HeaderValue,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            plain: false,
            expiry: None,
            identity: None,
            proxy: None,
            token_file: None,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            body_limit: 4 << 20,
            headers: Vec::new(),
            user_agent: HeaderValue::from_static(concat!("pnwatch/", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Headers beside the client's own; they win over those.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Instead of the client's own limit on the whole call (long-polls).
    pub timeout: Option<Duration>,
}

impl Request {
    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
        }
    }

    /// A POST of `body`.
    pub fn post(url: impl Into<String>, content_type: &'static str, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self {
            method: Method::POST,
            url: url.into(),
            headers,
            body,
            timeout: None,
        }
    }

    /// With a limit of its own on the whole call.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// One response, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, at most the client's limit.
    pub body: Bytes,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first line of the body, at most 200 characters, for a log line.
    pub fn first_line(&self) -> String {
        let head = &self.body[..self.body.len().min(1024)];
        let text = String::from_utf8_lossy(head);
        let line = text.lines().next().unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// The client. Make one per set of settings and keep it: it holds the connections.
#[derive(Debug)]
pub struct Client {
    ways: Ways,
    settings: ClientSettings,
    token: Option<SecretFile>,
}

impl Client {
    /// Sets the client up; certificates are read now, the token at each call.
    pub fn new(settings: ClientSettings) -> Result<Self, ClientError> {
        let authorities = match &settings.ca_file {
            Some(file) => tls::read_authorities(file)?,
            None if settings.plain => RootCertStore::empty(),
            None => tls::system_authorities(),
        };
        let tls = tls::client_config(
            authorities,
            settings.expiry.clone(),
            settings.identity.clone(),
        )?;
        let ways = Ways::new(settings.proxy.as_ref(), tls, settings.connect_timeout)?;
        let token = settings.token_file.clone().map(SecretFile::new);
        Ok(Self {
            ways,
            settings,
            token,
        })
    }

    /// GETs `url`.
    pub async fn get(&self, url: &str) -> Result<Response, CallError> {
        self.send(Request::get(url)).await
    }

    /// POSTs `body` to `url`.
    pub async fn post(
        &self,
        url: &str,
        content_type: &'static str,
        content_encoding: Option<&'static str>,
        body: Bytes,
    ) -> Result<Response, CallError> {
        let mut request = Request::post(url, content_type, body);
        if let Some(encoding) = content_encoding {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        self.send(request).await
    }

    /// Sends one request. Redirects are not followed: a token must not travel.
    pub async fn send(&self, request: Request) -> Result<Response, CallError> {
        let url = error::public(&request.url);
        let after = request.timeout.unwrap_or(self.settings.timeout);
        let built = self.build(request, &url)?;
        match tokio::time::timeout(after, self.exchange(built, &url)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Timeout { url, after }),
        }
    }

    fn build(&self, request: Request, url: &str) -> Result<http::Request<Full<Bytes>>, CallError> {
        let bad = |why: String| CallError::BadUrl {
            url: url.to_owned(),
            why,
        };
        let uri: Uri = request
            .url
            .parse()
            .map_err(|error: http::uri::InvalidUri| bad(error.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(bad("it needs http:// or https:// and a host".to_owned()));
        }
        let uri = self
            .ways
            .whole(uri)
            .map_err(|error| bad(error.to_string()))?;
        let mut built = http::Request::new(Full::new(request.body));
        *built.method_mut() = request.method;
        *built.uri_mut() = uri;
        let headers = built.headers_mut();
        headers.insert(USER_AGENT, self.settings.user_agent.clone());
        for (name, value) in &self.settings.headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(token) = &self.token {
            let secret = token.current()?;
            let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose()))
                .map_err(|_| bad("the token cannot stand in a header".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        for (name, value) in &request.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(built)
    }

    async fn exchange(
        &self,
        request: http::Request<Full<Bytes>>,
        url: &str,
    ) -> Result<Response, CallError> {
        let answer = self
            .ways
            .request(request)
            .await
            .map_err(|error| CallError::from_pool(url, self.settings.proxy.as_ref(), &error))?;
        let (head, body) = answer.into_parts();
        let limit = self.settings.body_limit;
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                CallError::TooLarge {
                    url: url.to_owned(),
                    limit,
                }
            } else {
                CallError::Broken {
                    url: url.to_owned(),
                    why: error::chain(error.as_ref()),
                }
            }
        })?;
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

#[cfg(test)]
mod tests;
