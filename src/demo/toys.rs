//! Toy parties. They are as small as they can be and still be real: what the backend accepts, it has
//! verified with the gateway's published keys.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::clock::Clock;
use crate::jose::{Compact, KeySet, parse_object};
use crate::oauth::form::TokenForm;

/// The bearer token of the example (RFC 8693 §2.3).
pub const BEARER: &str = "accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC";
/// The body of the exchange request of the example, byte for byte.
pub const BODY: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
&resource=https%3A%2F%2Fbackend.example.com%2Fapi\
&subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC\
&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";

/// An HTTP status and a JSON body.
pub type Reply = (u16, Value);

/// Serves one function on an address until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve<F, A>(address: SocketAddr, answer: F) -> std::io::Result<SocketAddr>
where
    F: Fn(Call) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Reply> + Send,
{
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer.clone();
                async move {
                    let (status, body) = answer(Call::read(request).await).await;
                    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
                    *response.status_mut() =
                        hyper::StatusCode::from_u16(status).unwrap_or_default();
                    response
                        .headers_mut()
                        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(bound)
}

/// What a toy is asked.
#[derive(Debug)]
pub struct Call {
    /// Method and path.
    pub target: String,
    /// The bearer token, where there is one.
    pub bearer: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl Call {
    async fn read(request: Request<Incoming>) -> Self {
        let target = format!("{} {}", request.method(), request.uri().path());
        let header = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::to_owned);
        let body = request
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        Self {
            target,
            bearer,
            body,
        }
    }
}

/// The identity provider: it knows one token, by introspection (RFC 7662).
///
/// # Errors
/// When the address cannot be listened on.
pub async fn identity_provider(address: SocketAddr, clock: Clock) -> std::io::Result<SocketAddr> {
    serve(address, move |call| {
        let now = clock.now();
        async move {
            let token = TokenForm::parse(&call.body)
                .ok()
                .and_then(|form| form.value("token").map(str::to_owned));
            match token.as_deref() {
                Some(BEARER) => (
                    200,
                    json!({
                        "active": true,
                        "iss": "https://op.example.com",
                        "sub": "bdc@example.com",
                        "scope": "api profile",
                        "client_id": "https://app.example.com",
                        "token_type": "Bearer",
                        "iat": now.0,
                        "exp": now.plus(3600).0,
                    }),
                ),
                _ => (200, json!({ "active": false })),
            }
        }
    })
    .await
}

/// The backend: it takes tokens of the gateway for itself, with scope `api`, and greets their subject.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn backend(
    address: SocketAddr,
    gateway: SocketAddr,
    clock: Clock,
) -> std::io::Result<SocketAddr> {
    serve(address, move |call| {
        let clock = clock.clone();
        async move {
            if call.target != "GET /api" {
                return (404, json!({ "error": "not_found" }));
            }
            match verify(call.bearer.as_deref().unwrap_or_default(), gateway, &clock).await {
                Ok(subject) => (200, json!({ "hello": subject })),
                Err(why) => (
                    401,
                    json!({ "error": "invalid_token", "error_description": why }),
                ),
            }
        }
    })
    .await
}

/// RFC 9068 §4: signature, `typ`, issuer, audience, expiry, and the scope that this API wants.
async fn verify(token: &str, gateway: SocketAddr, clock: &Clock) -> Result<String, String> {
    let wanted = "GET /jwks HTTP/1.1\r\nHost: as.example.com\r\nConnection: close\r\n\r\n";
    let answer = call(gateway, wanted)
        .await
        .map_err(|error| error.to_string())?;
    let jwks = body(&answer).ok_or("no keys could be fetched")?;
    let (keys, _) = KeySet::from_jwks(jwks.as_bytes(), &[]).map_err(|error| error.to_string())?;
    let compact = Compact::parse(token).map_err(|error| error.to_string())?;
    if compact.header().normalized_typ().as_deref() != Some("at+jwt") {
        return Err("not an access token".to_owned());
    }
    let claims = compact.verify(&keys).map_err(|error| error.to_string())?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let expiry = claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
    let checks = [
        (text("iss") == "https://as.example.com", "wrong issuer"),
        (
            text("aud") == "https://backend.example.com",
            "wrong audience",
        ),
        (
            text("scope").split(' ').any(|scope| scope == "api"),
            "scope `api` is missing",
        ),
        (expiry > clock.now().0, "expired"),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, why)) => Err(why.to_owned()),
        None => Ok(text("sub").to_owned()),
    }
}

/// One exchange as bytes.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The request.
    pub request: String,
    /// The response.
    pub response: String,
}

/// The frontend: a resource server that turns client. It exchanges the token that it is called with
/// and calls the backend with the new one.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn frontend(
    address: SocketAddr,
    gateway: SocketAddr,
    backend: SocketAddr,
    transcript: Arc<Mutex<Transcript>>,
) -> std::io::Result<SocketAddr> {
    serve(address, move |asked| {
        let transcript = Arc::clone(&transcript);
        async move {
            let bearer = asked.bearer.unwrap_or_default();
            let request = exchange_request(&bearer);
            let response = call(gateway, &request).await.unwrap_or_else(|error| format!("({error})"));
            *transcript.lock().unwrap_or_else(PoisonError::into_inner) =
                Transcript { request, response: response.clone() };
            let token = body(&response).and_then(|text| parse_object(text.as_bytes()).ok());
            let Some(token) = token.as_ref().and_then(|object| object.get("access_token")).and_then(Value::as_str) else {
                return (502, json!({ "error": "the exchange was refused" }));
            };
            let request = format!(
                "GET /api HTTP/1.1\r\nHost: backend.example.com\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
            );
            match call(backend, &request).await {
                Ok(response) => {
                    let status = status(&response);
                    let text = body(&response).unwrap_or_default().to_owned();
                    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
                }
                Err(error) => (502, json!({ "error": error.to_string() })),
            }
        }
    })
    .await
}

/// The request of the example, for the bearer token that the frontend was called with.
#[must_use]
pub fn exchange_request(bearer: &str) -> String {
    let body = BODY.replace(BEARER, bearer);
    format!(
        "POST /as/token.oauth2 HTTP/1.1\r\n\
         Host: as.example.com\r\n\
         Authorization: Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Sends bytes and reads the answer to its end.
///
/// # Errors
/// When the connection fails.
pub async fn call(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The body of an answer.
#[must_use]
pub fn body(answer: &str) -> Option<&str> {
    answer.split_once("\r\n\r\n").map(|(_, body)| body)
}

/// The status of an answer.
#[must_use]
pub fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
