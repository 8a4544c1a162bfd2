//! `cambist token inspect`: what a token says, whether its signature is its issuer's, and what the gateway would
//! have against it. Offline: nothing is fetched and nobody is asked.

mod page;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Map, Value};

use super::{COULD_NOT, Exit, FINDINGS, GOOD, complain, could_not, loaded, say, services};
use crate::config;
use crate::jose::{
    Compact, Header, JwsError, KeySet, PublicKey, Shape, base64url, parse_object, shape,
};
use crate::oauth::NumericDate;
use crate::oauth::claims::Claims;
use crate::oauth::secret::RawToken;
use crate::oauth::token_type::TokenType;
use crate::snapshot::{Realm, Snapshot};
use crate::token::{Role, TokenError, TrustedIssuer};

/// More than any token that is looked at, so that what is wrong can still be said.
const MOST: u64 = 256 * 1024;

/// Look into tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Say what a token holds, whether it is verified, and what the gateway would have against it. Offline.
    Inspect(Inspect),
}

/// Say what a token holds, whether it is verified, and what the gateway would have against it. Offline.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pbpaste | cambist token inspect
  cambist token inspect --dir policies < token.txt
  cambist token inspect --dir policies --client rs08 --as id_token < token.txt
  curl -s https://idp.example.com/keys > keys.json
  cambist token inspect --jwks keys.json --dir policies < token.txt

Exit codes: 0 verified and good now, 1 not verified or not good, 2 no token.")]
pub(super) struct Inspect {
    /// The token; by default, and for `-`, standard input, which no shell remembers.
    token: Option<String>,
    /// A configuration directory: its issuers' keys that lie here, our own keys, and what it would have against
    /// the token.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A key set (RFC 7517) to check the signature with.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// What it would be presented as (`access_token`, `id_token`, …); by default, whatever its issuer may issue.
    #[arg(long = "as", value_name = "TYPE", requires = "dir", value_parser = TokenType::from_name)]
    token_type: Option<TokenType>,
    /// The client that would bring it: its id or an identifier; by default any.
    #[arg(long, value_name = "CLIENT", requires = "dir")]
    client: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was found out about a token.
struct Findings {
    /// `jws`, `jwe` or `opaque`.
    kind: &'static str,
    header: Map<String, Value>,
    claims: Option<Map<String, Value>>,
    signature: Result<Checked, Unchecked>,
    /// What is wrong with its times, without any configuration.
    times: Vec<TokenError>,
    /// For each type that it could be presented as.
    gateway: Vec<Verdict>,
    now: NumericDate,
}

/// A signature that is good.
struct Checked {
    kid: Option<String>,
    /// Whose key it is, in words.
    by: String,
}

/// Why nothing vouches for a token.
struct Unchecked {
    /// A word from a closed set.
    reason: &'static str,
    why: String,
    help: Option<String>,
}

/// What the gateway would have against a token of some type.
struct Verdict {
    realm: String,
    token_type: String,
    objections: Vec<TokenError>,
    /// The clients that may bring it; none where every one may.
    clients: Option<Vec<String>>,
}

impl Findings {
    fn good(&self) -> bool {
        let taken = |verdict: &Verdict| verdict.objections.is_empty();
        self.signature.is_ok()
            && self.times.is_empty()
            && (self.gateway.is_empty() || self.gateway.iter().any(taken))
    }
}

pub(super) fn run(verb: &Token) -> Exit {
    let Token::Inspect(verb) = verb;
    let services = services()?;
    let snapshot = match &verb.dir {
        None => None,
        Some(dir) => Some(loaded(dir, &services, None)?),
    };
    if let (Some(client), Some(snapshot)) = (&verb.client, &snapshot) {
        let mut names = snapshot
            .realms
            .values()
            .flat_map(|realm| realm.schema.clients.iter().flat_map(|one| &one.names));
        if !names.any(|name| **name == **client) {
            return Err(could_not(format!("no client is called `{client}`")));
        }
    }
    let jwks = verb.jwks.as_deref().map(key_set).transpose()?;
    let token = read(verb.token.as_deref())?;
    let Some(findings) = look(
        &token,
        verb,
        snapshot.as_ref(),
        jwks.as_ref(),
        services.clock.now(),
    ) else {
        return Err(no_token());
    };
    match verb.json {
        true => say(&page::json(&findings))?,
        false => say(&page::text(&findings))?,
    }
    Ok(if findings.good() { GOOD } else { FINDINGS })
}

fn no_token() -> u8 {
    let _ = could_not("this is no token");
    complain("help: a token is one word; a signed one has three parts between dots\n");
    COULD_NOT
}

/// The token, from where it is remembered least.
fn read(argument: Option<&str>) -> Result<RawToken, u8> {
    let text = match argument {
        Some(argument) if argument != "-" => {
            complain(
                "warning: as an argument the token lands in the shell's history and in the list of processes\n\
                 help: give it on standard input: `cambist token inspect < FILE`\n",
            );
            argument.to_owned()
        }
        _ => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                complain("paste the token, then press Enter and Ctrl-D\n");
            }
            let mut text = String::new();
            let read = stdin.lock().take(MOST).read_to_string(&mut text);
            read.map_err(|error| could_not(format!("cannot read standard input: {error}")))?;
            text
        }
    };
    let token = RawToken::new(text);
    let trimmed = token.expose().trim();
    // What one copies from a request.
    let scheme = trimmed.get(..7);
    let bare = match scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")) {
        true => {
            complain("note: read without the `Bearer` before it\n");
            trimmed.get(7..).unwrap_or_default().trim_start()
        }
        false => trimmed,
    };
    Ok(RawToken::new(bare.to_owned()))
}

