//! The same for programs.

use serde_json::{Map, Value, json};

use super::{InstanceLine, StatusReport};
use crate::cli::alerts::receivers::as_json;
use crate::cli::output::merged;
use crate::clock::written;
use crate::config::Instance;
use crate::history::outgoing::Waiting;
use crate::model::Severity;

pub(super) fn of(report: &StatusReport<'_>) -> Value {
    let StatusReport { now, approval: _, is_running, database, lines, receivers, silences, outbox, history } = report;
    let silences: Vec<Value> = silences
        .iter()
        .map(|silence| {
            json!({ "id": silence.id, "window": silence.is_window, "until": written(silence.until), "by": silence.by })
        })
        .collect();
    let receivers = receivers.iter().map(|(receiver, state, health)| as_json(receiver, state, health, *now));
    let by_receiver: Map<String, Value> = outbox.iter().map(|(name, one)| (name.clone(), of_waiting(one))).collect();
    let outbox = merged(of_waiting(&Waiting::sum(outbox.values())), json!({ "receivers": by_receiver }));
    json!({
        "at": written(*now),
        "daemon": { "running": is_running },
        "database": { "path": database.path.display().to_string(), "size": database.size, "free": database.free },
        "instances": lines.iter().map(|(instance, line)| of_instance(instance, line)).collect::<Vec<_>>(),
        "receivers": receivers.collect::<Vec<_>>(),
        "outbox": outbox,
        "silences": silences,
        "history": history,
    })
}

fn of_waiting(waiting: &Waiting) -> Value {
    json!({
        "waiting": waiting.count, "given_up": waiting.given_up, "oldest_waiting": waiting.oldest.map(written),
    })
}

fn of_instance(instance: &Instance, line: &InstanceLine) -> Value {
    let status = &line.status;
    let sections = status.sections.as_ref().map(|sections| {
        let (all, blind) = (sections.states.len(), sections.unread());
        json!({ "read": all - blind.len(), "all": all, "blind": blind, "last_read": written(sections.read_at) })
    });
    let open: Map<String, Value> = Severity::ALL
        .iter()
        .map(|severity| {
            let count = status.open.iter().filter(|drift| drift.meaning.severity == *severity).count();
            (severity.to_string(), json!(count))
        })
        .collect();
    json!({
        "instance": instance.id,
        "verdict": status.verdict,
        "open": open,
        "sections": sections,
        "baseline": status.baseline.as_ref().ok(),
        "untrusted": status.baseline.as_ref().err().map(ToString::to_string),
        "last_cycle": status.cycle.as_ref().map(|cycle| json!({
            "at": written(cycle.at), "duration_ms": cycle.duration.as_millis(), "requests": cycle.requests,
            "verdict": cycle.verdict,
        })),
        "next_cycle": line.next.map(written),
    })
}
