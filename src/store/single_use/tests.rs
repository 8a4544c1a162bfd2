use std::collections::HashMap;
use std::sync::Barrier;

use proptest::prelude::*;

use super::*;

const START: i64 = 1_000_000;

fn memory() -> SingleUse {
    let clock = Clock::fixed(NumericDate(START));
    SingleUse::new(clock, Metrics::new().unwrap())
}

fn ticket<'a>(owner: &'a str, id: &'a str, until: i64) -> Ticket<'a> {
    Ticket {
        kind: "test",
        realm: "default",
        owner,
        id,
        issued_at: NumericDate(START + 100),
        ahead: 5,
        until: NumericDate(until),
    }
}

fn at(now: i64) -> NumericDate {
    NumericDate(now)
}

fn at_start() -> NumericDate {
    at(START + 100)
}

/// The machine's clock was an hour ahead at the start, and is put right: what is issued from then on is told
/// from what was issued before the start by the time that has passed since.
#[test]
fn a_clock_that_steps_back_shuts_nobody_out() {
    let clock = Clock::fixed(at(START));
    let memory = SingleUse::new(clock.clone(), Metrics::new().unwrap());
    clock.set(at(START + 60));
    clock.step(at(START + 60 - 3600));
    let now = clock.now();
    assert!(memory.settled(5, now));
    let issued = |issued_at: i64, id: &'static str| Ticket {
        issued_at: at(issued_at),
        ..ticket("a", id, now.0 + 300)
    };
    let use_up = |ticket: Ticket<'_>| memory.use_up(&ticket, Limits::default(), now);
    assert_eq!(use_up(issued(now.0, "1")), Ok(()));
    assert_eq!(use_up(issued(now.0, "1")), Err(Refusal::Seen));
    let start = now.0 - 60;
    assert_eq!(use_up(issued(start + 5, "2")), Err(Refusal::BeforeStart));
    assert_eq!(use_up(issued(start + 6, "3")), Ok(()));
    // Forward, the start stays where it was.
    clock.step(at(START + 9000));
    let early = memory.use_up(&issued(START + 5, "4"), Limits::default(), clock.now());
    assert_eq!(early, Err(Refusal::BeforeStart));
}

#[test]
fn once_and_not_again_whatever_its_end() {
    let memory = memory();
    let limits = Limits::default();
    let use_up = |ticket: Ticket<'_>, now| memory.use_up(&ticket, limits, at(now));
    assert_eq!(use_up(ticket("a", "1", START + 300), START + 100), Ok(()));
    for until in [START + 300, START + 301, START + 9_000] {
        assert_eq!(
            use_up(ticket("a", "1", until), START + 100),
            Err(Refusal::Seen)
        );
    }
    assert_eq!(
        use_up(ticket("a", "1", START + 300), START + 300),
        Err(Refusal::Seen)
    );
    assert_eq!(use_up(ticket("b", "1", START + 300), START + 100), Ok(()));
    let of_another_kind = Ticket {
        kind: "other",
        ..ticket("a", "1", START + 300)
    };
    assert_eq!(use_up(of_another_kind, START + 100), Ok(()));
    assert_eq!(memory.len(), 3);
}

