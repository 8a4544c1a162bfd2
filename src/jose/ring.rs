//! Our keys over time: which one signs when, and which ones are published.
//!
//! A verifier learns of a key from the published set, which it keeps for a while. So a key is published
//! before it signs, and its public half stays until everything that it signed has expired. Both are
//! worked out when one set of keys [succeeds](SigningKeys::succeed) another; a set itself never changes.
//!
//! Time comes in as an argument. Does not know where keys come from, nor how long tokens live.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::header::is_kid;
use super::{Algorithm, JwksError, KeyError, KeySet, SigningKey, thumbprint};
use crate::oauth::NumericDate;

const ALWAYS: NumericDate = NumericDate(i64::MIN);

/// Our keys. A clone shares them.
#[derive(Clone, Debug)]
pub struct SigningKeys(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    /// Those that configuration lists, in its order; then those that it does not list any more.
    held: Vec<PublishedKey>,
    /// One for each way to ask for a key.
    turns: Vec<Turn>,
    verifier: KeySet,
    /// Until when the documents of earlier sets may be kept by those who fetched them.
    promised_until: NumericDate,
}

/// A key that is published.
#[derive(Debug)]
pub struct PublishedKey {
    kid: String,
    algorithm: Algorithm,
    jwk: Value,
    /// Only where it signs, or will.
    private: Option<Arc<SigningKey>>,
    listed: bool,
    /// From then on verifiers have had the time to learn of it.
    known_at: NumericDate,
    /// When the last token that it may have signed, under sets before this one, expires.
    kept_until: NumericDate,
    /// Until when it may have signed before there was a set, in a process before this one.
    signed_before: Option<NumericDate>,
}

/// Who signs for those who ask for an algorithm, or for none.
#[derive(Debug)]
struct Turn {
    algorithm: Option<Algorithm>,
    before: Option<usize>,
    after: usize,
    /// When `after` takes over.
    at: NumericDate,
}

/// What a set of keys must know to succeed another.
#[derive(Clone, Copy, Debug)]
pub struct Succession {
    /// The time.
    pub now: NumericDate,
    /// How long a new key is published before it signs, in seconds.
    pub notice: i64,
    /// How long the earlier set's document may be kept by those who fetch it, in seconds.
    pub max_age: i64,
    /// The longest that a token lives that the earlier set signs, in seconds.
    pub longest: i64,
    /// How long a request may go on with the earlier set, in seconds.
    pub in_flight: i64,
}

/// What a key is there for at some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// It signs.
    Signs,
    /// It will sign from then on.
    SignsFrom(NumericDate),
    /// It is listed, and does not sign.
    Listed,
    /// It is not listed any more; tokens that it signed may be out.
    Retired,
}

impl KeyState {
    /// A word for metrics and `/status`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Signs => "signs",
            Self::SignsFrom(_) => "signs_later",
            Self::Listed => "published",
            Self::Retired => "retired",
        }
    }
}

impl SigningKeys {
    /// A set of keys that everybody knows, in order of preference: the first signs, and the first of each
    /// algorithm for those who ask for that.
    ///
    /// # Errors
    /// [`KeyError::NoKeys`], [`KeyError::BadKid`], [`KeyError::KidTwice`], and
    /// [`KeyError::Unsafe`] for a key a strict verifier would not take.
    pub fn new(keys: Vec<Arc<SigningKey>>) -> Result<Self, KeyError> {
        Self::started(keys, ALWAYS, 0)
    }

