//! Stand-ins for everything that authdrift talks to: both vendors, a mail server and a webhook receiver.
//!
//! They speak the real protocols on loopback, so that `authdrift demo` and the integration tests use the same
//! code paths as a real installation. They are written from the vendors' documentation and share nothing with the
//! readers and senders that they test; [`crate::clock`] is the only neighbour, since no other module may ask the system
//! for the time. Every secret in the synthetic data contains `CANARY`: a test that finds that word in a database, a
//! log or a mail has found a leak.
//!
//! A simulator runs until [`vendor::Vendor::stop`] is called or the last clone of its handle is dropped; open
//! connections end with it.

pub mod auth0;
pub mod clerk;
pub mod fault;
mod listener;
pub mod smtp;
pub mod vendor;
pub mod webhook;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`; a panic of another holder does not matter, as every change is one assignment or push.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
