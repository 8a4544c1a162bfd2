//! `private_key_jwt`: an assertion that the client signed (RFC 7521 §4.2, RFC 7523 §2.2 and §3, with the
//! audience of its successor: our issuer identifier alone).
//!
//! The order of the checks is part of the contract: nothing of an assertion counts before its signature
//! is verified with a key of that very client, and only what passed every check is used up. One thing comes
//! before: for what could not be taken whoever signed it, nobody's keys are fetched.

use super::{
    Attempt, BoxFuture, Client, ClientError, Credential, Method, Presented, Proof, Takes, Used,
};
use crate::jose::{Compact, JwsError};
use crate::keys::KeySource;
use crate::oauth::NumericDate;
use crate::oauth::claims::Claims;
use crate::oauth::request::TokenRequest;

/// The table entry.
pub static METHOD: Method = Method {
    name: "private_key_jwt",
    doc: "a JWT that the client signs with its private key, for one use (RFC 7523)",
    takes: Takes::Keys,
    present,
    verify,
};

/// The only `client_assertion_type` that is taken (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The `typ` that an assertion may have, where it has one, normalised. That of any other kind of token is
/// refused (RFC 8725 §3.11).
const TYP: [&str; 2] = ["jwt", "client-authentication+jwt"];
/// The longest `jti`, in bytes.
const MAX_ID: usize = 256;
/// An assertion of this age, in seconds, was made for this request, not found somewhere.
const JUST_MADE: i64 = 30;

/// What a client's assertions must be like.
#[derive(Debug)]
pub struct Assertions {
    /// What they are verified with.
    pub keys: KeySource,
    /// Whom they may be addressed to, each alone: our issuer identifier, and with `legacy_audience` the
    /// token endpoint.
    pub audiences: Vec<String>,
    /// The longest time from `iat` to `exp`, in seconds.
    pub max_lifetime: i64,
    /// How far the client's clock may be ahead of ours, in seconds; for `iat` and `nbf`, never for `exp`.
    pub leeway: i64,
}

impl Assertions {
    /// Five minutes.
    pub const LIFETIME: i64 = 300;
    /// One hour is the most that can be configured.
    pub const MAX_LIFETIME: i64 = 3600;
    /// Five seconds. Also how long assertions are refused after a start; see
    /// [`SingleUse`](crate::store::SingleUse).
    pub const LEEWAY: i64 = 5;
    /// One minute is the most that can be configured.
    pub const MAX_LEEWAY: i64 = 60;
}