    /// The first set of a process that started at some time: another one may have signed with any of the keys
    /// until then, and nobody knows which of them were published for how long. Of several keys of an
    /// algorithm the last one listed is taken for the one that everybody knows, because the new one stands
    /// first and the old one behind it: it signs for `notice` seconds, and then the first.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn started(
        keys: Vec<Arc<SigningKey>>,
        at: NumericDate,
        notice: i64,
    ) -> Result<Self, KeyError> {
        check(&keys)?;
        let last = |algorithm| keys.iter().rposition(|key| key.algorithm() == algorithm);
        let known_at = |index: usize, key: &SigningKey| match last(key.algorithm()) == Some(index) {
            true => ALWAYS,
            false => at.plus(notice),
        };
        let held = keys.iter().enumerate().map(|(index, key)| PublishedKey {
            signed_before: Some(at),
            ..PublishedKey::listed(key, known_at(index, key))
        });
        let held: Vec<_> = held.collect();
        let turns = ways(&held).map(|(algorithm, after)| {
            let first = held.get(after);
            let known_at = first.map_or(ALWAYS, |key| key.known_at);
            let before = first.and_then(|first| last(first.algorithm));
            Turn::new(algorithm, before, after, known_at, at)
        });
        let turns = turns.collect();
        Self::with(held, turns, &keys, ALWAYS)
    }

    /// The set that succeeds this one. A key that is new waits until verifiers know it, also where it is the
    /// first of its algorithm; until then whoever signs now goes on signing. A key that is listed no more stays as long as tokens that
    /// it signed may be out.
    ///
    /// # Errors
    /// As [`new`](Self::new), [`KeyError::KidInUse`] and [`KeyError::AlgChanged`].
    pub fn succeed(
        &self,
        keys: Vec<Arc<SigningKey>>,
        succession: Succession,
    ) -> Result<Self, KeyError> {
        let now = succession.now;
        check(&keys)?;
        // What was promised with an earlier document holds however short the notice is by now.
        let promised_until = self.0.promised_until.max(now.plus(succession.max_age));
        let known_at = now.plus(succession.notice).max(promised_until);
        let mut held: Vec<PublishedKey> = Vec::new();
        for key in &keys {
            let mut listed = PublishedKey::listed(key, known_at);
            if let Some((index, earlier)) = self.position(&listed) {
                listed.known_at = earlier.known_at;
                listed.kept_until = self.end(index, now.plus(succession.in_flight), succession);
            }
            held.push(listed);
        }
        let ways: Vec<_> = ways(&held).collect();
        let mut carried: Vec<Arc<SigningKey>> = Vec::new();
        for (index, earlier) in self.0.held.iter().enumerate() {
            if held.iter().any(|key| key.is(earlier)) {
                continue;
            }
            let kept_until = self.end(index, now.plus(succession.in_flight), succession);
            if kept_until < now {
                continue;
            }
            if let Some(key) = held.iter().find(|key| key.kid == earlier.kid) {
                return Err(match key.is_but_for_algorithm(earlier) {
                    true => KeyError::AlgChanged,
                    false => KeyError::KidInUse,
                });
            }
            carried.extend(earlier.private.clone());
            held.push(PublishedKey {
                kept_until,
                listed: false,
                ..PublishedKey::public(earlier)
            });
        }
        let mut turns = Vec::new();
        for (algorithm, after) in ways {
            // An algorithm that is new has nobody who could go on: whoever signs for all others does.
            let signs = self
                .signer(algorithm, now)
                .or_else(|| self.signer(None, now));
            let before = signs.and_then(|key| held.iter().position(|other| other.is_of(key)));
            let known_at = held.get(after).map_or(ALWAYS, |key| key.known_at);
            turns.push(Turn::new(algorithm, before, after, known_at, now));
        }
        let all: Vec<_> = keys.into_iter().chain(carried).collect();
        Self::with(held, turns, &all, promised_until)
    }

    /// Gives the keys that sign their private halves, and nobody else.
    fn with(
        mut held: Vec<PublishedKey>,
        turns: Vec<Turn>,
        keys: &[Arc<SigningKey>],
        promised_until: NumericDate,
    ) -> Result<Self, KeyError> {
        for (index, key) in held.iter_mut().enumerate() {
            let signs = |turn: &Turn| turn.after == index || turn.before == Some(index);
            if turns.iter().any(signs) {
                key.private = keys.iter().find(|private| key.is_of(private)).cloned();
            }
        }
        let verifier = verifier(&held)?;
        Ok(Self(Arc::new(Ring {
            held,
            turns,
            verifier,
            promised_until,
        })))
    }

    /// The key that signs at this time, for those who ask for an algorithm or for none. `None` where no
    /// listed key is of that algorithm. Of another algorithm than was asked for where the only key of that
    /// one is not known yet.
    pub fn signer(
        &self,
        algorithm: Option<Algorithm>,
        now: NumericDate,
    ) -> Option<&Arc<SigningKey>> {
        let asked = |turn: &&Turn| turn.algorithm == algorithm;
        let turn = self.0.turns.iter().find(asked)?;
        self.0.held.get(turn.signer(now))?.private.as_ref()
    }

    /// Whether something is held for longer than it must be: a private half that signs no more, or the
    /// public half of a key whose tokens have all expired. A set that succeeds this one holds it no more.
    pub fn outlived(&self, now: NumericDate, longest: i64) -> bool {
        let succession = Succession {
            now,
            notice: 0,
            max_age: 0,
            longest,
            in_flight: 0,
        };
        self.0.held.iter().enumerate().any(|(index, key)| {
            let signs = |turn: &Turn| turn.after == index || turn.signer(now) == index;
            let signs = self.0.turns.iter().any(signs);
            let private = key.private.is_some() && !signs;
            let public = !key.listed && !signs && self.end(index, now, succession) < now;
            private || public
        })
    }

    /// When the last token of a key expires that this set or an earlier one may sign until some time.
    fn end(&self, index: usize, until: NumericDate, succession: Succession) -> NumericDate {
        let Some(key) = self.0.held.get(index) else {
            return ALWAYS;
        };
        let turns = self.0.turns.iter().filter_map(|turn| {
            if turn.before == Some(index) {
                Some(turn.at.min(until))
            } else {
                (turn.after == index && turn.at <= until).then_some(until)
            }
        });
        let last = turns.chain(key.signed_before).max();
        let end = last.map_or(ALWAYS, |last| last.plus(succession.longest));
        end.max(key.kept_until)
    }

    fn position(&self, key: &PublishedKey) -> Option<(usize, &PublishedKey)> {
        let held = self.0.held.iter().enumerate();
        held.into_iter().find(|(_, other)| other.is(key))
    }

    /// Every key that is published, the listed ones first, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &PublishedKey> {
        self.0.held.iter()
    }

    /// What a key is there for.
    pub fn state(&self, key: &PublishedKey, now: NumericDate) -> KeyState {
        let index = self.position(key).map(|(index, _)| index);
        let turns = || self.0.turns.iter();
        let signs = turns().any(|turn| Some(turn.signer(now)) == index);
        let next = turns().find(|turn| now < turn.at && Some(turn.after) == index);
        match (signs, next) {
            (true, _) => KeyState::Signs,
            (false, Some(turn)) => KeyState::SignsFrom(turn.at),
            (false, None) if key.listed => KeyState::Listed,
            (false, None) => KeyState::Retired,
        }
    }

    /// The JWKS document to publish (RFC 7517 §5): public members only.
    pub fn jwks(&self) -> Value {
        jwks(&self.0.held)
    }

    /// What checks our own tokens.
    pub fn verifier(&self) -> KeySet {
        self.0.verifier.clone()
    }
}

