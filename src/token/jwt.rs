//! JWTs of an issuer whose keys we have (RFC 7515, 7519, 8725, 9068).

use super::party::{Source, party};
use super::{Expectation, TokenError, TrustedIssuer};
use crate::context::Party;
use crate::jose::{Compact, KeySet};
use crate::oauth::claims::Claims;
use crate::proof::Verified;

/// Verifies signature, `typ` and claims.
pub(super) fn verify(
    issuer: &TrustedIssuer,
    token: Compact<'_>,
    keys: &KeySet,
    expectation: &Expectation<'_>,
) -> Result<Verified<Party>, TokenError> {
    check_typ(issuer, &token, expectation)?;
    let claims = Claims::new(token.verify(keys)?);
    if claims.string("iss")? != Some(issuer.id.as_str()) {
        return Err(TokenError::UnknownIssuer);
    }
    let party = party(issuer, &claims, Source::Jwt, expectation)?;
    // Vouched for by: the issuer's own key over these claims, and every check of `party`.
    Ok(Verified::assertion(party))
}

/// The declared type must be one that the issuer gives, and `typ` one that goes with it (RFC 8725 §3.11).
pub(super) fn check_typ(
    issuer: &TrustedIssuer,
    token: &Compact<'_>,
    expectation: &Expectation<'_>,
) -> Result<(), TokenError> {
    let accepted = issuer.accepted(expectation.token_type)?;
    let typ = token.header().normalized_typ().unwrap_or_default();
    if accepted.typ.contains(&typ) {
        Ok(())
    } else {
        Err(TokenError::WrongTyp)
    }
}