fn key_set(path: &Path) -> Result<(KeySet, String), u8> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| could_not(format!("cannot read `{shown}`: {error}")))?;
    let (keys, skipped) =
        KeySet::from_jwks(&bytes, &[]).map_err(|error| could_not(format!("`{shown}`: {error}")))?;
    for key in skipped {
        let kid = key.kid.map(|kid| format!(" (`{kid}`)")).unwrap_or_default();
        let (index, reason) = (key.index, key.reason);
        complain(&format!(
            "note: key {index}{kid} of `{shown}` is not used: {reason}\n"
        ));
    }
    Ok((keys, shown))
}

/// The realms of a configuration.
fn realms(snapshot: &Snapshot) -> impl Iterator<Item = &Realm> {
    snapshot.realms.values().map(|realm| &**realm)
}

/// What there is to say of a token; nothing where it is none.
fn look(
    token: &RawToken,
    verb: &Inspect,
    snapshot: Option<&Snapshot>,
    jwks: Option<&(KeySet, String)>,
    now: NumericDate,
) -> Option<Findings> {
    let text = token.expose();
    let word = !text.is_empty() && text.bytes().all(|b| (0x21..=0x7e).contains(&b));
    let mut parts = text.split('.');
    let mut part = || parts.next().and_then(decoded);
    let kind = match shape(text) {
        Shape::Jws => "jws",
        Shape::Jwe => "jwe",
        Shape::Opaque if word => "opaque",
        Shape::Opaque => return None,
    };
    let (header, claims) = match kind {
        "jws" => (part()?, part()),
        "jwe" => (part()?, None),
        _ => (Map::new(), None),
    };
    let times = claims
        .as_ref()
        .map(|claims| off_time(&Claims::new(claims.clone()), now))
        .unwrap_or_default();
    let signature = match kind {
        "jws" => signature(token, verb, snapshot, jwks),
        kind => Err(unreadable(kind)),
    };
    let gateway = match (snapshot, kind) {
        (Some(snapshot), "jws") => realms(snapshot)
            .flat_map(|realm| verdicts(token, verb, realm, now))
            .collect(),
        _ => Vec::new(),
    };
    Some(Findings {
        kind,
        header,
        claims,
        signature,
        times,
        gateway,
        now,
    })
}

fn decoded(part: &str) -> Option<Map<String, Value>> {
    parse_object(&base64url::decode(part).ok()?).ok()
}

