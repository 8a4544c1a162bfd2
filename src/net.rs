//! The one outbound HTTP client: key sets, introspection, upstream exchanges.
//!
//! Owns the connections, the TLS trust (Mozilla's roots and a private one), the addresses that may be
//! connected to, and the bounds on every answer. Knows nothing of what is sent or what an answer means: a
//! redirect, too, is just an answer, and is never followed. No error holds a body, a token or a credential.

mod guard;

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::{Duration, Instant};
use std::{fmt, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tracing::{Instrument as _, Span};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::metrics::Upstream;
use crate::oauth::secret::Secret;
use crate::oauth::uri::{Uri, UriError};
use crate::trace;
use guard::{Guard, Refused};

/// Shorter than the idle time of common servers and balancers, so that they rarely close first.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_PER_HOST: usize = 32;
const CONNECT: Duration = Duration::from_secs(5);
/// Bounds the head of an answer, and how much of a body is read at once.
const BUFFER: usize = 64 * 1024;
const AGENT: &str = concat!("cambist/", env!("CARGO_PKG_VERSION"));

/// Whom the client trusts, and where it may go, besides what holds for everybody.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outbound {
    /// Private roots, in addition to Mozilla's, in DER.
    pub roots: Vec<CertificateDer<'static>>,
    /// Addresses that may be connected to although they are of a kind that is refused otherwise.
    pub allow: Vec<IpNet>,
}

impl Outbound {
    /// Reads the certificates of a PEM file; there is at least one, and each can be a root.
    ///
    /// # Errors
    /// Says in words that follow the file's name what is wrong with it.
    pub fn roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        let mut roots = Vec::new();
        for found in CertificateDer::pem_slice_iter(pem) {
            roots.push(found.map_err(|_| "is not PEM".to_owned())?);
        }
        if roots.is_empty() {
            return Err("has no certificate (`BEGIN CERTIFICATE`)".to_owned());
        }
        for root in &roots {
            RootCertStore::empty()
                .add(root.clone())
                .map_err(|error| format!("has a certificate that is no root: {}", brief(&error)))?;
        }
        Ok(roots)
    }
}

/// The client. Clones share their connections.
#[derive(Clone)]
pub struct Net {
    client: legacy::Client<HttpsConnector<HttpConnector<Guard>>, Full<Bytes>>,
    outbound: Outbound,
}

impl Net {
    /// A client without connections, private roots or exceptions.
    ///
    /// # Errors
    /// Fails where TLS cannot be set up.
    pub fn new() -> Result<Self, NetError> {
        Self::with(Outbound::default())
    }

    /// A client without connections.
    ///
    /// # Errors
    /// Fails where TLS cannot be set up, or a root cannot be one.
    pub fn with(outbound: Outbound) -> Result<Self, NetError> {
        // The name is resolved once, and what was checked is what is connected to.
        let mut tcp = HttpConnector::new_with_resolver(Guard::new(&outbound.allow));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in &outbound.roots {
            roots
                .add(root.clone())
                .map_err(|error| NetError::Tls(brief(&error)))?;
        }
        // The provider is the only one compiled in: aws-lc-rs.
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(BUFFER)
            .build(connector);
        Ok(Self { client, outbound })
    }

    /// What it was made with.
    #[must_use]
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// Whether it would refuse to connect there, as far as the URL itself tells: an address of a kind
    /// that is never connected to. What a name resolves to is seen at every connection.
    #[must_use]
    pub fn refuses(&self, endpoint: &Endpoint) -> bool {
        endpoint.literal().is_some_and(|address| {
            // Loopback was allowed, or not, when the endpoint was made.
            !address.is_loopback() && guard::refused(address, &self.outbound.allow)
        })
    }

    fn admit(&self, endpoint: &Endpoint) -> Result<(), NetError> {
        match self.refuses(endpoint) {
            true => Err(NetError::Forbidden),
            false => Ok(()),
        }
    }

