//! The way to one exporter: reports go there, plans come from there.
//!
//! A small trait, so that an embedded prober or a test may use something else than HTTP.
//! Every call is cancel-safe: dropping it ends it.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::io::{BufWriter, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pnwatch_core::plan::{Plan, PlanId};
use pnwatch_core::reply;
use pnwatch_core::subject::Subject;
use pnwatch_core::wire::Report;
use pnwatch_edge::config::ExporterEndpoint;
use pnwatch_edge::http::{CallError, Client, ClientError, ClientSettings, Request};

/// A boxed future, so that the trait can be an object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send + 'a>>;

/// How long a report may take.
pub const REPORT_WITHIN: Duration = Duration::from_secs(3);
/// How long the exporter is asked to hold a plan request.
pub const PLAN_WAIT: Duration = Duration::from_secs(25);

/// Bytes that are packed at once.
const CHUNK: usize = 16 << 10;
/// Reports of so many paths are packed on the spot.
const AT_ONCE: usize = 2500;

/// The way to one exporter.
pub trait Transport: Send + Sync + 'static {
    /// Who is at the other end, for log lines.
    fn name(&self) -> &str;
    /// Delivers one report; brings what the exporter wants checked now.
    fn report<'a>(&'a self, report: &'a Report) -> Answer<'a, Vec<Subject>>;
    /// Asks for a plan other than `have`; `None` = nothing new.
    fn plan<'a>(&'a self, have: Option<&'a PlanId>, wait: Duration) -> Answer<'a, Option<Plan>>;
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The exporter does not know the token, or knows it as another vantage's.
    #[error(
        "{exporter} refused the token (HTTP {status}): {said}; check `token_file` of this exporter against `serve.tokens` there"
    )]
    Refused {
        /// Which exporter.
        exporter: String,
        /// 401 or 403.
        status: u16,
        /// What it said.
        said: String,
    },
    /// The report will never be accepted as it is.
    #[error("{exporter} refused the report (HTTP {status}): {said}; update the older side")]
    Unacceptable {
        /// Which exporter.
        exporter: String,
        /// 4xx.
        status: u16,
        /// What it said.
        said: String,
    },
    /// Another time, perhaps.
    #[error("{exporter} answered HTTP {status}: {said}")]
    Busy {
        /// Which exporter.
        exporter: String,
        /// The status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What came is no plan.
    #[error("{exporter} sent something that is no plan: {why}")]
    NoPlan {
        /// Which exporter.
        exporter: String,
        /// Why.
        why: String,
    },
}

impl TransportError {
    /// Whether the same report may be accepted later.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Unacceptable { .. })
    }
}

/// HTTP to an exporter's ingest listener.
#[derive(Debug)]
pub struct HttpTransport {
    name: String,
    report_url: String,
    plan_url: String,
    client: Client,
}

impl HttpTransport {
    /// Sets up the client of one exporter.
    pub fn new(endpoint: &ExporterEndpoint) -> Result<Self, ClientError> {
        let settings = ClientSettings {
            ca_file: endpoint.ca_file.clone(),
            plain: !endpoint.url.is_https(),
            identity: endpoint.identity.clone(),
            proxy: endpoint.proxy.clone(),
            token_file: endpoint.token_file.clone(),
            connect_timeout: Duration::from_secs(2),
            timeout: REPORT_WITHIN,
            body_limit: 32 << 20,
            ..ClientSettings::default()
        };
        Ok(Self {
            name: endpoint.url.to_string(),
            report_url: endpoint.url.join("/v1/report"),
            plan_url: endpoint.url.join("/v1/plan"),
            client: Client::new(settings)?,
        })
    }

    fn refusal(&self, response: &pnwatch_edge::http::Response) -> TransportError {
        let (exporter, status, said) = (self.name.clone(), response.status, response.first_line());
        match status {
            401 | 403 => TransportError::Refused {
                exporter,
                status,
                said,
            },
            400 | 413 | 415 | 422 => TransportError::Unacceptable {
                exporter,
                status,
                said,
            },
            _ => TransportError::Busy {
                exporter,
                status,
                said,
            },
        }
    }
}

/// The report as it goes over the wire: JSON, gzip (RFC 1952).
pub fn encode(report: &Report) -> Bytes {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Packed as it is written: the whole text would be ten times as large.
    let mut writer = BufWriter::with_capacity(CHUNK, encoder);
    // Writing to memory does not fail; were it to, the exporter would refuse the report by name.
    let _ = serde_json::to_writer(&mut writer, report);
    let _ = writer.flush();
    let (encoder, _) = writer.into_parts();
    encoder.finish().unwrap_or_default().into()
}

impl Transport for HttpTransport {
    fn name(&self) -> &str {
        &self.name
    }

    fn report<'a>(&'a self, report: &'a Report) -> Answer<'a, Vec<Subject>> {
        Box::pin(async move {
            let body = if report.paths.len() > AT_ONCE {
                // Milliseconds, in which no check would start: its only owner is the caller.
                let copy = report.clone();
                let packed = tokio::task::spawn_blocking(move || encode(&copy)).await;
                packed.unwrap_or_else(|_| encode(report))
            } else {
                encode(report)
            };
            let response = self
                .client
                .post(&self.report_url, "application/json", Some("gzip"), body)
                .await?;
            if response.is_success() {
                Ok(reply::asked(&response.body))
            } else {
                Err(self.refusal(&response))
            }
        })
    }

    fn plan<'a>(&'a self, have: Option<&'a PlanId>, wait: Duration) -> Answer<'a, Option<Plan>> {
        Box::pin(async move {
            let wait_s = wait.as_secs();
            let mut url = format!("{}?wait={wait_s}", self.plan_url);
            if let Some(have) = have {
                url = format!("{url}&have={have}");
            }
            let request = Request::get(url).within(wait.saturating_add(Duration::from_secs(10)));
            let response = self.client.send(request).await?;
            match response.status {
                200 => serde_json::from_slice(&response.body)
                    .map(Some)
                    .map_err(|error| TransportError::NoPlan {
                        exporter: self.name.clone(),
                        why: error.to_string().chars().take(200).collect(),
                    }),
                304 => Ok(None),
                _ => Err(self.refusal(&response)),
            }
        })
    }
}