/// Why a token that is no JWS cannot be looked into.
fn unreadable(kind: &str) -> Unchecked {
    match kind {
        "jwe" => Unchecked {
            reason: "jwe_not_jws",
            why: "the token is encrypted (JWE): only whom it is for can read its claims".to_owned(),
            help: Some(
                "the gateway takes no encrypted tokens; let its issuer sign them only".to_owned(),
            ),
        },
        _ => Unchecked {
            reason: "opaque",
            why: "the token is opaque: only its issuer can say what it means".to_owned(),
            help: Some(
                "the gateway asks the issuer that has `introspection:` (RFC 7662)".to_owned(),
            ),
        },
    }
}

/// Checks the signature with the keys that are at hand.
fn signature(
    token: &RawToken,
    verb: &Inspect,
    snapshot: Option<&Snapshot>,
    jwks: Option<&(KeySet, String)>,
) -> Result<Checked, Unchecked> {
    let refused = |error: JwsError| Unchecked {
        reason: error.reason(),
        why: error.to_string(),
        help: None,
    };
    let compact = Compact::parse(token.expose()).map_err(refused)?;
    let iss = compact.peek_issuer_unverified();
    let issuer = iss.as_ref().ok().and_then(|iss| known(iss, snapshot));
    let of = |issuer: &TrustedIssuer, file| format!("of issuer `{}` ({file})", issuer.alias);
    let (keys, by) = match (jwks, issuer, &verb.dir) {
        (Some((keys, file)), Some(issuer), _) => (keys.clone(), of(issuer, file.clone())),
        (Some((keys, file)), None, _) => (keys.clone(), format!("of {file}")),
        (None, Some(issuer), Some(dir)) => {
            let root = dir.join(config::ROOT).display().to_string();
            (local_keys(issuer)?, of(issuer, root))
        }
        (None, None, Some(_)) => {
            return Err(match iss {
                Ok(_) => Unchecked {
                    reason: TokenError::UnknownIssuer.reason(),
                    why: TokenError::UnknownIssuer.to_string(),
                    help: Some("`iss` must be that of an issuer, byte for byte".to_owned()),
                },
                Err(error) => refused(error),
            });
        }
        (None, _, None) => {
            return Err(Unchecked {
                reason: "no_keys",
                why: "no key was given to check the signature with".to_owned(),
                help: Some("give `--jwks FILE`, or a configuration with `--dir DIR`".to_owned()),
            });
        }
    };
    let kid = signer(&keys, compact.header());
    match compact.verify(&keys) {
        Ok(_) => Ok(Checked { kid, by }),
        Err(error) => Err(refused(error)),
    }
}

fn known<'a>(iss: &str, snapshot: Option<&'a Snapshot>) -> Option<&'a TrustedIssuer> {
    let realms = snapshot.into_iter().flat_map(realms);
    let mut issuers = realms.flat_map(|realm| realm.issuers.iter());
    issuers.find(|issuer| issuer.id.as_str() == iss)
}

/// The keys of an issuer that lie in its configuration.
fn local_keys(issuer: &TrustedIssuer) -> Result<KeySet, Unchecked> {
    let alias = &issuer.alias;
    let source = issuer.keys.as_ref().ok_or_else(|| Unchecked {
        reason: "no_keys",
        why: format!(
            "no keys of issuer `{alias}` are configured: the gateway asks its introspection endpoint"
        ),
        help: Some("give its published keys with `--jwks FILE`".to_owned()),
    })?;
    let held = match source.remote() {
        None => source.held(),
        Some(_) => None,
    };
    held.ok_or_else(|| Unchecked {
        reason: "keys_not_here",
        why: format!("the keys of issuer `{alias}` are fetched, and nothing is fetched here"),
        help: Some("download its key set, and give it with `--jwks FILE`".to_owned()),
    })
}

/// The name of the key that a token selects.
fn signer(keys: &KeySet, header: &Header) -> Option<String> {
    let mut of_algorithm = keys
        .keys()
        .iter()
        .filter(|key| key.algorithm() == header.alg);
    match &header.kid {
        Some(kid) => Some(kid.clone()),
        None => of_algorithm
            .next()
            .and_then(PublicKey::kid)
            .map(str::to_owned),
    }
}