/// Why an assertion was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// `client_assertion_type` came alone.
    #[error("`client_assertion` is missing")]
    Missing,
    /// `client_assertion_type` is absent or another.
    #[error("`client_assertion_type` must be `{JWT_BEARER}`")]
    Type,
    /// It is the subject or actor token as well: one token, one meaning (RFC 8725 §3.11).
    #[error("the assertion is sent as another token too")]
    OtherUse,
    /// Its `alg` is an HMAC: `client_secret_jwt`.
    #[error("it is signed with a shared secret, which is not taken; sign it with a private key")]
    Symmetric,
    /// It is no JWS that we accept, or its signature is not the client's.
    #[error(transparent)]
    Jws(JwsError),
    /// `typ` is that of another kind of token.
    #[error("`typ` is that of another kind of token")]
    Typ,
    /// A claim is missing or has the wrong JSON type.
    #[error("claim `{0}` is missing or malformed")]
    Claim(&'static str),
    /// `iss` and `sub` are not both the `client_id`.
    #[error("`iss` and `sub` must both be the `client_id`")]
    Issuer,
    /// `aud` is not us alone.
    #[error("`aud` must be this server's issuer identifier, and nothing else")]
    Audience,
    /// `exp` is not in the future.
    #[error("it has expired")]
    Expired,
    /// `iat` or `nbf` is in the future.
    #[error("`{0}` is in the future")]
    NotYet(&'static str),
    /// It lives too long.
    #[error("it lives longer than is accepted: `exp` is too long after `iat`")]
    Lifetime,
    /// `exp` is not after `iat`.
    #[error("`exp` must be after `iat`")]
    Order,
    /// `jti` is too long.
    #[error("`jti` is empty or longer than {MAX_ID} bytes")]
    Id,
    /// It was used before.
    #[error("it was used before; make a new one for each request")]
    Replayed,
    /// It may have been used before this process started.
    #[error("it is from before this server's start; make a new one for each request")]
    BeforeStart,
}

impl AssertionError {
    /// A word for logs and metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Missing => "assertion_missing",
            Self::Type => "assertion_type",
            Self::OtherUse => "assertion_other_use",
            Self::Symmetric => "assertion_hmac",
            Self::Jws(
                JwsError::AlgMissing
                | JwsError::AlgMalformed
                | JwsError::AlgNone
                | JwsError::AlgUnsupported
                | JwsError::AlgNotOfKey,
            ) => "assertion_alg",
            Self::Jws(JwsError::KidMalformed | JwsError::KidMissing | JwsError::KidUnknown) => {
                "assertion_kid"
            }
            Self::Jws(JwsError::SignatureMissing | JwsError::SignatureInvalid) => {
                "assertion_signature"
            }
            Self::Jws(_) => "assertion_malformed",
            Self::Typ => "assertion_typ",
            Self::Claim(_) => "assertion_claim",
            Self::Issuer => "assertion_issuer",
            Self::Audience => "assertion_audience",
            Self::Expired => "assertion_expired",
            Self::NotYet(_) => "assertion_not_yet",
            Self::Lifetime | Self::Order => "assertion_lifetime",
            Self::Id => "assertion_jti",
            Self::Replayed => "assertion_replayed",
            Self::BeforeStart => "assertion_before_start",
        }
    }

    /// Whether the client may be told: what follows from its own bytes alone, and what only somebody who
    /// has its key can bring about. Nothing of which clients and keys there are.
    pub(super) fn may_be_told(self) -> bool {
        !matches!(
            self,
            Self::Jws(
                JwsError::KidUnknown
                    | JwsError::KidMissing
                    | JwsError::AlgNotOfKey
                    | JwsError::SignatureInvalid
            )
        )
    }
}

/// Whether a request has any of the two parameters.
pub(super) fn is_sent(request: &TokenRequest) -> bool {
    ["client_assertion", "client_assertion_type"]
        .iter()
        .any(|name| request.form.value(name).is_some())
}

/// Never fails: whatever is wrong with the assertion, it is there, and nothing else may stand beside it.
fn present(request: &TokenRequest) -> Result<Option<Presented<'_>>, ClientError> {
    if !is_sent(request) {
        return Ok(None);
    }
    let assertion = assertion(request);
    // RFC 7521 §4.2: `client_id` may be left out, the assertion says it.
    let says = assertion.as_ref().ok().and_then(|assertion| {
        let claims = assertion.peek_claims_unverified().ok()?;
        claims.get("sub")?.as_str()
    });
    let client_id = says.or(request.form.value("client_id"));
    Ok(Some(Presented {
        client_id: client_id.unwrap_or_default().to_owned(),
        proof: Proof::Assertion(Box::new(assertion)),
    }))
}

fn assertion(request: &TokenRequest) -> Result<Compact<'_>, AssertionError> {
    let value = |name| request.form.value(name);
    if value("client_assertion_type") != Some(JWT_BEARER) {
        return Err(AssertionError::Type);
    }
    let assertion = value("client_assertion").ok_or(AssertionError::Missing)?;
    if ["subject_token", "actor_token"]
        .iter()
        .any(|name| value(name) == Some(assertion))
    {
        return Err(AssertionError::OtherUse);
    }
    Compact::parse(assertion).map_err(|error| match error {
        JwsError::AlgSymmetric => AssertionError::Symmetric,
        error => AssertionError::Jws(error),
    })
}

