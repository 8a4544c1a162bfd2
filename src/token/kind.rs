//! What kind of token a token is, by what it says of itself (RFC 8725 §3.11, §3.12): constrained ones, ID
//! tokens, refresh tokens, logout and other event tokens are not taken for access tokens, nor the other
//! way round.

use super::{Expectation, Role, TokenError};
use crate::context::MAX_DEPTH;
use crate::oauth::NumericDate;
use crate::oauth::claims::{Claims, Identity};
use crate::oauth::token_type::TokenType;

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

/// Claims in which some issuers say what a token is for.
const SAYS: [&str; 2] = ["typ", "token_use"];

/// Says nothing about the kind, though it stands where the kind should.
const NEUTRAL: &str = "jwt";

/// What a JWT says of itself, where its issuer's answer vouches for it.
#[derive(Debug)]
pub(super) struct Said {
    /// Its end, where it has one.
    pub end: Option<NumericDate>,
    /// Its `sub`, where it has one.
    pub sub: Option<String>,
    /// Its `act`.
    pub actors: Vec<Identity>,
    /// Its `may_act`.
    pub may_act: Option<Identity>,
}

/// What a declared type means for what a token may say of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// It gives access, or is a JWT of whatever use: anything but the other two.
    Access,
    /// It says who logged in (OpenID Connect Core §2).
    Id,
    /// It is good for new tokens (RFC 6749 §1.5).
    Refresh,
}

impl Kind {
    fn of(token_type: &TokenType) -> Self {
        match token_type {
            TokenType::IdToken => Self::Id,
            TokenType::RefreshToken => Self::Refresh,
            _ => Self::Access,
        }
    }

    /// The words that issuers have for it.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Access => &["bearer", "at+jwt", "access", "access_token"],
            Self::Id => &["id", "id_token"],
            Self::Refresh => &["refresh", "refresh_token", "offline"],
        }
    }
}

/// Refuses what is of another kind than the declared type. `says_access` is whether something besides its
/// claims names it an access token: its header (`at+jwt`, RFC 9068 §2.1), or the issuer's answer about it.
pub(super) fn check(
    claims: &Claims,
    says_access: bool,
    declared: &TokenType,
    role: Role,
) -> Result<(), TokenError> {
    for constraint in constraints(role) {
        if claims.has(constraint) {
            return Err(TokenError::Constrained(constraint));
        }
    }
    if claims.has("events") {
        return Err(TokenError::Event);
    }
    let kind = Kind::of(declared);
    let mut says_access = says_access;
    for claim in SAYS {
        if let Some(said) = claims.string(claim)?.map(str::to_ascii_lowercase)
            && said != NEUTRAL
        {
            if !kind.words().contains(&said.as_str()) {
                return Err(TokenError::OtherKind);
            }
            says_access = true;
        }
    }
    for claim in OF_ID_TOKENS {
        if kind == Kind::Access && !says_access && claims.has(claim) {
            return Err(TokenError::OtherKind);
        }
    }
    Ok(())
}

/// What a token says of itself must allow it, where its issuer's answer vouches for it.
pub(super) fn check_unverified(
    claims: &Claims,
    says_access: bool,
    expectation: &Expectation<'_>,
) -> Result<Said, TokenError> {
    check(
        claims,
        says_access,
        expectation.token_type,
        expectation.role,
    )?;
    let end = claims.date("exp")?;
    if end.is_some_and(|end| end <= expectation.now) {
        return Err(TokenError::Expired);
    }
    Ok(Said {
        end,
        sub: claims.string("sub")?.map(str::to_owned),
        actors: claims.actors(MAX_DEPTH)?,
        may_act: claims.may_act()?,
    })
}
