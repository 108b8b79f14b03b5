//! What is observed of reading and comparing.

use std::time::Duration;

use super::{Observable, metrics};
use crate::model::{InstanceId, Provider};

/// How urgent the outcome of a cycle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CycleHealth {
    /// As it should be.
    Good,
    /// People are told, or will be.
    Worrying,
    /// Nothing was compared.
    Bad,
}

/// A cycle of an instance ended and was recorded.
#[derive(Debug, Clone, Copy)]
pub struct CycleEnded<'a> {
    /// The instance.
    pub instance: &'a InstanceId,
    /// The word for what came of it.
    pub verdict: &'static str,
    /// How urgent that is.
    pub outcome: CycleHealth,
    /// Open drifts.
    pub drifts: usize,
    /// Requests that were sent.
    pub requests: u64,
    /// How long it took.
    pub duration: Duration,
    /// Why nothing was compared.
    pub reason: Option<&'a str>,
}

impl Observable for CycleEnded<'_> {
    const NAME: &'static str = "cycle.ended";
    const MEANING: &'static str = "an instance was read and compared, and that was recorded";

    fn observe(&self) {
        let Self { instance, verdict, drifts, requests, reason, .. } = *self;
        let duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
        metrics::CYCLES.add(&[&instance.to_string(), verdict]);
        metrics::CYCLE_DURATION.observe(&[instance.provider.as_str()], self.duration);
        let event = Self::NAME;
        match self.outcome {
            CycleHealth::Good => tracing::info!(event, %instance, verdict, requests, duration_ms, "cycle"),
            CycleHealth::Worrying => tracing::warn!(event, %instance, verdict, drifts, requests, duration_ms, "cycle"),
            CycleHealth::Bad => tracing::error!(event, %instance, verdict, reason, requests, duration_ms, "cycle"),
        }
    }
}

/// A cycle of an instance could not be recorded.
#[derive(Debug, Clone, Copy)]
pub struct CycleFailed<'a> {
    /// The instance.
    pub instance: &'a InstanceId,
    /// Why.
    pub error: &'a dyn std::error::Error,
}

impl Observable for CycleFailed<'_> {
    const NAME: &'static str = "cycle.failed";
    const MEANING: &'static str = "a cycle could not be recorded; it is tried again";

    fn observe(&self) {
        let Self { instance, error } = *self;
        metrics::CYCLES.add(&[&instance.to_string(), "failed"]);
        tracing::error!(event = Self::NAME, %instance, %error, "cycle failed");
    }
}

/// Sections are read a second time before their differences count.
#[derive(Debug, Clone, Copy)]
pub struct Reread<'a> {
    /// The instance.
    pub instance: &'a InstanceId,
    /// Which sections.
    pub sections: &'a [String],
    /// They are hard to believe, and not just new.
    pub is_doubtful: bool,
}

impl Observable for Reread<'_> {
    const NAME: &'static str = "section.reread";
    const MEANING: &'static str =
        "sections are read a second time, because something in them is new or hard to believe";

    fn observe(&self) {
        let instance = self.instance;
        let cause = if self.is_doubtful { "doubtful" } else { "new" };
        metrics::REREADS.add(&[&instance.to_string(), cause]);
        let (event, sections) = (Self::NAME, self.sections.join(" "));
        match self.is_doubtful {
            true => tracing::warn!(event, %instance, sections, "hard to believe, reading again"),
            false => tracing::info!(event, %instance, sections, "reading again"),
        }
    }
}

/// A vendor answered a request, or did not.
#[derive(Debug, Clone, Copy)]
pub struct RequestAnswered {
    /// Which vendor.
    pub vendor: Provider,
    /// The status; none when there was no answer.
    pub status: Option<u16>,
    /// How long it took until the whole answer was there.
    pub duration: Duration,
}

impl Observable for RequestAnswered {
    const NAME: &'static str = "request.answered";
    const MEANING: &'static str = "a vendor answered a request, or did not";

    fn observe(&self) {
        let class = match self.status {
            None => "none",
            Some(429) => "429",
            Some(100..200) => "1xx",
            Some(200..300) => "2xx",
            Some(300..400) => "3xx",
            Some(400..500) => "4xx",
            Some(_) => "5xx",
        };
        let vendor = self.vendor.as_str();
        metrics::REQUESTS.add(&[vendor, class]);
        metrics::REQUEST_DURATION.observe(&[vendor], self.duration);
        let duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
        // Without the address: an address may hold what should not be logged.
        tracing::debug!(event = Self::NAME, vendor, status = self.status, duration_ms, "request");
    }
}
