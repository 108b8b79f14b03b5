//! What systemd is told.

use sd_notify::NotifyState;

/// Tells systemd; without it nobody listens and nothing happens.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