fn verify(attempt: Attempt<'_>) -> BoxFuture<'_, Result<Option<Used>, ClientError>> {
    Box::pin(async move {
        let Proof::Assertion(assertion) = attempt.proof else {
            return Err(ClientError::Failed);
        };
        let assertion = (*assertion).map_err(ClientError::Assertion)?;
        let typ = assertion.header().normalized_typ();
        if typ.is_some_and(|typ| !TYP.contains(&typ.as_str())) {
            return Err(AssertionError::Typ.into());
        }
        let Some((client, Credential::Assertions(expected))) = attempt.credential else {
            return Err(ClientError::Failed);
        };
        let unverified = assertion.peek_claims_unverified();
        let could_be_theirs = unverified.is_ok_and(|claims| {
            let claims = Claims::new(claims.clone());
            check(&claims, client, expected, attempt.now).is_ok()
        });
        let keys = if could_be_theirs {
            let keys = expected.keys.find(assertion.header()).await;
            keys.map_err(|_| ClientError::NoKeys)?
        } else {
            // What is wrong is told to whoever has the key; a stranger learns nothing, and causes nothing.
            expected.keys.held().ok_or(ClientError::Failed)?
        };
        let verified = assertion.verify(&keys);
        let claims = Claims::new(verified.map_err(AssertionError::Jws)?);
        Ok(Some(check(&claims, client, expected, attempt.now)?))
    })
}

/// RFC 7523 §3, item by item. Gives what is to be used up.
fn check(
    claims: &Claims,
    client: &Client,
    expected: &Assertions,
    now: NumericDate,
) -> Result<Used, AssertionError> {
    for name in ["iss", "sub"] {
        let text = claims
            .string(name)
            .map_err(|_| AssertionError::Claim(name))?;
        let text = text.ok_or(AssertionError::Claim(name))?;
        if text != client.id.as_str() {
            return Err(AssertionError::Issuer);
        }
    }
    let audience = claims.strings("aud");
    let audience = audience.map_err(|_| AssertionError::Claim("aud"))?;
    let audience = audience.ok_or(AssertionError::Claim("aud"))?;
    // An assertion that somebody else would take as well could be brought here by them.
    let [audience] = audience.as_slice() else {
        return Err(AssertionError::Audience);
    };
    if !expected.audiences.iter().any(|own| own == audience) {
        return Err(AssertionError::Audience);
    }
    let date = |name| claims.date(name).map_err(|_| AssertionError::Claim(name));
    let expires_at = date("exp")?.ok_or(AssertionError::Claim("exp"))?;
    let issued_at = date("iat")?.ok_or(AssertionError::Claim("iat"))?;
    if expires_at <= now {
        return Err(AssertionError::Expired);
    }
    for (name, at) in [("iat", Some(issued_at)), ("nbf", date("nbf")?)] {
        if at.is_some_and(|at| at > now.plus(expected.leeway)) {
            return Err(AssertionError::NotYet(name));
        }
    }
    if expires_at <= issued_at {
        return Err(AssertionError::Order);
    }
    // `iat` is at most the leeway ahead, so this bounds how long from now on it lives, too.
    if expires_at.since(issued_at) > expected.max_lifetime {
        return Err(AssertionError::Lifetime);
    }
    let id = claims.string("jti");
    let id = id.map_err(|_| AssertionError::Claim("jti"))?;
    let id = id.ok_or(AssertionError::Claim("jti"))?;
    if id.is_empty() || id.len() > MAX_ID {
        return Err(AssertionError::Id);
    }
    Ok(Used {
        id: id.to_owned(),
        issued_at,
        ahead: expected.leeway,
        until: expires_at.plus(expected.leeway),
        just_made: now.since(issued_at) <= JUST_MADE,
    })
}