impl Turn {
    /// `after` signs, and until it is known `before`, if that is another.
    fn new(
        algorithm: Option<Algorithm>,
        before: Option<usize>,
        after: usize,
        known_at: NumericDate,
        now: NumericDate,
    ) -> Self {
        let waits = before.is_some_and(|before| before != after) && known_at > now;
        Self {
            algorithm,
            before: before.filter(|_| waits),
            after,
            at: if waits { known_at } else { ALWAYS },
        }
    }

    /// The place of the key that signs at this time.
    fn signer(&self, now: NumericDate) -> usize {
        self.before.filter(|_| now < self.at).unwrap_or(self.after)
    }
}

impl PublishedKey {
    fn listed(key: &SigningKey, known_at: NumericDate) -> Self {
        Self {
            kid: key.kid().to_owned(),
            algorithm: key.algorithm(),
            jwk: key.public_jwk(),
            private: None,
            listed: true,
            known_at,
            kept_until: ALWAYS,
            signed_before: None,
        }
    }

    /// The public half of another.
    fn public(other: &Self) -> Self {
        Self {
            kid: other.kid.clone(),
            algorithm: other.algorithm,
            jwk: other.jwk.clone(),
            private: None,
            listed: other.listed,
            known_at: other.known_at,
            kept_until: other.kept_until,
            signed_before: None,
        }
    }

    /// The key's name in headers and in the published set.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm the key is bound to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> String {
        // Whatever was read as a key has one.
        thumbprint(&self.jwk).unwrap_or_default()
    }

    /// Whether it is the same key, under the same name and for the same algorithm.
    fn is(&self, other: &Self) -> bool {
        self.jwk == other.jwk
    }

    /// Whether it is the same key for another algorithm.
    fn is_but_for_algorithm(&self, other: &Self) -> bool {
        let bare = |key: &Self| {
            let mut jwk = key.jwk.clone();
            jwk.as_object_mut().map(|members| members.remove("alg"));
            jwk
        };
        self.algorithm != other.algorithm && bare(self) == bare(other)
    }

    fn is_of(&self, key: &SigningKey) -> bool {
        self.kid == key.kid() && self.algorithm == key.algorithm()
    }
}

fn check(keys: &[Arc<SigningKey>]) -> Result<(), KeyError> {
    if keys.is_empty() {
        return Err(KeyError::NoKeys);
    }
    let mut kids = BTreeSet::new();
    for key in keys {
        if !is_kid(key.kid()) {
            return Err(KeyError::BadKid);
        }
        if !kids.insert(key.kid()) {
            return Err(KeyError::KidTwice);
        }
    }
    Ok(())
}

/// Every way to ask for a key, and the first one listed that is meant.
fn ways(listed: &[PublishedKey]) -> impl Iterator<Item = (Option<Algorithm>, usize)> {
    let algorithms: BTreeSet<Algorithm> = listed.iter().map(|key| key.algorithm).collect();
    let firsts = algorithms.into_iter().filter_map(|algorithm| {
        let first = listed.iter().position(|key| key.algorithm == algorithm)?;
        Some((Some(algorithm), first))
    });
    std::iter::once((None, 0)).chain(firsts)
}

fn jwks(keys: &[PublishedKey]) -> Value {
    let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
    json!({ "keys": keys })
}

fn verifier(keys: &[PublishedKey]) -> Result<KeySet, KeyError> {
    let refused = match KeySet::from_jwks_value(&jwks(keys), &[]) {
        Ok((set, skipped)) if skipped.is_empty() => return Ok(set),
        Ok((_, skipped)) | Err(JwksError::NoUsableKey(skipped)) => skipped,
        Err(_) => Vec::new(),
    };
    Err(match refused.first() {
        Some(key) => KeyError::Unsafe { reason: key.reason },
        None => KeyError::NoKeys,
    })
}

#[cfg(test)]
mod tests;