    /// Posts a form. `authorization` is the whole value of that header; `body` is
    /// [form-encoded](form_encode) and is wiped after use. Never sent twice.
    ///
    /// # Errors
    /// Fails where there is no complete answer within the limits.
    pub async fn post_form(
        &self,
        upstream: &Upstream,
        endpoint: &Endpoint,
        authorization: Option<&Secret>,
        body: String,
        accept: &str,
        limits: &Limits,
    ) -> Result<Answer, NetError> {
        let asked = Asked::now(upstream, "POST");
        let work = self.post(endpoint, authorization, body, accept, limits);
        asked.end(work).await
    }

    async fn post(
        &self,
        endpoint: &Endpoint,
        authorization: Option<&Secret>,
        body: String,
        accept: &str,
        limits: &Limits,
    ) -> Result<Answer, NetError> {
        self.admit(endpoint)?;
        let mut request = request(
            Method::POST,
            endpoint,
            accept,
            Bytes::from_owner(Zeroizing::new(body)),
        )?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        if let Some(value) = authorization {
            request
                .headers_mut()
                .insert(AUTHORIZATION, sensitive(value)?);
        }
        within(limits, async {
            answer(self.send(request).await?, limits.max_body).await
        })
        .await
    }

    /// Gets a document. Asks once more where a connection died before an answer began, which is how an idle
    /// connection ends that the other side has given up.
    ///
    /// # Errors
    /// Fails where there is no complete answer within the limits.
    pub async fn get(
        &self,
        upstream: &Upstream,
        endpoint: &Endpoint,
        accept: &str,
        edition: Edition<'_>,
        limits: &Limits,
    ) -> Result<Answer, NetError> {
        let asked = Asked::now(upstream, "GET");
        let work = self.document(endpoint, accept, edition, limits);
        asked.end(work).await
    }

    async fn document(
        &self,
        endpoint: &Endpoint,
        accept: &str,
        edition: Edition<'_>,
        limits: &Limits,
    ) -> Result<Answer, NetError> {
        self.admit(endpoint)?;
        let mut once = request(Method::GET, endpoint, accept, Bytes::new())?;
        match edition {
            Edition::Any => {}
            Edition::Other(etag) => {
                let value = HeaderValue::from_str(etag).map_err(|_| NetError::Unsendable)?;
                once.headers_mut().insert(IF_NONE_MATCH, value);
            }
            Edition::Newest => {
                let value = HeaderValue::from_static("no-cache");
                once.headers_mut().insert(CACHE_CONTROL, value);
            }
        }
        let again = once.clone();
        within(limits, async {
            let response = match self.send(once).await {
                Err(NetError::Closed) => self.send(again).await?,
                other => other?,
            };
            answer(response, limits.max_body).await
        })
        .await
    }

    /// Posts bytes with these headers, for the process itself: nobody's realm is asked, so nothing is counted
    /// or traced.
    ///
    /// # Errors
    /// Fails where there is no complete answer within the limits.
    pub async fn post_bytes(
        &self,
        endpoint: &Endpoint,
        headers: &[(String, Vec<u8>)],
        body: Vec<u8>,
        limits: &Limits,
    ) -> Result<Answer, NetError> {
        self.admit(endpoint)?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.0.clone();
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| NetError::Unsendable)?;
            let value = HeaderValue::from_bytes(value).map_err(|_| NetError::Unsendable)?;
            request.headers_mut().insert(name, value);
        }
        within(limits, async {
            answer(self.send(request).await?, limits.max_body).await
        })
        .await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NetError> {
        self.client
            .request(request)
            .await
            .map_err(|error| unanswered(&error))
    }
}

/// A request to somebody, which is measured and traced however it ends.
struct Asked<'a> {
    upstream: &'a Upstream,
    span: Span,
    began: Instant,
    result: &'static str,
}

impl<'a> Asked<'a> {
    fn now(upstream: &'a Upstream, method: &'static str) -> Self {
        Self {
            upstream,
            span: trace::client(upstream, method),
            began: Instant::now(),
            result: "abandoned", // by whoever has dropped it since
        }
    }

