use super::*;
use crate::jose::Compact;

fn key(algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(algorithm).unwrap())
}

fn ed() -> Arc<SigningKey> {
    key(Algorithm::EdDSA)
}

const fn at(seconds: i64) -> NumericDate {
    NumericDate(seconds)
}

/// Published for ten minutes before use; tokens live an hour, requests half a minute.
fn succession(now: i64) -> Succession {
    Succession {
        now: at(now),
        notice: 600,
        max_age: 300,
        longest: 3600,
        in_flight: 30,
    }
}

fn signer(keys: &SigningKeys, now: i64) -> &str {
    keys.signer(None, at(now)).unwrap().kid()
}

fn published(keys: &SigningKeys) -> Vec<&str> {
    keys.iter().map(PublishedKey::kid).collect()
}

/// The kids of the keys whose private halves are held.
fn private(keys: &SigningKeys) -> Vec<&str> {
    let held = keys.iter().filter(|key| key.private.is_some());
    held.map(PublishedKey::kid).collect()
}

#[test]
fn the_first_key_signs_at_once_and_all_verify() {
    let (one, two, three) = (ed(), key(Algorithm::ES256), ed());
    let all = vec![Arc::clone(&one), Arc::clone(&two), Arc::clone(&three)];
    let keys = SigningKeys::new(all.clone()).unwrap();
    assert_eq!(signer(&keys, 0), one.kid());
    let of = |algorithm| {
        keys.signer(Some(algorithm), at(0))
            .map(|key| key.kid().to_owned())
    };
    assert_eq!(of(Algorithm::EdDSA).as_deref(), Some(one.kid()));
    assert_eq!(of(Algorithm::ES256).as_deref(), Some(two.kid()));
    assert_eq!(of(Algorithm::RS256), None);
    assert_eq!(
        private(&keys),
        [one.kid(), two.kid()],
        "the third never signs"
    );
    for key in &all {
        let token = key.compact("JWT", &json!({})).unwrap();
        let token = Compact::parse(&token).unwrap();
        assert!(token.verify(&keys.verifier()).is_ok());
    }
}

/// Whether a start is a restart in the middle of a rotation, nobody remembers. The old key stands behind.
#[test]
fn after_a_start_the_last_listed_signs_until_the_first_is_known() {
    let (new, middle, old, other) = (ed(), ed(), ed(), key(Algorithm::ES256));
    let all = [&new, &other, &middle, &old].map(Arc::clone).to_vec();
    let keys = SigningKeys::started(all.clone(), at(1000), 600).unwrap();
    let of = |keys: &SigningKeys, algorithm, now| {
        let key = keys.signer(algorithm, at(now)).unwrap();
        key.kid().to_owned()
    };
    for algorithm in [None, Some(Algorithm::EdDSA)] {
        assert_eq!(of(&keys, algorithm, 1000), old.kid());
        assert_eq!(of(&keys, algorithm, 1599), old.kid());
        assert_eq!(of(&keys, algorithm, 1600), new.kid());
    }
    assert_eq!(of(&keys, Some(Algorithm::ES256), 1000), other.kid());
    let state = |index: usize, now| keys.state(keys.iter().nth(index).unwrap(), at(now));
    assert_eq!(state(0, 1000), KeyState::SignsFrom(at(1600)));
    assert_eq!(state(3, 1000), KeyState::Signs);
    assert_eq!(
        (state(0, 1600), state(3, 1600)),
        (KeyState::Signs, KeyState::Listed)
    );
    // A reload in between changes nothing of that, also where it takes the old one away.
    for listed in [all, vec![Arc::clone(&new), Arc::clone(&other)]] {
        let again = keys.succeed(listed, succession(1300)).unwrap();
        assert_eq!(
            (signer(&again, 1599), signer(&again, 1600)),
            (old.kid(), new.kid())
        );
    }
}

#[test]
fn key_names_are_checked_where_the_set_is_made() {
    let named = |kid: &str| {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        Arc::new(key.with_kid(kid.to_owned()))
    };
    let error = |keys| SigningKeys::new(keys).unwrap_err();
    assert_eq!(error(vec![]), KeyError::NoKeys);
    assert_eq!(error(vec![named("")]), KeyError::BadKid);
    assert_eq!(error(vec![named(&"k".repeat(257))]), KeyError::BadKid);
    assert_eq!(error(vec![named("a"), named("a")]), KeyError::KidTwice);
    assert!(SigningKeys::new(vec![named("a"), named("b")]).is_ok());
}

