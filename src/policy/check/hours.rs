//! `time in "ZONE" mon..fri 08:00..18:00`: which zones, days and hours there can be.

use super::Checker;
use crate::diagnostic::{Diagnostic, Span};
use crate::policy::rule::Hours;
use crate::policy::syntax::ast::{Day, Spanned, Text};

impl Checker<'_> {
    pub(super) fn hours(
        &mut self,
        zone: &Text,
        days: &[Spanned<(Day, Day)>],
        hours: Option<&Spanned<(u16, u16)>>,
        span: &Span,
    ) -> Option<Hours> {
        let mut wrong = |at: &Span, message: &str, help: String| {
            self.report(Diagnostic::error("E0214", message).at(at).help(help));
        };
        let found = jiff::tz::TimeZoneDatabase::bundled().get(&zone.value).ok();
        if found.is_none() {
            let message = format!("no time zone is called `{}`", zone.value);
            wrong(
                &zone.span,
                &message,
                "names are those of the IANA database: `Europe/Zurich`, `UTC`".to_owned(),
            );
        }
        if days.is_empty() && hours.is_none() {
            wrong(
                span,
                "this says neither days nor hours, and would always hold",
                "add `mon..fri`, `08:00..18:00`, or both".to_owned(),
            );
            return None;
        }
        let mut week = [days.is_empty(); 7];
        for range in days {
            let (first, last) = range.value;
            if last < first {
                let week = Day::ALL.map(|day| day >= first || day <= last);
                let help = format!("write `{}`", shown_days(&week));
                wrong(&range.span, "the week begins on Monday", help);
            }
            for (day, on) in Day::ALL.into_iter().zip(&mut week) {
                *on |= (first..=last).contains(&day);
            }
        }
        let (from, to) = hours.map_or((0, 24 * 60), |hours| hours.value);
        if let Some(hours) = hours.filter(|_| from >= to) {
            let (message, help) = if from == to {
                (
                    "these hours are empty",
                    "the end is not part of it; a whole day is `00:00..24:00`".to_owned(),
                )
            } else {
                (
                    "hours do not go over midnight",
                    over_midnight(&zone.value, days, from, to),
                )
            };
            wrong(&hours.span, message, help);
            return None;
        }
        Some(Hours {
            zone: found?,
            days: week,
            from,
            to,
        })
    }
}

/// Days as an author writes them: `mon..wed, fri`.
fn shown_days(week: &[bool; 7]) -> String {
    let days: Vec<(Day, bool)> = Day::ALL.into_iter().zip(week.iter().copied()).collect();
    let runs = days.chunk_by(|(_, a), (_, b)| a == b);
    let shown = runs.filter_map(|run| match run {
        [(day, true)] => Some(day.text().to_owned()),
        [(first, true), .., (last, _)] => Some(format!("{}..{}", first.text(), last.text())),
        _ => None,
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The two conditions that say what hours over midnight mean.
fn over_midnight(zone: &str, days: &[Spanned<(Day, Day)>], from: u16, to: u16) -> String {
    let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let list = |next: usize| {
        let mut on = [false; 7];
        for range in days {
            for (index, day) in Day::ALL.into_iter().enumerate() {
                if (range.value.0..=range.value.1).contains(&day)
                    && let Some(on) = on.get_mut((index + next) % 7)
                {
                    *on = true;
                }
            }
        }
        shown_days(&on)
    };
    let part = |days: String, hours: String| {
        let days = if days.is_empty() {
            days
        } else {
            format!("{days} ")
        };
        format!("time in \"{zone}\" {days}{hours}")
    };
    let evening = part(list(0), format!("{}..24:00", clock(from)));
    if to == 0 {
        return format!("write `{evening}`");
    }
    let morning = part(list(1), format!("00:00..{}", clock(to)));
    format!("write `({evening} or {morning})`")
}
