//! JWTs of an issuer whose keys we have (RFC 7515, 7519, 8725, 9068).

use super::kind;
use super::party::{Source, party};
use super::{Expectation, TokenError, TrustedIssuer};
use crate::context::{MAX_DEPTH, Party};
use crate::jose::{Compact, KeySet};
use crate::oauth::NumericDate;
use crate::oauth::claims::{Claims, Identity};
use crate::proof::Verified;

/// The `typ` of JWT access tokens (RFC 9068 §2.1), normalised.
const ACCESS: &str = "at+jwt";

/// Verifies signature, `typ` and claims.
pub(super) fn verify(
    issuer: &TrustedIssuer,
    token: Compact<'_>,
    keys: &KeySet,
    expectation: &Expectation<'_>,
) -> Result<Verified<Party>, TokenError> {
    let typ = check_typ(issuer, &token, expectation)?;
    let claims = Claims::new(token.verify(keys)?);
    if claims.string("iss")? != Some(issuer.id.as_str()) {
        return Err(TokenError::UnknownIssuer);
    }
    let party = party(issuer, &claims, source(&typ), expectation)?;
    // Vouched for by: the issuer's own key over these claims, and every check of `party`.
    Ok(Verified::assertion(party))
}

fn source(typ: &str) -> Source {
    if typ == ACCESS {
        Source::AccessJwt
    } else {
        Source::Jwt
    }
}

/// Kinds of JWT that are no access tokens, by `typ`.
const OTHER_KINDS: [&str; 8] = [
    "logout+jwt",
    "secevent+jwt",
    "dpop+jwt",
    "kb+jwt",
    "oauth-authz-req+jwt",
    "token-introspection+jwt",
    "client-authentication+jwt",
    "txntoken+jwt",
];

/// What a JWT says of itself, where its issuer's answer vouches for it.
#[derive(Debug)]
pub(super) struct Said {
    /// Its end, where it has one.
    pub end: Option<NumericDate>,
    /// Its `act`.
    pub actors: Vec<Identity>,
    /// Its `may_act`.
    pub may_act: Option<Identity>,
}

/// What a JWT says of itself must allow it, where its issuer's answer vouches for it.
pub(super) fn check_unverified(
    token: &Compact<'_>,
    expectation: &Expectation<'_>,
) -> Result<Said, TokenError> {
    let typ = token.header().normalized_typ().unwrap_or_default();
    if OTHER_KINDS.contains(&typ.as_str()) {
        return Err(TokenError::WrongTyp);
    }
    let claims = Claims::new(token.peek_claims_unverified()?.clone());
    kind::check(&claims, expectation.role, typ == ACCESS)?;
    let end = claims.date("exp")?;
    if end.is_some_and(|end| end <= expectation.now) {
        return Err(TokenError::Expired);
    }
    Ok(Said {
        end,
        actors: claims.actors(MAX_DEPTH)?,
        may_act: claims.may_act()?,
    })
}

/// The declared type must be one that the issuer gives, and `typ` one that goes with it (RFC 8725 §3.11).
/// Gives `typ`, normalised.
fn check_typ(
    issuer: &TrustedIssuer,
    token: &Compact<'_>,
    expectation: &Expectation<'_>,
) -> Result<String, TokenError> {
    let accepted = issuer.accepted(expectation.token_type)?;
    let typ = token.header().normalized_typ().unwrap_or_default();
    if accepted.typ.contains(&typ) {
        Ok(typ)
    } else {
        Err(TokenError::WrongTyp)
    }
}
