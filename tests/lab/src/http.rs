//! HTTP requests from inside a namespace.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::net::Namespace;

/// The most that an answer may hold.
const MAX_BODY: usize = 64 << 20;

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body, or an error that quotes it when the status is no success.
    pub fn expect_success(self) -> Result<Bytes> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        bail!(
            "status {}: {}",
            self.status,
            String::from_utf8_lossy(&self.body).trim()
        )
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request on one connection from inside `namespace`, answered within `patience`.
/// A body that is not empty is sent as JSON.
pub fn request(
    namespace: &Namespace,
    method: &str,
    address: &str,
    path: &str,
    body: &str,
    patience: Duration,
) -> Result<Answer> {
    namespace.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::time::timeout(patience, exchange(method, address, path, body))
                .await
                .with_context(|| {
                    format!("{method} http://{address}{path}: no answer within {patience:?}")
                })?
                .with_context(|| format!("{method} http://{address}{path}"))
        })
    })?
}

/// One request on a new connection, in the namespace of the calling thread.
pub async fn exchange(method: &str, address: &str, path: &str, body: &str) -> Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let collected = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = collected.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok(Answer { status, body })
    };
    // The connection must be driven beside the request; it ends when the sender is dropped.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}
