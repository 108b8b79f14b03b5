//! How everything is, in one line for `systemctl status`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::model::InstanceId;
use crate::store::{StoreError, Transaction, cycles, drifts, instances};

/// So many instances are named each, more are counted.
const NAMED: usize = 3;

/// How one instance is.
struct Standing {
    id: InstanceId,
    /// How its last cycle ended, and when.
    last: Option<(String, DateTime<Utc>)>,
    next: Option<DateTime<Utc>>,
    open: usize,
}

/// `clerk:prod drift 12:00Z, next 12:05Z; 3 open; outbox 0`
pub(super) fn status(tx: &Transaction<'_>, config: &Config, now: DateTime<Utc>) -> Result<String, StoreError> {
    let mut standings = Vec::new();
    for instance in &config.instances {
        let id = instance.id.clone();
        standings.push(match instances::find(tx, &id)? {
            None => Standing { id, last: None, next: None, open: 0 },
            Some(row) => Standing {
                id,
                last: cycles::latest(tx, row)?.map(|cycle| (cycle.verdict.replace('_', " "), cycle.at)),
                next: instances::next_due(tx, row)?,
                open: drifts::count_open(tx, row)?,
            },
        });
    }
    // That the history does not verify is told by itself.
    let waiting = match tx.history() {
        Ok(walk) => walk.waiting(),
        Err(StoreError::History(_)) => 0,
        Err(error) => return Err(error),
    };
    Ok(in_words(&standings, waiting, now))
}

fn in_words(standings: &[Standing], waiting: usize, now: DateTime<Utc>) -> String {
    let next = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now).map_or("now".to_owned(), |at| time(at, now));
    let open: usize = standings.iter().map(|standing| standing.open).sum();
    let mut parts = Vec::new();
    if standings.len() <= NAMED {
        for standing in standings {
            let last = match &standing.last {
                Some((verdict, at)) => format!("{verdict} {}", time(*at, now)),
                None => "not read yet".to_owned(),
            };
            parts.push(format!("{} {last}, next {}", standing.id, next(standing.next)));
        }
    } else {
        let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
        for standing in standings {
            *verdicts.entry(standing.last.as_ref().map_or("not read yet", |(verdict, _)| verdict)).or_default() += 1;
        }
        let counts: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        // Never read comes first, as it is due.
        let first = standings.iter().min_by_key(|standing| standing.next);
        let first = first.map(|first| format!(", next {} {}", first.id, next(first.next))).unwrap_or_default();
        parts.push(format!("{} watched: {}{first}", standings.len(), counts.join(", ")));
    }
    parts.push(format!("{open} open"));
    parts.push(format!("outbox {waiting}"));
    parts.join("; ")
}

/// `12:05Z`, with its day if that is not today.
fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let is_today = at.date_naive() == now.date_naive();
    at.format(if is_today { "%H:%MZ" } else { "%F %H:%MZ" }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(id: &str, last: Option<(&str, &str)>, next: Option<&str>, open: usize) -> Standing {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let last = last.map(|(verdict, when)| (verdict.to_owned(), at(when)));
        Standing { id: id.parse().unwrap(), last, next: next.map(at), open }
    }

    #[test]
    fn few_are_named_and_many_are_counted() {
        let now = "2026-11-22T12:01:00Z".parse().unwrap();
        let (last, next) = ("2026-11-22T12:00:00Z", "2026-11-22T12:05:00Z");
        let one = standing("clerk:prod", Some(("drift", last)), Some(next), 3);
        assert_eq!(in_words(&[one], 0, now), "clerk:prod drift 12:00Z, next 12:05Z; 3 open; outbox 0");
        let old = standing("auth0:acme", Some(("in sync", "2026-11-20T17:00:00Z")), Some("2026-11-23T08:00:00Z"), 0);
        let new = standing("clerk:new", None, None, 0);
        assert_eq!(
            in_words(&[old, new], 2, now),
            "auth0:acme in sync 2026-11-20 17:00Z, next 2026-11-23 08:00Z; clerk:new not read yet, next now; 0 open; \
             outbox 2"
        );
        let mut many: Vec<Standing> =
            (0..9).map(|at| standing(&format!("auth0:t{at}"), Some(("in sync", last)), Some(next), 0)).collect();
        many.push(standing("clerk:prod", Some(("drift", last)), Some("2026-11-22T12:02:00Z"), 4));
        assert_eq!(in_words(&many, 1, now), "10 watched: 1 drift, 9 in sync, next clerk:prod 12:02Z; 4 open; outbox 1");
        assert_eq!(in_words(&[], 0, now), "0 open; outbox 0");
    }
}
