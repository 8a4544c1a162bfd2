//! How much is going on at once, and how much may: counted, so that a limit can change while it is counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::oauth::id::RealmName;

/// What a process is doing.
#[derive(Debug, Default)]
pub struct Load {
    /// Connections to the token listener.
    pub connections: Arc<Counter>,
    /// Connections to the admin listener; they never take the place of others.
    pub admin_connections: Arc<Counter>,
    /// Requests that have begun: their head is here.
    pub requests: Arc<Counter>,
    /// Exchanges that are worked on: the whole request is here, and the answer is not yet on its way.
    pub exchanges: Arc<Counter>,
    /// Connections to the token listener by where they come from.
    pub peers: Peers,
    /// Requests that have begun, by where they come from: HTTP/2 has many on a connection.
    pub requesting: Peers,
    /// Exchanges by realm.
    pub realms: Arc<Shares<RealmName>>,
    /// Connections to the admin's Unix socket, which take nobody's place either.
    pub local_connections: Arc<Counter>,
    /// Connections to the admin listener by where they come from.
    pub admin_peers: Peers,
}

/// Something that is counted.
#[derive(Debug, Default)]
pub struct Counter {
    now: AtomicUsize,
    none: Notify,
}

impl Counter {
    /// One more, where there are fewer than `most`. It counts until it is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, most: usize) -> Option<Place> {
        let more = |now: usize| (now < most).then(|| now + 1);
        let entered = self
            .now
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        entered.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// How many there are.
    #[must_use]
    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// Waits until there is none.
    pub async fn none(&self) {
        loop {
            let none = self.none.notified();
            if self.now() == 0 {
                return;
            }
            none.await;
        }
    }
}

/// One of those that are counted.
#[derive(Debug)]
pub struct Place(Arc<Counter>);

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

/// Connections by where they come from: an IPv4 address, or the /64 that an IPv6 host can move about in.
#[derive(Debug, Default)]
pub struct Peers(Arc<Shares<IpAddr>>);

/// Something of a peer.
pub type Guest = Share<IpAddr>;

impl Peers {
    /// One more of a peer, where it has fewer than `most`. It counts until it is dropped.
    #[must_use]
    pub fn enter(&self, peer: IpAddr, most: usize) -> Option<Guest> {
        self.0.enter(network(peer), most)
    }
}

/// How many each has of something.
#[derive(Debug)]
pub struct Shares<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// One more, where it has fewer than `most`. It counts until it is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, of: K, most: usize) -> Option<Share<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share {
            shares: Arc::clone(self),
            of,
        })
    }
}

/// One of those that somebody has.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    shares: Arc<Shares<K>>,
    of: K,
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_can_change_and_what_ends_makes_room() {
        let counter = Arc::new(Counter::default());
        let (one, two) = (counter.enter(2).unwrap(), counter.enter(2).unwrap());
        assert!(counter.enter(2).is_none());
        let three = counter.enter(3).unwrap();
        drop((one, two));
        assert_eq!(counter.now(), 1);
        assert!(counter.enter(1).is_none());
        drop(three);
        assert!(counter.enter(1).is_some());
        assert_eq!(counter.now(), 0);
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_nothing_is_kept_of_who_has_gone() {
        let peers = Peers::default();
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = peers.enter(at("2001:db8::1"), 1).unwrap();
        assert!(peers.enter(at("2001:db8::ffff:2"), 1).is_none());
        let other = peers.enter(at("2001:db8:0:1::1"), 1).unwrap();
        let v4 = peers.enter(at("192.0.2.1"), 1).unwrap();
        assert!(peers.enter(at("::ffff:192.0.2.1"), 1).is_none());
        drop((first, other, v4));
        assert!(peers.0.0.lock().unwrap().is_empty());
    }
}