    async fn end(
        mut self,
        work: impl Future<Output = Result<Answer, NetError>>,
    ) -> Result<Answer, NetError> {
        let result = work.instrument(self.span.clone()).await;
        let said = result.as_ref().map(|answer| answer.status);
        trace::asked(&self.span, said.map_err(NetError::reason));
        self.result = match &result {
            Ok(answer) if answer.status < 400 => "ok",
            Ok(answer) if answer.status < 500 => "status_4xx",
            Ok(_) => "status_5xx",
            Err(error) => error.reason(),
        };
        result
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.upstream.asked(self.result, seconds);
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

/// A place to send requests to: `https` anywhere, `http` only on this machine, neither user
/// information nor a fragment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint(hyper::Uri);

impl Endpoint {
    /// The same, with plain `http` to any host: what is sent and what is answered can be read and
    /// changed on the way.
    ///
    /// # Errors
    /// Refuses any scheme but `https` and `http`.
    pub fn allow_http(uri: &Uri) -> Result<Self, EndpointError> {
        if !matches!(uri.scheme(), "https" | "http") {
            return Err(EndpointError::Scheme);
        }
        let uri: hyper::Uri = uri.canonical().parse().map_err(|_| EndpointError::Scheme)?;
        if uri.host().is_none_or(str::is_empty) {
            Err(EndpointError::Scheme)
        } else {
            Ok(Self(uri))
        }
    }

    /// An endpoint that another party named in an answer: `https` only, and on this machine only where
    /// the one who was asked is on this machine too.
    ///
    /// # Errors
    /// Refuses everything else.
    pub fn named_by(uri: &Uri, asked: &Self) -> Result<Self, EndpointError> {
        let endpoint = Self::try_from(uri)?;
        if endpoint.is_local() && !asked.is_local() {
            Err(EndpointError::Local)
        } else {
            Ok(endpoint)
        }
    }

    /// Whether it is spelled as this machine: `localhost` or a loopback address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self.literal() {
            Some(address) => address.is_loopback(),
            None => self.0.host() == Some(guard::LOCALHOST),
        }
    }

    /// The address, where the URL has one for a host.
    fn literal(&self) -> Option<IpAddr> {
        let host = self.0.host()?;
        match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        }
    }
}

impl TryFrom<&Uri> for Endpoint {
    type Error = EndpointError;

    fn try_from(uri: &Uri) -> Result<Self, EndpointError> {
        let endpoint = Self::allow_http(uri)?;
        if uri.scheme() == "https" || endpoint.is_local() {
            Ok(endpoint)
        } else {
            Err(EndpointError::PlainHttp)
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        Self::try_from(&text.parse::<Uri>()?)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why something is no [`Endpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URI, or one that can be read in two ways.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// Another scheme, or no host.
    #[error("is not an https URL")]
    Scheme,
    /// `http` to another machine.
    #[error(
        "is plain http to another machine, where anybody on the way can read and change it; use https"
    )]
    PlainHttp,
    /// This machine, named by another.
    #[error("is on this machine, and was named by another one")]
    Local,
}

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For everything together: the connection, the answer and its body.
    pub timeout: Duration,
    /// The largest body, in bytes.
    pub max_body: usize,
}

/// Which edition of a document is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edition<'a> {
    /// Whichever there is, also in a cache.
    Any,
    /// Another than the one of this entity tag (RFC 9110 §13.1.2).
    Other(&'a str),
    /// The one that its owner has now: no cache may answer for it (RFC 9111 §5.2.1.4).
    Newest,
}

/// What came back, whatever its status.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type` header as it was sent.
    pub content_type: Option<String>,
    /// The `ETag` header as it was sent (RFC 9110 §8.8.3).
    pub etag: Option<String>,
    /// The `Cache-Control` header as it was sent (RFC 9111 §5.2.2).
    pub cache_control: Option<String>,
    /// The whole body. May hold tokens.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("body", &format_args!("[{} bytes]", self.body.len()))
            .finish()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused,
    /// The name does not resolve, or the host cannot be reached.
    #[error("no connection: {0}")]
    Connect(String),
    /// The handshake failed, most often over the certificate.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// Not complete in time.
    #[error("not answered in time")]
    Timeout,
    /// The body is larger than the limit.
    #[error("the answer is too large")]
    TooLarge,
    /// The connection died before an answer began.
    #[error("the connection was closed before an answer")]
    Closed,
    /// The connection died in the middle of the answer.
    #[error("the answer was cut off")]
    Truncated,
    /// The answer is not HTTP/1.
    #[error("the answer is not valid HTTP")]
    Protocol,
    /// A header would hold a character that no header may hold.
    #[error("the request has a header that cannot be sent")]
    Unsendable,
    /// The address is one that is never connected to: link-local, this machine by another name, and so on.
    #[error("the address is not one that may be connected to")]
    Forbidden,
}

impl NetError {
    /// One word, for metrics and records.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Closed => "closed",
            Self::Truncated => "truncated",
            Self::Protocol => "protocol",
            Self::Unsendable => "unsendable",
            Self::Forbidden => "address_forbidden",
        }
    }
}

/// Encodes as `application/x-www-form-urlencoded`.
pub fn form_encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().collect();
    // Large enough at once: growing would leave copies of tokens behind.
    let most = pairs
        .iter()
        .map(|(name, value)| 3 * (name.len() + value.len()) + 2)
        .sum();
    form_urlencoded::Serializer::new(String::with_capacity(most))
        .extend_pairs(pairs)
        .finish()
}