#[test]
fn a_new_key_is_published_first_and_the_old_one_stays_until_its_tokens_expire() {
    let (old, new) = (ed(), ed());
    let keys = SigningKeys::started(vec![Arc::clone(&old)], at(0), 600).unwrap();
    let keys = keys
        .succeed(vec![Arc::clone(&new)], succession(1000))
        .unwrap();
    assert_eq!(published(&keys), [new.kid(), old.kid()]);
    assert_eq!(signer(&keys, 1000), old.kid());
    assert_eq!(signer(&keys, 1599), old.kid());
    assert_eq!(signer(&keys, 1600), new.kid());
    let state = |index: usize, now| keys.state(keys.iter().nth(index).unwrap(), at(now));
    assert_eq!(state(0, 1000), KeyState::SignsFrom(at(1600)));
    assert_eq!(
        (state(1, 1599), state(0, 1600)),
        (KeyState::Signs, KeyState::Signs)
    );
    assert_eq!(state(1, 1600), KeyState::Retired);

    // Reloads in between change nothing of that.
    let again = keys
        .succeed(vec![Arc::clone(&new)], succession(1300))
        .unwrap();
    assert_eq!(signer(&again, 1599), old.kid());
    assert_eq!(signer(&again, 1600), new.kid());
    assert!(!again.outlived(at(1599), 3600));
    assert!(again.outlived(at(1600), 3600), "the private half");
    let after = again
        .succeed(vec![Arc::clone(&new)], succession(1700))
        .unwrap();
    assert_eq!(private(&after), [new.kid()]);
    assert_eq!(published(&after), [new.kid(), old.kid()]);
    // The old one signed last at 1600, for an hour.
    assert!(!after.outlived(at(5200), 3600));
    assert!(after.outlived(at(5201), 3600));
    let last = after
        .succeed(vec![Arc::clone(&new)], succession(5201))
        .unwrap();
    assert_eq!(published(&last), [new.kid()]);
    assert!(!last.outlived(at(i64::MAX), 3600));
}

#[test]
fn a_key_listed_before_it_is_first_signs_at_once_when_it_is() {
    let (old, new) = (ed(), ed());
    let both = |first: &Arc<SigningKey>, second: &Arc<SigningKey>| {
        vec![Arc::clone(first), Arc::clone(second)]
    };
    let keys = SigningKeys::started(vec![Arc::clone(&old)], at(0), 600).unwrap();
    let keys = keys.succeed(both(&old, &new), succession(1000)).unwrap();
    assert_eq!(signer(&keys, 5000), old.kid());
    let early = keys.succeed(both(&new, &old), succession(1500)).unwrap();
    assert_eq!(
        (signer(&early, 1599), signer(&early, 1600)),
        (old.kid(), new.kid())
    );
    let late = keys.succeed(both(&new, &old), succession(2000)).unwrap();
    assert_eq!(signer(&late, 2000), new.kid());
    assert_eq!(private(&late), [new.kid()], "only where it signs");
    // And back, at once: the old one is known.
    let back = late
        .succeed(vec![Arc::clone(&old)], succession(2100))
        .unwrap();
    assert_eq!(signer(&back, 2100), old.kid());
    assert_eq!(published(&back), [old.kid(), new.kid()]);
}

#[test]
fn the_first_key_of_an_algorithm_waits_and_still_stays_for_its_tokens() {
    let (old, first) = (ed(), key(Algorithm::ES256));
    let both = vec![Arc::clone(&old), Arc::clone(&first)];
    let keys = SigningKeys::started(vec![Arc::clone(&old)], at(0), 600).unwrap();
    let keys = keys.succeed(both.clone(), succession(1000)).unwrap();
    let again = keys.succeed(both, succession(1100)).unwrap();
    for keys in [keys, again] {
        let signs = |now| keys.signer(Some(Algorithm::ES256), at(now)).unwrap().kid();
        assert_eq!(signs(1200), old.kid());
        assert_eq!(signs(1700), first.kid());
        let without = keys
            .succeed(vec![Arc::clone(&old)], succession(1700))
            .unwrap();
        assert_eq!(published(&without), [old.kid(), first.kid()]);
        let after = |now| without.succeed(vec![Arc::clone(&old)], succession(now));
        assert_eq!(published(&after(5330).unwrap()), [old.kid(), first.kid()]);
        assert_eq!(published(&after(5331).unwrap()), [old.kid()]);
    }
}

#[test]
fn the_one_that_signed_goes_on_and_no_other_that_is_listed() {
    let (old, special, new) = (key(Algorithm::ES256), ed(), key(Algorithm::ES256));
    let list = |first: &Arc<SigningKey>| vec![Arc::clone(first), Arc::clone(&special)];
    let keys = SigningKeys::started(list(&old), at(0), 600).unwrap();
    let keys = keys.succeed(list(&new), succession(1000)).unwrap();
    assert_eq!(signer(&keys, 1100), old.kid());
    for (algorithm, kid) in [
        (Algorithm::ES256, old.kid()),
        (Algorithm::EdDSA, special.kid()),
    ] {
        assert_eq!(keys.signer(Some(algorithm), at(1100)).unwrap().kid(), kid);
    }
}

/// The first key of an algorithm is as new as any other.
#[test]
fn a_new_algorithm_waits_like_a_new_key() {
    let (old, new) = (ed(), key(Algorithm::ES256));
    let keys = SigningKeys::started(vec![Arc::clone(&old)], at(0), 600).unwrap();
    let both = || vec![Arc::clone(&old), Arc::clone(&new)];
    let keys = keys.succeed(both(), succession(1000)).unwrap();
    let of = |keys: &SigningKeys, now| {
        let key = keys.signer(Some(Algorithm::ES256), at(now)).unwrap();
        key.kid().to_owned()
    };
    assert_eq!(
        (of(&keys, 1000), of(&keys, 1599)),
        (old.kid().into(), old.kid().into())
    );
    assert_eq!(of(&keys, 1600), new.kid());
    let again = keys.succeed(both(), succession(1300)).unwrap();
    assert_eq!(
        (of(&again, 1599), of(&again, 1600)),
        (old.kid().into(), new.kid().into())
    );
}

