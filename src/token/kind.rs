//! What kind of token a token is, by what it says of itself (RFC 8725 §3.11, §3.12): constrained ones, ID
//! tokens, refresh tokens, logout and other event tokens are not taken for access tokens.

use super::{Role, TokenError};
use crate::oauth::claims::Claims;

/// Claims that constrain who may use a token, and that cannot be honoured: they must not be dropped.
fn constraints(role: Role) -> &'static [&'static str] {
    match role {
        // `act` and `may_act` are carried on, and the policy sees them.
        Role::Subject => &["cnf"],
        // Who acts, acts for itself: whom it stands for in turn, a chain has no place for.
        Role::Actor => &["act", "may_act", "cnf"],
    }
}

/// Claims that only an ID token has, unless the token says that it gives access: some issuers copy the
/// `nonce` of the login into access tokens too.
const OF_ID_TOKENS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// Claims in which some issuers say what a token is for, and the words that mean access.
const SAYS: [(&str, &[&str]); 2] = [
    ("typ", &["bearer", "at+jwt", "access", "access_token"]),
    ("token_use", &["access", "access_token"]),
];

/// Says nothing about the kind, though it stands where the kind should.
const NEUTRAL: &str = "jwt";

/// Refuses what is no plain access token. `says_access` is whether something besides its claims
/// names it one: its header (`at+jwt`, RFC 9068 §2.1), or the issuer's answer about it.
pub(super) fn check(claims: &Claims, role: Role, says_access: bool) -> Result<(), TokenError> {
    for constraint in constraints(role) {
        if claims.has(constraint) {
            return Err(TokenError::Constrained(constraint));
        }
    }
    if claims.has("events") {
        return Err(TokenError::Event);
    }
    let mut says_access = says_access;
    for (claim, access) in SAYS {
        if let Some(kind) = claims.string(claim)?.map(str::to_ascii_lowercase)
            && kind != NEUTRAL
        {
            if !access.contains(&kind.as_str()) {
                return Err(TokenError::OtherKind);
            }
            says_access = true;
        }
    }
    for claim in OF_ID_TOKENS {
        if !says_access && claims.has(claim) {
            return Err(TokenError::OtherKind);
        }
    }
    Ok(())
}