/// The `Authorization` value of a client with a password. Identifier and password are form-encoded
/// first (RFC 6749 §2.3.1).
#[must_use]
pub fn basic(id: &str, secret: &Secret) -> Secret {
    let most = 3 * (id.len() + secret.expose().len()) + 1;
    let mut plain = Zeroizing::new(String::with_capacity(most));
    plain.extend(form_urlencoded::byte_serialize(id.as_bytes()));
    plain.push(':');
    plain.extend(form_urlencoded::byte_serialize(secret.expose().as_bytes()));
    let mut header = String::with_capacity("Basic ".len() + plain.len().div_ceil(3) * 4);
    header.push_str("Basic ");
    STANDARD.encode_string(plain.as_bytes(), &mut header);
    Secret::new(header)
}

fn request(
    method: Method,
    to: &Endpoint,
    accept: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, NetError> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = to.0.clone();
    let accept = HeaderValue::from_str(accept).map_err(|_| NetError::Unsendable)?;
    request.headers_mut().insert(ACCEPT, accept);
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if let Some(parent) = trace::outgoing() {
        let value = HeaderValue::from_str(&parent.to_string()).map_err(|_| NetError::Unsendable)?;
        headers.insert(HeaderName::from_static(trace::HEADER), value);
    }
    Ok(request)
}

fn sensitive(value: &Secret) -> Result<HeaderValue, NetError> {
    let text = Bytes::from_owner(Zeroizing::new(value.expose().to_owned()));
    let mut header = HeaderValue::from_maybe_shared(text).map_err(|_| NetError::Unsendable)?;
    header.set_sensitive(true);
    Ok(header)
}

async fn within(
    limits: &Limits,
    work: impl Future<Output = Result<Answer, NetError>>,
) -> Result<Answer, NetError> {
    tokio::time::timeout(limits.timeout, work)
        .await
        .unwrap_or(Err(NetError::Timeout))
}

/// Reads the body. A connection whose body is not read to its end is closed, not used again.
async fn answer(response: Response<Incoming>, max_body: usize) -> Result<Answer, NetError> {
    let status = response.status().as_u16();
    let header = |name: HeaderName| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (content_type, etag, cache_control) =
        (header(CONTENT_TYPE), header(ETAG), header(CACHE_CONTROL));
    let mut incoming = response.into_body();
    if incoming.size_hint().lower() > u64::try_from(max_body).unwrap_or(u64::MAX) {
        return Err(NetError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| {
            if died(&error) {
                NetError::Truncated
            } else {
                NetError::Protocol
            }
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if data.len() > max_body.saturating_sub(body.len()) {
            return Err(NetError::TooLarge);
        }
        body.extend_from_slice(data);
    }
    Ok(Answer {
        status,
        content_type,
        etag,
        cache_control,
        body,
    })
}

fn unanswered(error: &legacy::Error) -> NetError {
    if error.is_connect() {
        return unconnected(error);
    }
    match error
        .source()
        .and_then(|cause| cause.downcast_ref::<hyper::Error>())
    {
        Some(cause) if died(cause) => NetError::Closed,
        _ => NetError::Protocol,
    }
}

/// What the connector reports is an I/O error somewhere down the chain; one inside another comes
/// from the TLS handshake.
fn unconnected(error: &legacy::Error) -> NetError {
    let mut cause = error.source();
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<io::Error>() {
            if error.get_ref().is_some_and(|inner| inner.is::<Refused>()) {
                return NetError::Forbidden;
            }
            let handshake = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<io::Error>());
            return match (handshake, error.kind()) {
                (Some(inner), _) => NetError::Tls(brief(inner)),
                (None, io::ErrorKind::ConnectionRefused) => NetError::Refused,
                (None, io::ErrorKind::TimedOut) => NetError::Timeout,
                (None, _) => NetError::Connect(brief(error)),
            };
        }
        cause = current.source();
    }
    NetError::Connect(brief(error))
}