/// What is wrong with its times for whoever has no configuration.
fn off_time(claims: &Claims, now: NumericDate) -> Vec<TokenError> {
    let mut found = Vec::new();
    match claims.date("exp") {
        Ok(Some(end)) if end <= now => found.push(TokenError::Expired),
        Ok(_) => {}
        Err(error) => found.push(error.into()),
    }
    for name in ["nbf", "iat"] {
        match claims.date(name) {
            // Clocks differ; the gateway's own leeway is 30 seconds unless configured.
            Ok(Some(begin)) if begin > now.plus(30) => found.push(TokenError::NotYet(name)),
            Ok(_) => {}
            Err(error) => found.push(error.into()),
        }
    }
    found
}

/// What the gateway would say in one realm, for each type that the token could be presented as.
fn verdicts(token: &RawToken, verb: &Inspect, realm: &Realm, now: NumericDate) -> Vec<Verdict> {
    let iss = Compact::parse(token.expose())
        .ok()
        .and_then(|compact| compact.peek_issuer_unverified().ok());
    let issuer = iss.and_then(|iss| {
        let mut issuers = realm.issuers.iter();
        issuers.find(|issuer| issuer.id.as_str() == iss)
    });
    let types = match (&verb.token_type, issuer) {
        (Some(said), _) => vec![said.clone()],
        (None, Some(issuer)) => {
            let accepted = issuer.accepts.iter();
            accepted
                .map(|accepted| accepted.token_type.clone())
                .collect()
        }
        (None, None) => vec![TokenType::AccessToken],
    };
    let wanted = |names: &BTreeSet<Arc<str>>| {
        let client = verb.client.as_deref();
        client.is_none_or(|client| names.iter().any(|name| &**name == client))
    };
    let clients = realm.schema.clients.iter();
    let clients: Vec<_> = clients.filter(|client| wanted(&client.names)).collect();
    let of_type = |token_type: TokenType| {
        let object = |names: &BTreeSet<Arc<str>>, now| {
            let set = &realm.issuers;
            set.objection(token, &token_type, Role::Subject, names, now)
        };
        let takers: Vec<String> = clients
            .iter()
            .filter(|client| object(&client.names, now).is_ok())
            .map(|client| client.id.to_string())
            .collect();
        let all = takers.len() == realm.schema.clients.len();
        let objections = match takers.is_empty() {
            true => {
                let names = clients.iter().flat_map(|client| client.names.clone());
                objections(token, &names.collect(), now, object)
            }
            false => Vec::new(),
        };
        Verdict {
            realm: realm.name.to_string(),
            token_type: token_type.name().to_owned(),
            objections,
            clients: (!all).then_some(takers),
        }
    };
    types.into_iter().map(of_type).collect()
}

/// Everything that stands against a token, one after the other: what is a matter of time is asked again at a time
/// when it would not matter.
fn objections(
    token: &RawToken,
    names: &BTreeSet<Arc<str>>,
    now: NumericDate,
    object: impl Fn(&BTreeSet<Arc<str>>, NumericDate) -> Result<(), TokenError>,
) -> Vec<TokenError> {
    let claims = Compact::parse(token.expose())
        .ok()
        .and_then(|compact| compact.peek_claims_unverified().ok().cloned());
    let claims = Claims::new(claims.unwrap_or_default());
    let date = |name| claims.date(name).ok().flatten();
    let mut found: Vec<TokenError> = Vec::new();
    let mut at = now;
    // Each of the dates once.
    for _ in 0..5 {
        let Err(error) = object(names, at) else { break };
        let next = match &error {
            TokenError::Expired => date("exp").map(|end| end.plus(-1)),
            TokenError::NotYet(name) => date(name),
            _ => None,
        };
        let again = found.contains(&error);
        if !again {
            found.push(error);
        }
        match next {
            Some(next) if !again => at = next,
            _ => break,
        }
    }
    found
}
