//! Instants that hours of the week and limits of time tell apart.

use std::collections::{BTreeMap, BTreeSet};

use super::domain::Language;
use super::text::TooMany;
use crate::policy::rule::{Comparison, Constant, Hours};
use crate::policy::trial::NOW;

/// The end of the year 9999: no later time is read from a token.
pub(super) const LAST: i64 = 253_402_300_799;

const DAY: i64 = 86_400;
/// Where hours of one time zone alone count, all that differs comes within a week, and one more for a
/// change of the clocks.
const FORTNIGHT: i64 = 15 * DAY;
/// Where those of several do, their distance changes within a year.
const YEAR: i64 = 367 * DAY;
/// As many combinations of several time zones are told apart.
const MOST: usize = 4096;

/// Instants of every combination that was found, and the combinations that may be besides: hours of
/// different time zones are taken as independent of each other.
///
/// # Errors
/// When there are more combinations of several time zones than are told apart.
pub(super) fn instants(languages: &[Language<'_>]) -> Result<(Vec<i64>, Vec<Vec<bool>>), TooMany> {
    let mut limits = BTreeSet::from([0, LAST + 1]);
    let mut hours: Vec<&Hours> = Vec::new();
    for language in languages {
        match language {
            Language::Compare(comparison, limit) => match comparison {
                Comparison::Equal => limits.extend([*limit, limit.saturating_add(1)]),
                Comparison::Less | Comparison::AtLeast => limits.extend([*limit]),
                Comparison::AtMost | Comparison::Greater => {
                    limits.extend([limit.saturating_add(1)]);
                }
            },
            Language::One(Constant::Int(at)) => limits.extend([*at, at.saturating_add(1)]),
            Language::OneOf(list) => {
                for item in list.iter() {
                    if let Constant::Int(at) = item {
                        limits.extend([*at, at.saturating_add(1)]);
                    }
                }
            }
            Language::Hours(within) => hours.push(within),
            _ => {}
        }
    }
    let mut zones: Vec<&jiff::tz::TimeZone> = Vec::new();
    for within in &hours {
        if !zones.contains(&&within.zone) {
            zones.push(&within.zone);
        }
    }
    let span = if zones.len() > 1 { YEAR } else { FORTNIGHT };
    let limits: Vec<i64> = limits
        .into_iter()
        .filter(|at| (0..=LAST + 1).contains(at))
        .collect();
    let mut found = Vec::new();
    let mut unseen: BTreeSet<Vec<bool>> = BTreeSet::new();
    for pair in limits.windows(2) {
        let [first, end] = pair else { continue };
        // The usual time of tests where it lies within, else the beginning.
        let start = match (*first..*end).contains(&NOW.0) {
            true => NOW.0,
            false => *first,
        };
        let stop = (*end).min(start.saturating_add(span));
        let mut here = BTreeSet::from([start]);
        for within in &hours {
            boundaries(within, start, stop, &mut here);
        }
        // A stretch that lies before the usual time is looked at from its end as well.
        let before = (*first).max(start.saturating_sub(span));
        for within in &hours {
            boundaries(within, before, start, &mut here);
        }
        here.retain(|at| (*first..*end).contains(at));
        let whole = before <= *first && stop >= *end;
        if zones.len() > 1 && !whole {
            combinations(languages, &here, &zones, &mut unseen)?;
        }
        found.extend(here);
    }
    // The usual time first: a witness should be about today.
    found.sort_by_key(|at| (at.abs_diff(NOW.0), *at));
    Ok((found, unseen.into_iter().collect()))
}

/// Every local midnight and every beginning and end of hours, between two instants.
fn boundaries(hours: &Hours, from: i64, to: i64, into: &mut BTreeSet<i64>) {
    let Ok(start) = jiff::Timestamp::from_second(from) else {
        return;
    };
    // Where clocks change, local time leaps into hours or out of them.
    for change in hours.zone.following(start) {
        let at = change.timestamp().as_second();
        if at >= to {
            break;
        }
        into.extend(Some(at).filter(|at| *at >= from));
    }
    let mut day = hours.zone.to_datetime(start).date();
    // One more on either side: local days do not begin with ours.
    day = day.yesterday().unwrap_or(day);
    let mut left = (to.saturating_sub(from)) / DAY + 3;
    while left > 0 {
        left -= 1;
        for minute in [0, hours.from, hours.to] {
            let hour = i8::try_from(minute / 60).unwrap_or(0);
            let minutes = i8::try_from(minute % 60).unwrap_or(0);
            let local = match hour {
                24 => day.tomorrow().ok().map(|next| next.at(0, 0, 0, 0)),
                hour => Some(day.at(hour, minutes, 0, 0)),
            };
            let at = local.and_then(|local| hours.zone.to_timestamp(local).ok());
            into.extend(
                at.map(|at| at.as_second())
                    .filter(|at| (from..to).contains(at)),
            );
        }
        let Ok(next) = day.tomorrow() else { return };
        day = next;
    }
}

/// What the hours of each zone say was seen by itself; together, they may say any of it.
fn combinations(
    languages: &[Language<'_>],
    instants: &BTreeSet<i64>,
    zones: &[&jiff::tz::TimeZone],
    unseen: &mut BTreeSet<Vec<bool>>,
) -> Result<(), TooMany> {
    let zone_of = |language: &Language<'_>| match language {
        Language::Hours(hours) => zones.iter().position(|zone| **zone == hours.zone),
        _ => None,
    };
    let vectors: BTreeSet<Vec<bool>> = instants
        .iter()
        .map(|at| {
            languages
                .iter()
                .map(|l| l.contains(&Constant::Int(*at)))
                .collect()
        })
        .collect();
    let mut all: BTreeSet<Vec<bool>> = vectors.iter().take(1).cloned().collect();
    for zone in 0..zones.len() {
        // By the places of this zone's hours, what was seen of them.
        let places: Vec<usize> = (0..languages.len())
            .filter(|place| languages.get(*place).and_then(&zone_of) == Some(zone))
            .collect();
        let seen: BTreeSet<BTreeMap<usize, bool>> = vectors
            .iter()
            .map(|vector| {
                let at = |place: &usize| (*place, vector.get(*place).copied().unwrap_or(false));
                places.iter().map(at).collect()
            })
            .collect();
        let mut more = BTreeSet::new();
        for vector in &all {
            for part in &seen {
                let mut vector = vector.clone();
                for (place, truth) in part {
                    if let Some(slot) = vector.get_mut(*place) {
                        *slot = *truth;
                    }
                }
                more.insert(vector);
            }
        }
        all = more;
        if all.len() > MOST {
            return Err(TooMany);
        }
    }
    unseen.extend(all.into_iter().filter(|vector| !vectors.contains(vector)));
    Ok(())
}
