//! JWTs of an issuer whose keys we have (RFC 7515, 7519, 8725, 9068).

use super::kind;
use super::party::{Source, party};
use super::{AcceptedType, Expectation, TokenError, TrustedIssuer};
use crate::context::Party;
use crate::jose::Compact;
use crate::keys::KeySource;
use crate::oauth::claims::Claims;
use crate::oauth::token_type::TokenType;
use crate::proof::Verified;

/// The `typ` of JWT access tokens (RFC 9068 §2.1), normalised.
const ACCESS: &str = "at+jwt";

/// Verifies signature, `typ` and claims.
pub(super) async fn verify(
    issuer: &TrustedIssuer,
    accepted: &AcceptedType,
    token: Compact<'_>,
    keys: &KeySource,
    expectation: &Expectation<'_>,
) -> Result<Verified<Party>, TokenError> {
    let typ = check_typ(accepted, &token)?;
    let keys = keys.find(token.header()).await?;
    let claims = Claims::new(token.verify(&keys)?);
    if claims.string("iss")? != Some(issuer.id.as_str()) {
        return Err(TokenError::UnknownIssuer);
    }
    let party = party(issuer, accepted, &claims, source(&typ), expectation)?;
    // Vouched for by: the issuer's own key over these claims, and every check of `party`.
    Ok(Verified::assertion(party))
}

/// Everything but the signature. What it reads vouches for nobody, so none of it comes out.
pub(super) fn objection(
    issuer: &TrustedIssuer,
    accepted: &AcceptedType,
    token: &Compact<'_>,
    expectation: &Expectation<'_>,
) -> Result<(), TokenError> {
    let typ = check_typ(accepted, token)?;
    let claims = Claims::new(token.peek_claims_unverified()?.clone());
    party(issuer, accepted, &claims, source(&typ), expectation).map(drop)
}

fn source(typ: &str) -> Source {
    if typ == ACCESS {
        Source::AccessJwt
    } else {
        Source::Jwt
    }
}

/// Kinds of JWT that are never subject tokens, by `typ`, whatever is configured.
pub const OTHER_KINDS: [&str; 8] = [
    "logout+jwt",
    "secevent+jwt",
    "dpop+jwt",
    "kb+jwt",
    "oauth-authz-req+jwt",
    "token-introspection+jwt",
    "client-authentication+jwt",
    "txntoken+jwt",
];

/// What a JWT says of itself must allow it, where its issuer's answer vouches for it.
pub(super) fn check_unverified(
    accepted: &AcceptedType,
    token: &Compact<'_>,
    expectation: &Expectation<'_>,
) -> Result<kind::Said, TokenError> {
    // Of access tokens and the like, the answer says what they are; it says nothing of ID tokens.
    let typ = match accepted.token_type {
        TokenType::IdToken => check_typ(accepted, token)?,
        _ => token.header().normalized_typ().unwrap_or_default(),
    };
    if OTHER_KINDS.contains(&typ.as_str()) {
        return Err(TokenError::WrongTyp);
    }
    let claims = Claims::new(token.peek_claims_unverified()?.clone());
    kind::check_unverified(&claims, typ == ACCESS, expectation)
}

/// `typ` must be one that goes with the declared type (RFC 8725 §3.11). Gives it, normalised.
fn check_typ(accepted: &AcceptedType, token: &Compact<'_>) -> Result<String, TokenError> {
    let typ = token.header().normalized_typ().unwrap_or_default();
    if accepted.typ.contains(&typ) && !OTHER_KINDS.contains(&typ.as_str()) {
        Ok(typ)
    } else {
        Err(TokenError::WrongTyp)
    }
}
