//! Answers: status, headers, body. Nothing that the token endpoint says may be stored by anybody.

use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE,
};

use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::id::RequestId;
use crate::oauth::response::ExchangeResponse;

/// An answer with its whole body.
pub type Response = hyper::Response<Full<Bytes>>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Seconds after which a client may come back.
const LATER: HeaderValue = HeaderValue::from_static("2");

fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// RFC 6749 §5.1 wants `no-store` and `Pragma: no-cache`, the example of RFC 8693 §2.3 both directives.
fn of_token_endpoint(status: StatusCode, body: String, id: &RequestId) -> Response {
    let mut response = json(status, body);
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// A token.
pub(super) fn issued(response: &ExchangeResponse, id: &RequestId) -> Response {
    of_token_endpoint(StatusCode::OK, response.expose_json().to_owned(), id)
}

/// An error, with the status that goes with its code or one that HTTP asks for.
pub(super) fn refused(error: &OAuthError, status: Option<StatusCode>, id: &RequestId) -> Response {
    let of_code =
        StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let status = status.unwrap_or(of_code);
    let mut response = of_token_endpoint(status, error.to_json(id), id);
    let headers = response.headers_mut();
    match error.code {
        ErrorCode::InvalidClient => {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"cambist\", charset=\"UTF-8\""),
            );
        }
        ErrorCode::TemporarilyUnavailable => {
            headers.insert(RETRY_AFTER, LATER);
        }
        _ => {}
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// A public document, which may be kept for some seconds.
pub(super) fn document(body: &str, max_age: i64) -> Response {
    let mut response = json(StatusCode::OK, body.to_owned());
    let kept = HeaderValue::from_str(&format!("public, max-age={max_age}"));
    response.headers_mut().insert(
        CACHE_CONTROL,
        kept.unwrap_or(HeaderValue::from_static("no-cache")),
    );
    response
}

/// Something went wrong that no record tells of.
pub(super) fn failed() -> Response {
    let error = OAuthError::new(ErrorCode::ServerError, "the server failed");
    refused(&error, None, &RequestId::unknown())
}

/// There is more to do than can be done. Nothing of the request was looked at, so there is no record either.
pub(super) fn overloaded() -> Response {
    let text = "the server has too much to do; try again later";
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, text);
    refused(&error, None, &RequestId::unknown())
}

/// RFC 9112 §3.2: exactly one `Host`.
pub(super) fn no_host() -> Response {
    json(
        StatusCode::BAD_REQUEST,
        "{\"error\":\"invalid_request\",\"error_description\":\"a request has exactly one valid Host\"}".to_owned(),
    )
}

/// There is nothing here.
pub(super) fn not_found() -> Response {
    json(
        StatusCode::NOT_FOUND,
        "{\"error\":\"not_found\"}".to_owned(),
    )
}

/// Not with this method.
pub(super) fn not_allowed(allow: &'static str) -> Response {
    let mut response = json(
        StatusCode::METHOD_NOT_ALLOWED,
        "{\"error\":\"method_not_allowed\"}".to_owned(),
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    response
}
