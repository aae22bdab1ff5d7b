//! The way to a server: straight, or through a proxy that only forwards bytes (CONNECT,
//! RFC 9110 §9.3.6). The proxy sees where to, and nothing of what TLS carries.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client as Pool, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use super::error::ClientError;
use crate::config::BaseUrl;
use crate::secret::Secret;

/// A proxy that makes tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens: `http://HOST:PORT`.
    pub url: BaseUrl,
    /// `USER:PASSWORD` in one line, for a proxy that asks for it (RFC 7617); read once.
    pub credentials_file: Option<PathBuf>,
}

impl Proxy {
    fn address(&self) -> Result<Uri, ClientError> {
        let url = self.url.as_str();
        url.parse().map_err(|_| ClientError::Proxy(url.to_owned()))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, ClientError> {
        let Some(file) = &self.credentials_file else {
            return Ok(None);
        };
        let secret = Secret::read(file)?;
        let basic = format!("Basic {}", BASE64_STANDARD.encode(secret.expose()));
        // Base64 always fits into a header.
        Ok(HeaderValue::try_from(basic).ok())
    }
}

type Way<C> = Pool<HttpsConnector<C>, Full<Bytes>>;

/// The connections of one client, kept open by the server that they lead to.
#[derive(Debug)]
pub(super) enum Ways {
    Straight(Way<HttpConnector>),
    Tunnel(Way<Tunnel<HttpConnector>>),
}

impl Ways {
    pub(super) fn new(
        proxy: Option<&Proxy>,
        tls: ClientConfig,
        connect_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        let mut pool = Pool::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_mins(1))
            .pool_max_idle_per_host(4);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1();
        let Some(proxy) = proxy else {
            return Ok(Self::Straight(pool.build(https.wrap_connector(connector))));
        };
        let mut tunnel = Tunnel::new(proxy.address()?, connector);
        if let Some(value) = proxy.authorization()? {
            tunnel = tunnel.with_auth(value);
        }
        Ok(Self::Tunnel(pool.build(https.wrap_connector(tunnel))))
    }

    /// The port of plain HTTP written out: a tunnel knows only that of TLS.
    pub(super) fn whole(&self, uri: Uri) -> Result<Uri, http::Error> {
        let Some(host) = uri.host() else {
            return Ok(uri);
        };
        let plain = uri.scheme_str() == Some("http") && uri.port().is_none();
        if !plain || matches!(self, Self::Straight(_)) {
            return Ok(uri);
        }
        let authority = format!("{host}:80");
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(path)
            .build()
    }

    pub(super) async fn request(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Error> {
        match self {
            Self::Straight(pool) => pool.request(request).await,
            Self::Tunnel(pool) => pool.request(request).await,
        }
    }
}
