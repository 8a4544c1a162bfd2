//! `mint`: a JWT access token of our own (RFC 9068), signed with one of the realm's keys.
//!
//! No claim of the subject token is copied but the subject itself, who acted for it, and what a rule's
//! `claims:` names: everything else stays where it was.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{BoxFuture, Capabilities, Material, Provider, ProviderError, ProviderFactory};
use crate::context::Hop;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::jose::{Algorithm, SigningKeys, base64url, random};
use crate::oauth::NumericDate;
use crate::oauth::claims::strings;
use crate::oauth::id::Issuer;
use crate::oauth::response::{Fact, Facts, IssuedToken};
use crate::oauth::scope::Scopes;
use crate::oauth::secret::RawToken;
use crate::oauth::token_type::TokenType;
use crate::policy::Permit;
use crate::policy::schema::{ParameterKind, ParameterSchema};
use crate::section::Section;

/// The table entry.
pub static FACTORY: ProviderFactory = ProviderFactory {
    kind: "mint",
    doc: "makes a JWT access token of this realm's own (RFC 9068)",
    example: "{ provider: mint, lifetime: 5m, max_lifetime: 30m }",
    capabilities: Capabilities {
        accepts: &[
            TokenType::AccessToken,
            TokenType::Jwt,
            TokenType::IdToken,
            TokenType::RefreshToken,
        ],
        issues: &[TokenType::AccessToken],
        carries_scope: true,
        carries_act: true,
    },
    parameters: &[
        ParameterSchema {
            name: "sub",
            kind: ParameterKind::Text,
            doc: "the subject; by default that of the subject token",
        },
        ParameterSchema {
            name: "claims",
            kind: ParameterKind::Map {
                reserved: OURS,
                own: PASSED_ON,
            },
            doc: "further claims; one whose attribute is absent is left out",
        },
    ],
    build,
};

/// Claims that follow from the decision, or that resource servers take rights from: not for a rule to
/// write, since nothing would hold them against the permit.
const OURS: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti", // RFC 7519 §4.1
    "scope",
    "client_id",
    "act",
    "may_act",               // RFC 8693 §4
    "cnf",                   // RFC 7800 §3.1
    "authorization_details", // RFC 9396 §9.1
    "auth_time",
    "azp",
    "scp",
    "sid",
    "events",
    "nonce",
    "at_hash",
    "c_hash",
];

/// Claims about how the subject logged in: from its own token or not at all.
const PASSED_ON: &[(&str, &str)] = &[("acr", "subject.acr"), ("amr", "subject.amr")];

#[derive(Debug)]
struct Mint {
    issuer: Issuer,
    /// Which of them signs is a matter of the time.
    keys: SigningKeys,
    /// What was asked for, if anything.
    algorithm: Option<Algorithm>,
}

fn build(
    section: &mut Section,
    material: &Material<'_>,
    problems: &mut Diagnostics,
) -> Option<Arc<dyn Provider>> {
    let mut algorithm = None;
    if let Some(node) = section.take("alg") {
        let asked: Algorithm = node.parse(problems)?;
        let known = || material.keys.iter().map(|key| key.algorithm());
        // Not one that is only there for the tokens that it signed.
        if material
            .keys
            .signer(Some(asked), NumericDate(i64::MAX))
            .is_none()
        {
            let message = format!("the realm has no key for {asked}");
            let known: Vec<&str> = known().map(Algorithm::as_str).collect();
            problems.push(
                Diagnostic::error("E1006", message)
                    .at(&node.span)
                    .suggest(asked.as_str(), known),
            );
            return None;
        }
        algorithm = Some(asked);
    }
    Some(Arc::new(Mint {
        issuer: material.issuer.clone(),
        keys: material.keys.clone(),
        algorithm,
    }))
}

impl Provider for Mint {
    fn exchange<'a>(
        &'a self,
        permit: &'a Permit<'a>,
    ) -> BoxFuture<'a, Result<IssuedToken, ProviderError>> {
        Box::pin(async move { self.mint(permit) })
    }
}

impl Mint {
    /// RFC 9068 §2.2: `iss`, `exp`, `aud`, `sub`, `client_id`, `iat`, `jti`, and `scope`; RFC 8693 §4: `act`,
    /// `may_act`.
    fn mint(&self, permit: &Permit<'_>) -> Result<IssuedToken, ProviderError> {
        let allowed = permit.allowance();
        let context = permit.context();
        let id: [u8; 16] = random().map_err(|error| ProviderError::Failed(error.to_string()))?;
        let jti = base64url::encode(id);
        let mut claims = match permit.parameters().get("claims") {
            Some(Value::Object(further)) => further.clone(),
            _ => Map::new(),
        };
        claims.insert("iss".to_owned(), self.issuer.as_str().into());
        claims.insert("sub".to_owned(), allowed.subject.as_str().into());
        let mut audience: Vec<Value> = allowed
            .audience
            .iter()
            .map(|name| Value::from(&**name))
            .collect();
        let audience = if audience.len() == 1 {
            audience.pop().unwrap_or_default()
        } else {
            Value::Array(audience)
        };
        claims.insert("aud".to_owned(), audience);
        claims.insert("iat".to_owned(), context.now.0.into());
        claims.insert("exp".to_owned(), allowed.expires_at.0.into());
        claims.insert("client_id".to_owned(), context.client.id.as_str().into());
        claims.insert("jti".to_owned(), jti.clone().into());
        if !allowed.scope.is_empty() {
            claims.insert("scope".to_owned(), allowed.scope.to_string().into());
        }
        if let Some(act) = Hop::act_claim(&allowed.act) {
            claims.insert("act".to_owned(), act);
        }
        if let Some(may_act) = &allowed.may_act {
            claims.insert("may_act".to_owned(), may_act.claim());
        }
        let no_key = || ProviderError::Failed("no key signs now".to_owned());
        let key = self.keys.signer(self.algorithm, context.now);
        let token = key
            .ok_or_else(no_key)?
            .compact("at+jwt", &claims)
            .map_err(|error| ProviderError::Failed(error.to_string()))?;
        Ok(IssuedToken {
            token: RawToken::new(token),
            issued_token_type: TokenType::AccessToken,
            token_type: "Bearer",
            token_id: Some(jti),
            facts: facts(&claims),
        })
    }
}

/// What was signed, read back from the very claims: `confine` compares it with what was permitted.
fn facts(claims: &Map<String, Value>) -> Facts {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let signed = |fact| Fact::Signed(fact);
    let audience = claims.get("aud").and_then(strings);
    Facts {
        audience: audience.map_or(Fact::Unknown, |names| {
            Fact::Signed(names.into_iter().map(Arc::from).collect())
        }),
        scope: text("scope")
            .map_or(Some(Scopes::default()), |scope| scope.parse().ok())
            .map_or(Fact::Unknown, Fact::Signed),
        expires_at: claims
            .get("exp")
            .and_then(Value::as_i64)
            .map_or(Fact::Unknown, |at| Fact::Signed(NumericDate(at))),
        subject: text("sub")
            .and_then(|sub| sub.parse().ok())
            .map_or(Fact::Unknown, Fact::Signed),
        act: signed(claims.get("act").cloned()),
        may_act: signed(claims.get("may_act").cloned()),
        confirmation: signed(claims.get("cnf").cloned()),
    }
}
