//! The observables: one block for each thing that can happen, with its name, its meaning, its fields and its line.

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::metrics;
use crate::clock::written;
use crate::model::{InstanceId, MessageId, Provider};

/// Something that happens while the program runs, with a log line and metrics.
pub trait Observable {
    /// Writes the line and counts.
    fn observe(&self);
}

/// Declares the type of an observable, whose fields have the names they have in the log.
macro_rules! declare {
    ($meaning:literal, $type:ident) => {
        #[doc = $meaning]
        #[derive(Debug, Clone, Copy)]
        pub struct $type;
    };
    ($meaning:literal, $type:ident $(<$life:lifetime>)? { $($(#[$doc:meta])* $field:ident: $of:ty),+ $(,)? }) => {
        #[doc = $meaning]
        #[derive(Debug, Clone, Copy)]
        #[allow(missing_docs, reason = "the name of a field says what it is, unless there is more to say")]
        pub struct $type $(<$life>)? { $($(#[$doc])* pub $field: $of,)+ }
    };
}

/// Declares all observables. The block is what observing one does; its fields are bound by their names, and `event` is the
/// name of the observable in the journal and in JSON lines, which never changes.
macro_rules! observables {
    ($(
        $name:literal, $meaning:literal,
        $type:ident $(<$life:lifetime>)? $({ $($(#[$doc:meta])* $field:ident: $of:ty),+ $(,)? })? => |$event:ident| $observe:block
    )+) => {
        /// Name and meaning of every observable, beside [`EVENT_KINDS`](crate::history::EVENT_KINDS).
        pub const OBSERVABLES: &[(&str, &str)] = &[$(($name, $meaning),)+];

        $(
            declare!($meaning, $type $(<$life>)? $({ $($(#[$doc])* $field: $of,)+ })?);

            impl $(<$life>)? Observable for $type $(<$life>)? {
                fn observe(&self) {
                    let Self { $($($field,)+)? } = *self;
                    let $event = $name;
                    $observe
                }
            }
        )+
    };
}

/// How urgent the outcome of a cycle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CycleHealth {
    /// Nothing differs.
    Good,
    /// Receivers are notified, or will be.
    Worrying,
    /// Nothing was compared.
    Bad,
}

/// What the daemon does beside cycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Check instances and receivers.
    Health,
    /// Maintain the outbox and the database.
    Upkeep,
    /// Start the cycles that are due.
    Schedule,
    /// Deliver messages.
    Delivery,
    /// Record that the daemon stops.
    End,
}

observables! {
    "cycle.ended", "an instance was read and compared, and that was recorded",
    CycleEnded<'a> {
        instance: &'a InstanceId,
        verdict: &'static str,
        outcome: CycleHealth,
        /// Open drifts.
        drifts: usize,
        /// Requests that were sent.
        requests: u64,
        duration: Duration,
        /// Why nothing was compared.
        reason: Option<&'a str>,
    } => |event| {
        metrics::CYCLES.add(&[&instance.to_string(), verdict]);
        metrics::CYCLE_DURATION.observe(&[instance.provider.as_str()], duration);
        let duration_ms = milliseconds(duration);
        match outcome {
            CycleHealth::Good => tracing::info!(event, %instance, verdict, requests, duration_ms, "cycle"),
            CycleHealth::Worrying => tracing::warn!(event, %instance, verdict, drifts, requests, duration_ms, "cycle"),
            CycleHealth::Bad => tracing::error!(event, %instance, verdict, reason, requests, duration_ms, "cycle"),
        }
    }

    "cycle.failed", "a cycle could not be recorded; it is tried again",
    CycleFailed<'a> { instance: &'a InstanceId, error: &'a dyn Error } => |event| {
        metrics::CYCLES.add(&[&instance.to_string(), "failed"]);
        tracing::error!(event, %instance, %error, "cycle failed");
    }

    "section.reread", "sections are read a second time, because something in them is new or hard to believe",
    Reread<'a> {
        instance: &'a InstanceId,
        sections: &'a [String],
        /// They are hard to believe, and not just new.
        is_doubtful: bool,
    } => |event| {
        metrics::REREADS.add(&[&instance.to_string(), if is_doubtful { "doubtful" } else { "new" }]);
        let sections = sections.join(" ");
        match is_doubtful {
            true => tracing::warn!(event, %instance, sections, "hard to believe, reading again"),
            false => tracing::info!(event, %instance, sections, "reading again"),
        }
    }

    "request.answered", "a vendor answered a request, or did not",
    RequestAnswered {
        vendor: Provider,
        /// The status; none without an answer.
        status: Option<u16>,
        /// The time until the whole answer was read.
        duration: Duration,
    } => |event| {
        let class = match status {
            None => "none",
            Some(429) => "429",
            Some(100..200) => "1xx",
            Some(200..300) => "2xx",
            Some(300..400) => "3xx",
            Some(400..500) => "4xx",
            Some(_) => "5xx",
        };
        let vendor = vendor.as_str();
        metrics::REQUESTS.add(&[vendor, class]);
        metrics::REQUEST_DURATION.observe(&[vendor], duration);
        // Without the address, which may hold what must not be logged.
        tracing::debug!(event, vendor, status, duration_ms = milliseconds(duration), "request");
    }

    "delivery.done", "a receiver took a message",
    Delivered<'a> { receiver: &'a str, delivery: &'a MessageId, answer: &'a str } => |event| {
        metrics::DELIVERIES.add(&[receiver, "delivered"]);
        tracing::info!(event, receiver, %delivery, answer, "delivered");
    }

    "delivery.failed", "a receiver did not take a message; it is tried again",
    DeliveryFailed<'a> {
        receiver: &'a str,
        delivery: &'a MessageId,
        error: &'a str,
        /// When it is tried again.
        next: DateTime<Utc>,
    } => |event| {
        metrics::DELIVERIES.add(&[receiver, "failed"]);
        let next = written(next);
        tracing::warn!(event, receiver, %delivery, error, next, "delivery failed, will try again");
    }

    "delivery.given_up", "a message was given up; `authdrift outbox` shows it and tries it again",
    DeliveryGivenUp<'a> { receiver: &'a str, delivery: &'a MessageId, error: &'a str } => |event| {
        metrics::DELIVERIES.add(&[receiver, "given_up"]);
        tracing::error!(event, receiver, %delivery, error, "delivery given up");
    }

    "delivery.direct", "a receiver was told of trouble with the database past it, or could not be",
    ToldDirectly<'a> {
        receiver: &'a str,
        delivery: &'a MessageId,
        /// What the receiver answered, or why it did not take the message.
        outcome: Result<&'a str, &'a str>,
    } => |event| {
        match outcome {
            Ok(answer) => {
                metrics::DELIVERIES.add(&[receiver, "told_directly"]);
                tracing::info!(event, receiver, %delivery, answer, "told directly");
            }
            Err(error) => {
                metrics::DELIVERIES.add(&[receiver, "not_told_directly"]);
                tracing::error!(event, receiver, %delivery, error, "could not be told directly");
            }
        }
    }

    "heartbeat.taken", "the service elsewhere took a sign of life",
    HeartbeatTaken => |event| {
        metrics::HEARTBEATS.add(&["taken"]);
        tracing::debug!(event, "the sign of life was taken");
    }

    "heartbeat.failed", "the service elsewhere did not take a sign of life",
    HeartbeatFailed<'a> {
        error: &'a str,
        /// It is not tried again; the next one comes with the next cycle.
        is_last: bool,
    } => |event| {
        metrics::HEARTBEATS.add(&["failed"]);
        match is_last {
            false => tracing::warn!(event, error, "the sign of life was not taken"),
            true => {
                tracing::error!(event, error, "the sign of life was not taken, the next one comes after the next cycle")
            }
        }
    }

    "config.doubt", "the configuration is good, and may not be what was meant",
    ConfigurationDoubt<'a> { doubt: &'a str } => |event| {
        tracing::warn!(event, "{doubt}");
    }

    "file.too_open", "others could read or write a file that is for this program alone",
    FileTooOpen<'a> {
        file: &'a str,
        /// What was done or is to be done about it.
        advice: &'a str,
    } => |event| {
        tracing::warn!(event, file, "{advice}");
    }

    "monitoring.listening", "the daemon answers a monitoring system",
    Listening<'a> { address: &'a str } => |event| {
        tracing::info!(event, address, "answering /metrics, /healthz and /readyz");
    }

    "daemon.chore_failed", "the daemon could not do one of its chores, because of its database; it tries again",
    ChoreFailed<'a> { chore: Chore, error: &'a dyn Error } => |event| {
        let (chore, text) = match chore {
            Chore::Health => ("health", "cannot look after the watch"),
            Chore::Upkeep => ("upkeep", "cannot look after what waits"),
            Chore::Schedule => ("schedule", "cannot look at what is due"),
            Chore::Delivery => ("delivery", "cannot deliver"),
            Chore::End => ("end", "cannot record that the daemon stops"),
        };
        metrics::FAILED_CHORES.add(&[chore]);
        tracing::error!(event, chore, %error, "{text}");
    }

    "store.high_water_behind",
    "what was recorded is in the database, and the high-water file beside it could not be raised; it is tried again with \
     whatever is recorded next",
    HighWaterBehind<'a> { error: &'a dyn Error } => |event| {
        tracing::error!(event, %error, "recorded, and cannot raise the high-water file");
    }

    "store.checkpoint_refused",
    "the checkpoint of the history was edited, made with another fingerprint key, or is of another history: it is not used, \
     and the history is replayed from its first event, until somebody approves a baseline; `authdrift verify` says which",
    CheckpointRefused => |event| {
        tracing::warn!(
            event,
            "the checkpoint of the history cannot be trusted and is not used; `authdrift verify` says why"
        );
    }

    "daemon.disk_full", "there is hardly any room for the database; everybody is told past it",
    DiskFull<'a> {
        /// The database.
        path: &'a str,
        /// Free bytes, if that is known.
        free: Option<u64>,
        /// What could not be written.
        reason: &'a str,
    } => |event| {
        tracing::error!(event, path, free, reason, "the disk is full");
    }

    "daemon.gave_up", "the database cannot be used: the daemon ends, and nothing is watched",
    DatabaseUnusable<'a> { error: &'a dyn Error } => |event| {
        tracing::error!(event, %error, "the database cannot be used");
    }

    "daemon.nobody_told", "the daemon could not start, and its receivers cannot be told",
    NobodyTold<'a> { error: &'a dyn Error } => |event| {
        tracing::error!(event, %error, "nobody can be told");
    }

    "daemon.systemd_silent", "systemd cannot be notified",
    SystemdSilent<'a> { error: &'a dyn Error } => |event| {
        tracing::warn!(event, %error, "cannot notify systemd");
    }

    "daemon.stopping", "the daemon was asked to stop, and finishes what is under way",
    Stopping => |event| {
        tracing::info!(event, "stopping");
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
