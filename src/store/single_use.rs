//! Identifiers that are good for one use: the `jti` of a client assertion (RFC 7523 §3 item 7).
//!
//! The contract is exact. Nothing is taken twice, nothing alive is ever forgotten to make room, and what
//! cannot be vouched for is refused:
//!
//! - An entry is kept until its end. It goes in buckets of a few seconds, a few entries at each use, so
//!   that no use pays for a sweep. What was forgotten stays refused, also when the clock steps back.
//! - There is room for [`Limits::capacity`] entries, and [`Limits::per_owner`] of one owner. Beyond that
//!   an identifier is refused. An entry takes about 150 bytes: 32 for its key, once in a table that doubles and
//!   once in its bucket.
//! - A process knows nothing of what was used before it started. What was issued so early that it may
//!   have been used then is refused as [`Refusal::BeforeStart`]. That supposes that the machine's clock
//!   did not step back between the two. Where it steps back later, the start was as much earlier.
//!
//! Does not know what the identifiers are for, and does no I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::Clock;
use crate::jose::sha256;
use crate::metrics::Metrics;
use crate::oauth::NumericDate;

/// Uses that hash to different shards do not wait for each other.
const SHARDS: usize = 32;
/// Ends are rounded up to this many seconds, so that there are few buckets.
const WIDTH: i64 = 8;
/// How many ended entries a use removes on its way; two would do to keep up.
const FEW: usize = 16;
/// How many are removed under one lock where room is wanting.
const MANY: usize = 1024;
/// Tables below this capacity are not worth giving back.
const SMALL: usize = 1024;

/// SHA-256 over kind, realm, owner and identifier.
type Key = [u8; 32];

/// An identifier that somebody wants to use.
#[derive(Clone, Copy, Debug)]
pub struct Ticket<'a> {
    /// What kind of identifier it is; kinds never meet.
    pub kind: &'static str,
    /// The realm that its owner is known in.
    pub realm: &'a str,
    /// Whose it is; the identifiers of two owners never meet.
    pub owner: &'a str,
    /// The identifier.
    pub id: &'a str,
    /// When it was issued, by its owner's clock.
    pub issued_at: NumericDate,
    /// How far that clock may be ahead of ours, in seconds.
    pub ahead: i64,
    /// Its end: from then on its owner's proof is refused anyway.
    pub until: NumericDate,
}

/// How much is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries in all.
    pub capacity: usize,
    /// Entries of one owner, so that one alone cannot lock out the others.
    pub per_owner: usize,
}

impl Limits {
    /// A million entries in all: 3,300 uses a second of what lives five minutes.
    pub const CAPACITY: usize = 1_000_000;

    /// A capacity of which no owner gets more than a quarter.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            per_owner: (capacity / 4).max(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(Self::CAPACITY)
    }
}

/// Why an identifier may not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It was used before.
    #[error("it was used before")]
    Seen,
    /// Entries that end when it ends are forgotten already: the clock was ahead, and stepped back.
    #[error("the clock has stepped back, and whether it was used before is not known any more")]
    Forgotten,
    /// It may have been used before this process started.
    #[error("it may have been used before this server started")]
    BeforeStart,
    /// There is no room.
    #[error("there is no room to remember it")]
    Full,
    /// There is no more room for this owner.
    #[error("there is no more room to remember what its owner uses")]
    OwnerFull,
}

impl Refusal {
    /// A word for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Forgotten => "forgotten",
            Self::BeforeStart => "before_start",
            Self::Full => "full",
            Self::OwnerFull => "owner_full",
        }
    }
}

/// The memory of what was used.
pub struct SingleUse {
    clock: Clock,
    started: NumericDate,
    /// The same by the clock that nobody sets.
    began: Duration,
    shards: Box<[Mutex<Shard>]>,
    owners: RwLock<HashMap<Key, Arc<Owner>>>,
    /// Entries in all shards, and those that are about to be.
    held: AtomicUsize,
    metrics: Metrics,
}

/// How many entries an owner has.
#[derive(Default)]
struct Owner(AtomicUsize);

struct Shard {
    used: HashSet<Key>,
    /// The same by their ends.
    ends: BTreeMap<i64, Vec<(Key, Arc<Owner>)>>,
    /// INVARIANT: what ends at or before this is refused, whatever the clock says.
    forgotten: i64,
}

impl SingleUse {
    /// A memory that knows nothing from before this moment.
    #[must_use]
    pub fn new(clock: Clock, metrics: Metrics) -> Self {
        let shard = || Shard {
            used: HashSet::new(),
            ends: BTreeMap::new(),
            forgotten: i64::MIN,
        };
        Self {
            started: clock.now(),
            began: clock.elapsed(),
            clock,
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            owners: RwLock::default(),
            held: AtomicUsize::new(0),
            metrics,
        }
    }

    /// Uses an identifier up. Of any number of callers with the same one, exactly one succeeds.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing is remembered then.
    pub fn use_up(
        &self,
        ticket: &Ticket<'_>,
        limits: Limits,
        now: NumericDate,
    ) -> Result<(), Refusal> {
        let result = self.remember(ticket, limits, now);
        if let Err(refusal) = result {
            self.metrics.replay_refused(refusal.reason());
        }
        self.metrics.replay_entries(self.len());
        result
    }

    /// Whether what is issued now, by a clock that may be ahead by so many seconds, can be told from what
    /// was used before this process started.
    #[must_use]
    pub fn settled(&self, ahead: i64, now: NumericDate) -> bool {
        now > self.started(now).plus(ahead)
    }