#[test]
fn a15_parts_of_a_key_do_not_run_into_each_other() {
    let keys = [
        key(&["k", "ab", "c"]),
        key(&["k", "a", "bc"]),
        key(&["k", "abc", ""]),
        key(&["ka", "b", "c"]),
        key(&["k", "abc"]),
    ];
    let distinct: HashSet<Key> = keys.into_iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn what_may_have_been_used_before_the_start_is_refused() {
    let memory = memory();
    let issued = |at_: i64| Ticket {
        issued_at: at(at_),
        ..ticket("a", "1", START + 300)
    };
    for early in [0, START - 1, START, START + 5] {
        let refused = memory.use_up(&issued(early), Limits::default(), at(START + 6));
        assert_eq!(refused, Err(Refusal::BeforeStart), "{early}");
    }
    assert!(memory.is_empty());
    let first = memory.use_up(&issued(START + 6), Limits::default(), at(START + 6));
    assert_eq!(first, Ok(()));
}

#[test]
fn a_clock_that_steps_back_brings_nothing_back() {
    let memory = memory();
    let use_up =
        |id: &str, until, now| memory.use_up(&ticket("a", id, until), Limits::default(), at(now));
    for id in 0..200 {
        assert_eq!(use_up(&id.to_string(), START + 200, START + 100), Ok(()));
    }
    // An hour later everything is forgotten as new ones come.
    for id in 200..2_000 {
        assert_eq!(
            use_up(&id.to_string(), START + 4_000, START + 3_900),
            Ok(())
        );
    }
    assert_eq!(memory.len(), 1_800);
    for id in 0..200 {
        let again = use_up(&id.to_string(), START + 200, START + 100);
        assert_eq!(again, Err(Refusal::Forgotten), "{id}");
    }
    // What ends later is as good as ever.
    assert_eq!(use_up("new", START + 300, START + 100), Ok(()));
    assert_eq!(use_up("new", START + 300, START + 100), Err(Refusal::Seen));
}

#[test]
fn a_full_memory_refuses_and_forgets_nothing_that_lives() {
    let memory = memory();
    let limits = Limits {
        capacity: 100,
        per_owner: 60,
    };
    let use_up = |owner: &str, id: usize, until, now| {
        memory.use_up(&ticket(owner, &id.to_string(), until), limits, at(now))
    };
    for id in 0..60 {
        assert_eq!(use_up("greedy", id, START + 200, START + 100), Ok(()));
    }
    assert_eq!(
        use_up("greedy", 60, START + 200, START + 100),
        Err(Refusal::OwnerFull)
    );
    for id in 0..40 {
        assert_eq!(use_up("other", id, START + 300, START + 100), Ok(()));
    }
    assert_eq!(
        use_up("third", 0, START + 300, START + 100),
        Err(Refusal::Full)
    );
    for id in 0..60 {
        let again = use_up("greedy", id, START + 200, START + 150);
        assert_eq!(again, Err(Refusal::Seen));
    }
    assert_eq!(memory.len(), 100);
    // When some have ended, there is room again, wherever they were.
    for id in 0..60 {
        assert_eq!(use_up("third", id, START + 400, START + 250), Ok(()));
    }
    assert_eq!(
        use_up("third", 99, START + 400, START + 250),
        Err(Refusal::Full)
    );
    assert_eq!(
        use_up("other", 3, START + 300, START + 250),
        Err(Refusal::Seen),
        "still not again"
    );
    let scraped = memory.metrics.scrape();
    assert!(scraped.contains("cambist_replay_refused_total{reason=\"owner_full\"} 1"));
    assert!(scraped.contains("cambist_replay_entries 100"), "{scraped}");
}

#[test]
fn another_owner_that_comes_gives_none_a_second_share() {
    let memory = memory();
    let limits = Limits::new(8);
    let use_up = |owner: &str, id: &str| {
        memory.use_up(&ticket(owner, id, START + 200), limits, at(START + 100))
    };
    assert_eq!((use_up("a", "1"), use_up("a", "2")), (Ok(()), Ok(())));
    for other in ["b", "c"] {
        assert_eq!(use_up(other, "1"), Ok(()));
        assert_eq!(use_up("a", "3"), Err(Refusal::OwnerFull), "{other}");
    }
}

#[test]
fn what_has_ended_takes_no_room_any_more() {
    let owner = Arc::new(Owner(AtomicUsize::new(3_000)));
    let mut shard = Shard {
        used: HashSet::new(),
        ends: BTreeMap::new(),
        forgotten: i64::MIN,
    };
    for id in 0..3_000 {
        let added = shard.add(key(&[&id.to_string()]), START + 8, &owner);
        assert_eq!(added, Ok(()));
    }
    let full = shard.used.capacity();
    assert_eq!(shard.forget(at(START + 7), MANY), 0, "all alive");
    for left in (0..3_000).rev().step_by(100) {
        assert_eq!(shard.forget(at(START + 8), 100), 100);
        assert_eq!(shard.used.len(), left - 99);
        assert!(
            left > 800 || shard.used.capacity() < full,
            "a large table is given back"
        );
    }
    assert!(shard.used.capacity() <= SMALL && shard.ends.len() <= 1);
    assert_eq!(owner.0.load(Ordering::Relaxed), 0);
}

#[test]
fn owners_without_entries_are_dropped() {
    let memory = memory();
    for round in 0..100_i64 {
        let now = START + 100 + round * 100;
        let owner = format!("owner-{round}");
        let used = memory.use_up(&ticket(&owner, "1", now + 10), Limits::new(1), at(now));
        assert_eq!(used, Ok(()));
    }
    assert!(memory.owners.read().unwrap().len() <= 2);
    assert_eq!(memory.len(), 1);
}

#[test]
fn of_many_threads_with_one_identifier_exactly_one_wins() {
    let memory = memory();
    let threads = 16;
    for round in 0..50 {
        let id = round.to_string();
        let barrier = Barrier::new(threads);
        let wins = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    barrier.wait();
                    let used =
                        memory.use_up(&ticket("a", &id, START + 300), Limits::new(400), at(START));
                    match used {
                        Ok(()) => drop(wins.fetch_add(1, Ordering::Relaxed)),
                        Err(Refusal::Seen | Refusal::OwnerFull) => {}
                        Err(other) => panic!("{other}"),
                    }
                });
            }
        });
        assert_eq!(wins.into_inner(), 1, "round {round}");
    }
    assert_eq!(memory.len(), 50);
}