/// A document that may be kept for five minutes may be kept for five minutes, whatever is configured since.
#[test]
fn what_was_promised_with_an_earlier_document_outlives_reloads() {
    let (old, new) = (ed(), ed());
    let keys = SigningKeys::started(vec![Arc::clone(&old)], at(0), 600).unwrap();
    let hasty = |now, max_age| Succession {
        notice: 0,
        max_age,
        ..succession(now)
    };
    let keys = keys
        .succeed(vec![Arc::clone(&old)], hasty(1000, 300))
        .unwrap();
    let keys = keys
        .succeed(vec![Arc::clone(&old)], hasty(1001, 0))
        .unwrap();
    let keys = keys
        .succeed(vec![Arc::clone(&new)], hasty(1002, 0))
        .unwrap();
    assert_eq!(
        (signer(&keys, 1299), signer(&keys, 1300)),
        (old.kid(), new.kid())
    );
}

#[test]
fn a_kid_is_not_given_to_another_key_while_it_is_in_use() {
    let named = || {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        Arc::new(key.with_kid("k".to_owned()))
    };
    let keys = SigningKeys::started(vec![named()], at(0), 600).unwrap();
    let other = keys.succeed(vec![named()], succession(1000));
    assert_eq!(other.unwrap_err(), KeyError::KidInUse);
    let gone = keys.succeed(vec![ed()], succession(1000)).unwrap();
    assert!(gone.succeed(vec![named()], succession(5000)).is_err());
    assert!(gone.succeed(vec![named()], succession(6000)).is_ok());
}

/// F14: rotated at every odd moment, also while a key still waits for its turn, while a verifier keeps what
/// it fetched for as long as it may, and requests go on with an earlier set for as long as they may.
#[test]
fn f14_no_good_token_is_ever_rejected() {
    const NOTICE: i64 = 60;
    const CACHE: i64 = 60;
    const LIFE: i64 = 100;
    const IN_FLIGHT: i64 = 10;
    let pool: Vec<Arc<SigningKey>> = (0..40).map(|_| ed()).collect();
    let mut random = 7_u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    let first = SigningKeys::started(vec![Arc::clone(&pool[0])], at(0), 600).unwrap();
    let mut sets: Vec<(i64, SigningKeys)> = vec![(0, first)];
    let mut next = 1;
    let mut fetched = (
        0,
        published(&sets[0].1)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
    );
    let mut live: Vec<(String, i64)> = Vec::new();
    let mut most = 0;
    for now in 1..6000 {
        let current = sets.last().unwrap().1.clone();
        // A new first key, an old one back, the same again, or a second one listed.
        if draw(12) == 0 {
            let list = match draw(4) {
                0 => vec![Arc::clone(&pool[next - 1])],
                1 => vec![Arc::clone(&pool[next % 40]), Arc::clone(&pool[next - 1])],
                2 if next > 1 => vec![Arc::clone(&pool[next - 2])],
                _ => vec![Arc::clone(&pool[next % 40])],
            };
            if draw(6) == 0 {
                next = next % 39 + 1;
            }
            let set = current.succeed(
                list,
                Succession {
                    now: at(now),
                    notice: NOTICE,
                    max_age: CACHE,
                    longest: LIFE,
                    in_flight: IN_FLIGHT,
                },
            );
            sets.push((now, set.unwrap()));
        }
        let current = &sets.last().unwrap().1;
        let served = published(current);
        most = most.max(served.len());
        if now - fetched.0 >= CACHE {
            fetched = (now, served.iter().map(ToString::to_string).collect());
        }
        // Requests with this set, and with every one that was replaced a moment ago.
        for (index, (_, set)) in sets.iter().enumerate() {
            let replaced = sets.get(index + 1).map_or(now, |(at, _)| *at);
            if now - replaced <= IN_FLIGHT {
                live.push((signer(set, now).to_owned(), now + LIFE));
            }
        }
        live.retain(|(_, end)| *end > now);
        for (kid, end) in &live {
            assert!(
                served.contains(&kid.as_str()),
                "at {now} nobody can verify {kid} until {end}"
            );
            let cached = fetched.1.contains(kid);
            assert!(
                cached,
                "at {now} a verifier that fetched at {} rejects",
                fetched.0
            );
        }
        sets.retain({
            let last = sets.len() - 1;
            let mut index = 0;
            let ends: Vec<i64> = sets.iter().skip(1).map(|(at, _)| *at).collect();
            move |_| {
                let keep = index == last || now - ends[index] <= IN_FLIGHT;
                index += 1;
                keep
            }
        });
    }
    assert!(most > 3, "the run was too tame: {most}");
}