fn died(error: &hyper::Error) -> bool {
    use io::ErrorKind as K;
    let lost = |error: &io::Error| {
        matches!(
            error.kind(),
            K::ConnectionReset
                | K::ConnectionAborted
                | K::BrokenPipe
                | K::NotConnected
                | K::UnexpectedEof
        )
    };
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || error
            .source()
            .and_then(|cause| cause.downcast_ref::<io::Error>())
            .is_some_and(lost)
}

/// The other side has a say in some of these texts (names in certificates).
fn brief(error: &dyn StdError) -> String {
    error
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::oauth::id::RealmName;

    const LIMITS: Limits = Limits {
        timeout: Duration::from_secs(10),
        max_body: 1024 * 1024,
    };
    const SHORT: Limits = Limits {
        timeout: Duration::from_millis(300),
        ..LIMITS
    };

    /// Serves connections one after the other, each numbered; says how many there were.
    async fn server<F, W>(serve: F) -> (Endpoint, Arc<AtomicUsize>)
    where
        F: Fn(usize, TcpStream) -> W + Send + 'static,
        W: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/path?x=1", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(number, stream));
            }
        });
        (endpoint, count)
    }

    /// A whole request: the head, and as much body as it announces.
    async fn read(stream: &mut TcpStream) -> io::Result<String> {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return Ok(text);
                }
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn fixed(reply: &'static str) -> (Endpoint, Arc<AtomicUsize>) {
        server(move |_, mut stream| async move {
            read(&mut stream).await?;
            stream.write_all(reply.as_bytes()).await
        })
        .await
    }

    fn upstream() -> Upstream {
        let metrics = crate::metrics::Metrics::new().unwrap();
        metrics.upstream(&RealmName::default(), "keys", &Arc::from("idp"))
    }

    async fn get(endpoint: &Endpoint, limits: &Limits) -> Result<Answer, NetError> {
        Net::new()
            .unwrap()
            .get(
                &upstream(),
                endpoint,
                "application/json",
                Edition::Any,
                limits,
            )
            .await
    }

    #[tokio::test]
    async fn a_form_arrives_as_it_should_and_the_connection_is_used_again() {
        let (endpoint, count) = server(|_, mut stream| async move {
            loop {
                let request = read(&mut stream).await?;
                let reply = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{request}",
                    request.len()
                );
                stream.write_all(reply.as_bytes()).await?;
            }
        })
        .await;
        let net = Net::new().unwrap();
        let secret = basic("a b", &Secret::new("s:ä".to_owned()));
        assert_eq!(
            secret.expose(),
            format!("Basic {}", STANDARD.encode("a+b:s%3A%C3%A4"))
        );
        for _ in 0..2 {
            let body = form_encode([
                ("grant_type", "x:y"),
                ("resource", "a&b"),
                ("resource", "c d"),
            ]);
            let answer = net
                .post_form(
                    &upstream(),
                    &endpoint,
                    Some(&secret),
                    body,
                    "application/json",
                    &LIMITS,
                )
                .await
                .unwrap();
            assert_eq!(
                (answer.status, answer.content_type.as_deref()),
                (200, Some("text/plain"))
            );
            let request = String::from_utf8(answer.body.clone()).unwrap();
            assert!(
                request.starts_with("POST /path?x=1 HTTP/1.1\r\n"),
                "{request}"
            );
            assert!(
                request.contains(&format!("\r\nauthorization: {}\r\n", secret.expose())),
                "{request}"
            );
            assert!(
                request.contains("\r\naccept: application/json\r\n"),
                "{request}"
            );
            assert!(
                request.contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"),
                "{request}"
            );
            assert!(
                request.ends_with("\r\n\r\ngrant_type=x%3Ay&resource=a%26b&resource=c+d"),
                "{request}"
            );
            assert!(!format!("{answer:?}").contains("grant_type"));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let broken = Secret::new("Bearer a\r\nX: y".to_owned());
        let refused = net
            .post_form(
                &upstream(),
                &endpoint,
                Some(&broken),
                String::new(),
                "*/*",
                &LIMITS,
            )
            .await;
        assert_eq!(refused.unwrap_err(), NetError::Unsendable);
        assert!(format!("{:?}", sensitive(&secret).unwrap()).contains("Sensitive"));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let (endpoint, count) =
            fixed("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        let answer = get(&endpoint, &LIMITS).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (302, 0));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn silence_and_trickle_end_at_the_total_timeout() {
        let (silent, _) = server(|_, mut stream| async move {
            read(&mut stream).await?;
            std::future::pending().await
        })
        .await;
        assert_eq!(get(&silent, &SHORT).await.unwrap_err(), NetError::Timeout);
        let (slow, _) = server(|_, mut stream| async move {
            read(&mut stream).await?;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                .await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert_eq!(get(&slow, &SHORT).await.unwrap_err(), NetError::Timeout);
        // A TLS handshake that is never answered counts, too.
        let https = silent
            .to_string()
            .replace("http:", "https:")
            .parse()
            .unwrap();
        assert_eq!(get(&https, &SHORT).await.unwrap_err(), NetError::Timeout);
    }

    #[tokio::test]
    async fn a_large_body_is_not_read_to_its_end() {
        for head in ["Content-Length: 12582912", "Connection: close"] {
            let (endpoint, _) = server(move |_, mut stream| async move {
                read(&mut stream).await?;
                stream
                    .write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes())
                    .await?;
                for _ in 0..12 {
                    stream.write_all(&vec![b'x'; 1024 * 1024]).await?;
                }
                Ok(())
            })
            .await;
            assert_eq!(
                get(&endpoint, &LIMITS).await.unwrap_err(),
                NetError::TooLarge,
                "{head}"
            );
        }
        let (exact, _) = fixed("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(
            get(
                &exact,
                &Limits {
                    max_body: 3,
                    ..LIMITS
                }
            )
            .await
            .unwrap()
            .body,
            b"abc"
        );
        assert_eq!(
            get(
                &exact,
                &Limits {
                    max_body: 2,
                    ..LIMITS
                }
            )
            .await
            .unwrap_err(),
            NetError::TooLarge
        );
    }

    #[tokio::test]
    async fn broken_answers() {
        for (reply, error) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                NetError::Truncated,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                NetError::Truncated,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
                NetError::Protocol,
            ),
            ("<html>\r\n\r\n", NetError::Protocol),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                NetError::Protocol,
            ),
        ] {
            let (endpoint, count) = fixed(reply).await;
            assert_eq!(get(&endpoint, &LIMITS).await.unwrap_err(), error, "{reply}");
            assert_eq!(count.load(Ordering::SeqCst), 1, "{reply}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_dies_unanswered_is_tried_once_more_for_get_only() {
        let (second, count) = server(|number, mut stream| async move {
            read(&mut stream).await?;
            if number > 0 {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await?;
            }
            Ok(())
        })
        .await;
        assert_eq!(get(&second, &LIMITS).await.unwrap().body, b"ok");
        assert_eq!(count.load(Ordering::SeqCst), 2);
        let (never, count) = fixed("").await;
        assert_eq!(get(&never, &LIMITS).await.unwrap_err(), NetError::Closed);
        assert_eq!(count.load(Ordering::SeqCst), 2);
        let post = Net::new()
            .unwrap()
            .post_form(&upstream(), &never, None, String::new(), "*/*", &LIMITS)
            .await;
        assert_eq!(post.unwrap_err(), NetError::Closed);
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn no_connection() {
        let address = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let nobody = format!("http://{address}/").parse().unwrap();
        assert_eq!(get(&nobody, &LIMITS).await.unwrap_err(), NetError::Refused);
        let (plain, _) = server(|_, mut stream| async move {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await?;
            stream.read_buf(&mut Vec::new()).await?;
            Ok(())
        })
        .await;
        let https = plain
            .to_string()
            .replace("http:", "https:")
            .parse()
            .unwrap();
        let error = get(&https, &LIMITS).await.unwrap_err();
        assert!(matches!(error, NetError::Tls(_)), "{error:?}");
        assert_eq!(error.reason(), "tls");
    }

    #[tokio::test]
    async fn addresses_that_are_never_connected_to() {
        for refused in [
            "https://169.254.169.254/latest",
            "https://[fe80::1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://0.0.0.0/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
        ] {
            let endpoint = refused.parse().unwrap();
            assert_eq!(
                get(&endpoint, &LIMITS).await.unwrap_err(),
                NetError::Forbidden,
                "{refused}"
            );
        }
        let link: Endpoint = "https://169.254.169.254/".parse().unwrap();
        let allow = vec!["169.254.0.0/16".parse().unwrap()];
        let net = Net::with(Outbound {
            allow,
            ..Outbound::default()
        })
        .unwrap();
        assert!(!net.refuses(&link) && Net::new().unwrap().refuses(&link));
    }

    #[tokio::test]
    async fn what_a_document_names_is_not_on_this_machine_unless_the_document_is() {
        let (here, _) = fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let elsewhere: Endpoint = "https://idp.example.com/".parse().unwrap();
        for local in [
            "http://127.0.0.1/x",
            "https://localhost/x",
            "https://[::1]/x",
        ] {
            let uri: Uri = local.parse().unwrap();
            assert_eq!(
                Endpoint::named_by(&uri, &elsewhere),
                Err(EndpointError::Local),
                "{local}"
            );
            assert!(Endpoint::named_by(&uri, &here).is_ok());
        }
        let plain = "http://idp.example.com/x".parse().unwrap();
        assert_eq!(
            Endpoint::named_by(&plain, &here),
            Err(EndpointError::PlainHttp)
        );
        // What is spelled `localhost` may be this machine; no other name may.
        let port = here.0.port_u16().unwrap();
        let named = format!("http://localhost:{port}/").parse().unwrap();
        assert_eq!(get(&named, &LIMITS).await.unwrap().body, b"ok");
    }

    #[test]
    fn roots_are_read_or_refused() {
        assert!(Outbound::roots(b"").is_err());
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Outbound::roots(broken).unwrap_err().contains("no root"));
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in [
            "https://idp.example.com/jwks?x=1",
            "https://10.0.0.1:8443/",
            "http://localhost:8080/",
            "http://LOCALHOST/",
            "http://127.0.0.1/",
            "http://127.8.9.10:1/x",
            "http://[::1]:9/x",
        ] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
        for plain in [
            "http://idp.example.com/",
            "http://10.0.0.1/",
            "http://[::2]/",
            "http://localhost.example.com/",
        ] {
            let uri: Uri = plain.parse().unwrap();
            assert_eq!(
                Endpoint::try_from(&uri),
                Err(EndpointError::PlainHttp),
                "{plain}"
            );
            assert_eq!(Endpoint::allow_http(&uri).unwrap().to_string(), plain);
        }
        for (bad, error) in [
            ("urn:x:y", EndpointError::Scheme),
            ("ftp://localhost/", EndpointError::Scheme),
            ("spiffe://example.com/x", EndpointError::Scheme),
            ("https://u:p@a/", EndpointError::Uri(UriError::UserInfo)),
            ("https://a/#b", EndpointError::Uri(UriError::Fragment)),
            ("idp.example.com", EndpointError::Uri(UriError::Relative)),
        ] {
            assert_eq!(bad.parse::<Endpoint>(), Err(error), "{bad}");
        }
    }
}