/// Text of the kind that runs together: separators, digits that could be lengths, zero bytes, nothing.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(""),
        Just("a"),
        Just("b"),
        Just(":"),
        Just("|"),
        Just("/"),
        Just(","),
        Just("\0"),
        Just("\u{1}"),
        Just("1"),
        Just("\0\0\0\0\0\0\0\u{1}"),
        Just("\u{e9}"),
        Just("client_assertion"),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// A15: two entries are one only where kind, owner and identifier are the same, whatever they are made
    /// of; moving a separator or a whole part over gives another.
    #[test]
    fn a15_two_subjects_never_share_an_entry(
        one in [tricky(), tricky(), tricky()],
        two in [tricky(), tricky(), tricky()],
        cut in 0..64_usize,
    ) {
        let of = |parts: &[String; 3]| key(&parts.each_ref().map(String::as_str));
        prop_assert_eq!(of(&one) == of(&two), one == two);
        // The same bytes in another division.
        let whole = one.concat();
        let at = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(whole.len());
        let (left, right) = whole.split_at(at);
        for divided in [[left, right, ""], [left, "", right], ["", left, right]] {
            let divided = divided.map(str::to_owned);
            prop_assert_eq!(of(&divided) == of(&one), divided == one);
        }
        // Nor does an owner's count meet an entry.
        prop_assert_ne!(key(&[&one[0], &one[1]]), of(&one));
        // And the memory itself: what one has used, the other may still use, once.
        let memory = memory();
        let mut used = std::collections::HashSet::new();
        for [owner, id] in [[&one[1], &one[2]], [&two[1], &two[2]], [&one[2], &one[1]]] {
            let said = memory.use_up(&ticket(owner, id, START + 300), Limits::default(), at_start());
            prop_assert_eq!(said.is_ok(), used.insert((owner.clone(), id.clone())));
        }
    }

    /// Against a memory that never forgets: nothing is taken twice, whatever the clock does; and what is
    /// new is taken, unless there is no room or the clock has stepped back.
    #[test]
    fn it_is_as_exact_as_a_memory_that_forgets_nothing(
        steps in proptest::collection::vec((0..3_u8, 0..12_u8, -40..60_i64, 1..50_i64), 1..400),
        capacity in 1..30_usize,
    ) {
        let memory = memory();
        let limits = Limits { capacity, per_owner: capacity.div_ceil(2) };
        let mut taken: HashMap<(u8, u8), i64> = HashMap::new();
        let mut now = START + 1_000;
        let mut latest = now;
        for (owner, id, step, life) in steps {
            now += step;
            latest = latest.max(now);
            let until = now + life;
            let (name, text) = (owner.to_string(), id.to_string());
            let said = memory.use_up(&ticket(&name, &text, until), limits, at(now));
            let before = taken.get(&(owner, id)).copied();
            // Alive, or ended so lately that it may still be there.
            let alive = taken.values().filter(|end| **end >= now - WIDTH).count();
            match said {
                Ok(()) => {
                    prop_assert!(before.is_none_or(|end| end < latest), "taken twice");
                    taken.insert((owner, id), until);
                }
                Err(Refusal::Seen) => prop_assert!(before.is_some()),
                Err(Refusal::Forgotten) => prop_assert!(until < latest),
                Err(Refusal::Full) => prop_assert!(alive >= capacity),
                Err(Refusal::OwnerFull) => prop_assert!(alive >= limits.per_owner),
                Err(Refusal::BeforeStart) => prop_assert!(false),
            }
            prop_assert!(memory.len() <= capacity);
        }
    }
}

/// Realms have clients of the same names, and those have nothing in common.
#[test]
fn the_identifiers_of_two_realms_never_meet() {
    let memory = memory();
    let limits = Limits {
        capacity: 10,
        per_owner: 1,
    };
    let of = |realm| Ticket {
        realm,
        ..ticket("a", "1", START + 1000)
    };
    assert_eq!(memory.use_up(&of("corp"), limits, at_start()), Ok(()));
    assert_eq!(memory.use_up(&of("partner"), limits, at_start()), Ok(()));
    assert_eq!(
        memory.use_up(&of("corp"), limits, at_start()),
        Err(Refusal::Seen)
    );
}