    /// When this process started, by a clock that says it is `now`. One that is set back was ahead at the
    /// start, too; one that is set forward may have been right.
    fn started(&self, now: NumericDate) -> NumericDate {
        let running = self.clock.elapsed().saturating_sub(self.began).as_secs();
        let running = i64::try_from(running).unwrap_or(i64::MAX);
        self.started.min(NumericDate(now.0.saturating_sub(running)))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remember(
        &self,
        ticket: &Ticket<'_>,
        limits: Limits,
        now: NumericDate,
    ) -> Result<(), Refusal> {
        // Its owner's clock may be ahead by this much, so it may be that much older than it says.
        if ticket.issued_at <= self.started(now).plus(ticket.ahead) {
            return Err(Refusal::BeforeStart);
        }
        let key = key(&[ticket.kind, ticket.realm, ticket.owner, ticket.id]);
        let end = bucket(ticket.until);
        let owner = self.owner(key_of_owner(ticket));
        // Room comes first, so that there are never more entries than there is room for.
        if let Err(refusal) = self.make_room(&owner, limits, now) {
            return Err(match self.shard(&key)?.used.contains(&key) {
                true => Refusal::Seen,
                false => refusal,
            });
        }
        let added = self.shard(&key).and_then(|mut shard| {
            self.release(shard.forget(now, FEW));
            shard.add(key, end, &owner)
        });
        if added.is_err() {
            self.release(1);
            owner.0.fetch_sub(1, Ordering::Relaxed);
        }
        added
    }

    fn shard(&self, key: &Key) -> Result<MutexGuard<'_, Shard>, Refusal> {
        let index = key
            .first()
            .map_or(0, |byte| usize::from(*byte) % self.shards.len());
        // There is one at each index; no memory would be no room.
        let shard = self.shards.get(index).ok_or(Refusal::Full)?;
        Ok(lock(shard))
    }

    /// The count of an owner. Owners without entries are dropped when a new one comes.
    fn owner(&self, key: Key) -> Arc<Owner> {
        let known = self.owners.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = known.get(&key) {
            return Arc::clone(owner);
        }
        drop(known);
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        // Each entry holds its owner, and so does everybody who is about to add one.
        owners.retain(|_, owner| Arc::strong_count(owner) > 1);
        Arc::clone(owners.entry(key).or_default())
    }

    /// Takes room for one entry, from what has ended if need be.
    fn make_room(&self, owner: &Owner, limits: Limits, now: NumericDate) -> Result<(), Refusal> {
        let mut room = self.take_room(owner, limits);
        for shard in &self.shards {
            while room.is_err() {
                let removed = lock(shard).forget(now, MANY);
                self.release(removed);
                if removed == 0 {
                    break;
                }
                room = self.take_room(owner, limits);
            }
        }
        room
    }

    fn take_room(&self, owner: &Owner, limits: Limits) -> Result<(), Refusal> {
        let take = |count: &AtomicUsize, limit: usize| {
            let more = |held| (held < limit).then_some(held + 1);
            count
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
                .is_ok()
        };
        if !take(&self.held, limits.capacity) {
            return Err(Refusal::Full);
        }
        if !take(&owner.0, limits.per_owner) {
            self.release(1);
            return Err(Refusal::OwnerFull);
        }
        Ok(())
    }

    fn release(&self, entries: usize) {
        self.held.fetch_sub(entries, Ordering::Relaxed);
    }
}

impl fmt::Debug for SingleUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleUse")
            .field("started", &self.started)
            .field("held", &self.len())
            .finish_non_exhaustive()
    }
}

impl Shard {
    fn add(&mut self, key: Key, end: i64, owner: &Arc<Owner>) -> Result<(), Refusal> {
        if end <= self.forgotten {
            return Err(Refusal::Forgotten);
        }
        if !self.used.insert(key) {
            return Err(Refusal::Seen);
        }
        let bucket = self.ends.entry(end).or_default();
        bucket.push((key, Arc::clone(owner)));
        Ok(())
    }

    /// Removes some of what has ended, and says how many.
    fn forget(&mut self, now: NumericDate, most: usize) -> usize {
        let mut removed = 0;
        while removed < most {
            let Some(mut first) = self
                .ends
                .first_entry()
                .filter(|first| *first.key() <= now.0)
            else {
                break;
            };
            self.forgotten = self.forgotten.max(*first.key());
            match first.get_mut().pop() {
                Some((key, owner)) => {
                    self.used.remove(&key);
                    owner.0.fetch_sub(1, Ordering::Relaxed);
                    removed += 1;
                }
                None => drop(first.remove()),
            }
        }
        // Halving a table after three quarters of it are gone costs a constant for each of those.
        let (used, room) = (self.used.len(), self.used.capacity());
        if room > SMALL && used < room / 4 {
            self.used.shrink_to(used * 2);
        }
        removed
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of the bucket that an entry is in: later than its own.
fn bucket(until: NumericDate) -> i64 {
    let number = until.0.div_euclid(WIDTH).saturating_add(1);
    number.saturating_mul(WIDTH)
}

fn key_of_owner(ticket: &Ticket<'_>) -> Key {
    key(&[ticket.kind, ticket.realm, ticket.owner])
}

/// Each part with its length before it: no two lists of parts give the same bytes.
fn key(parts: &[&str]) -> Key {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    sha256(&bytes)
}

#[cfg(test)]
mod tests;
