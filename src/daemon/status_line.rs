//! How everything is, in one line for `systemctl status`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::InstanceId;
use crate::status::Statuses;
use crate::store::{StoreError, Transaction, instances};

/// So many instances are named each, more are counted.
const NAMED: usize = 3;

/// Statuses that are loaded for one line, which is made every second.
const LOADS: usize = 5;

/// One instance in the line.
struct Part {
    id: InstanceId,
    verdict: String,
    /// When its last cycle ended.
    last: Option<DateTime<Utc>>,
    next: Option<DateTime<Utc>>,
    open: usize,
}

/// `clerk:prod drift 12:00Z, next 12:05Z; 3 open; outbox 0`
pub(super) fn status_line(tx: &Transaction<'_>, statuses: &Statuses, now: DateTime<Utc>) -> Result<String, StoreError> {
    let (trust, mut loads) = (statuses.trust()?, LOADS);
    let mut parts = Vec::new();
    for instance in statuses.instances() {
        let id = instance.id.clone();
        let status = statuses.within(tx, instance, &trust, now, &mut loads)?;
        let next = instances::find(tx, &id)?.map_or(Ok(None), |row| instances::next_due(tx, row))?;
        let last = status.cycle.as_ref().map(|cycle| cycle.at);
        parts.push(Part { id, verdict: status.words(), last, next, open: status.open.len() });
    }
    // That the history does not verify is told by itself.
    let waiting = match tx.history() {
        Ok(replay) => replay.state.outgoing.count_waiting(),
        Err(StoreError::History(_)) => 0,
        Err(error) => return Err(error),
    };
    Ok(in_words(&parts, waiting, now))
}

fn in_words(instances: &[Part], waiting: usize, now: DateTime<Utc>) -> String {
    let next = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now).map_or("now".to_owned(), |at| time(at, now));
    let open: usize = instances.iter().map(|instance| instance.open).sum();
    let mut parts = Vec::new();
    if instances.len() <= NAMED {
        for Part { id, verdict, last, next: due, .. } in instances {
            let last = last.map(|at| format!(" {}", time(at, now))).unwrap_or_default();
            parts.push(format!("{id} {verdict}{last}, next {}", next(*due)));
        }
    } else {
        let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in instances {
            *verdicts.entry(&instance.verdict).or_default() += 1;
        }
        let counts: Vec<String> = verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        // Never read comes first, as it is due.
        let first = instances.iter().min_by_key(|instance| instance.next);
        let first = first.map(|first| format!(", next {} {}", first.id, next(first.next))).unwrap_or_default();
        parts.push(format!("{} watched: {}{first}", instances.len(), counts.join(", ")));
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

    fn part(id: &str, last: Option<(&str, &str)>, next: Option<&str>, open: usize) -> Part {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let verdict = last.map_or("not read yet", |(verdict, _)| verdict).to_owned();
        let last = last.map(|(_, when)| at(when));
        Part { id: id.parse().unwrap(), verdict, last, next: next.map(at), open }
    }

    #[test]
    fn few_are_named_and_many_are_counted() {
        let now = "2026-11-22T12:01:00Z".parse().unwrap();
        let (last, next) = ("2026-11-22T12:00:00Z", "2026-11-22T12:05:00Z");
        let one = part("clerk:prod", Some(("drift", last)), Some(next), 3);
        assert_eq!(in_words(&[one], 0, now), "clerk:prod drift 12:00Z, next 12:05Z; 3 open; outbox 0");
        let old = part("auth0:acme", Some(("in sync", "2026-11-20T17:00:00Z")), Some("2026-11-23T08:00:00Z"), 0);
        let new = part("clerk:new", None, None, 0);
        assert_eq!(
            in_words(&[old, new], 2, now),
            "auth0:acme in sync 2026-11-20 17:00Z, next 2026-11-23 08:00Z; clerk:new not read yet, next now; 0 open; \
             outbox 2"
        );
        let mut many: Vec<Part> =
            (0..9).map(|at| part(&format!("auth0:t{at}"), Some(("in sync", last)), Some(next), 0)).collect();
        many.push(part("clerk:prod", Some(("drift", last)), Some("2026-11-22T12:02:00Z"), 4));
        assert_eq!(in_words(&many, 1, now), "10 watched: 1 drift, 9 in sync, next clerk:prod 12:02Z; 4 open; outbox 1");
        assert_eq!(in_words(&[], 0, now), "0 open; outbox 0");
    }
}
