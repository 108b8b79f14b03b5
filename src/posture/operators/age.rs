//! `age` and `left`: how long ago a time was, and how far away it is, counted from when the snapshot is judged.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

use super::super::judgement::{Gap, Judgement, UnknownReason};
use super::super::number::Profile;
use super::super::reader::Node;
use super::super::source::{Known, Scope, ValueSource};
use super::{Condition, ConditionReader, Limit, Operator, Uses, judged};

#[derive(Debug)]
struct Distance {
    source: Arc<ValueSource>,
    limit: Limit,
    is_ahead: bool,
}

/// `age = [time, limit]`: it is at most that long ago.
pub(super) fn age<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    distance(reader, node, false)
}

/// `left = [time, limit]`: it is more than that far away.
pub(super) fn left<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    distance(reader, node, true)
}

fn distance<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>, is_ahead: bool) -> Option<Condition> {
    let (source, limit) = reader.pair(node)?;
    Some(Box::new(Distance { source, limit: reader.limit(limit)?, is_ahead }))
}

/// The time that a vendor writes: RFC 3339, a date, or milliseconds since 1970.
fn time(known: &Known<'_>) -> Option<DateTime<Utc>> {
    match known.value.as_ref() {
        Value::Number(number) => DateTime::from_timestamp_millis(number.as_i64()?),
        Value::String(text) => {
            let instant = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
            let midnight = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
            instant.ok().or_else(midnight)
        }
        _ => None,
    }
}

impl Distance {
    fn holds<'a>(&'a self, scope: &Scope<'a>) -> Result<Judgement<'a>, Gap> {
        let known = self.source.read(scope)?;
        let time = time(&known).ok_or_else(|| known.gap(UnknownReason::Ambiguous))?;
        let limit = self.limit.amount(scope.profile).ok_or_else(|| known.gap(UnknownReason::NotConfigured))?;
        let now = scope.facts.now;
        #[allow(clippy::cast_precision_loss, reason = "seconds of centuries are exact")]
        let seconds = (if self.is_ahead { time - now } else { now - time }).num_seconds() as f64;
        let holds = if self.is_ahead { seconds > limit.in_base() } else { seconds <= limit.in_base() };
        Ok(Judgement::of(holds, vec![known.seen()]))
    }
}

impl Operator for Distance {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.holds(scope))
    }

    fn expected(&self, profile: Profile) -> String {
        let limit = self.limit.words(profile);
        if self.is_ahead { format!("more than {limit} from now") } else { format!("at most {limit} ago") }
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.source, base);
        self.limit.uses(uses);
    }
}
