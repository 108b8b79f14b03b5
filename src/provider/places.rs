//! How many requests the whole process may have under way, whatever the number of instances: each is a connection, and a
//! process may have so many open files.
//!
//! A vendor that takes connections and never answers holds each of them until the time-out. So places are kept apart by
//! what the last request of an instance met, and whoever is answered never waits for whoever is not.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

/// Places of the process.
pub(super) struct Places {
    answered: Semaphore,
    unknown: Semaphore,
    silent: Semaphore,
}

/// The places that all instances share.
pub(super) static PLACES: Places = Places::new(200, 100, 50);

impl Places {
    const fn new(answered: usize, unknown: usize, silent: usize) -> Self {
        Self {
            answered: Semaphore::const_new(answered),
            unknown: Semaphore::const_new(unknown),
            silent: Semaphore::const_new(silent),
        }
    }
}

/// What the last request of an instance met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Met {
    /// None was sent, or the reading before this one ended in silence.
    Unknown,
    /// An answer, whatever it was.
    Answer,
    /// Nobody.
    Silence,
}

/// One instance among those that want places.
pub(super) struct Guest {
    places: &'static Places,
    met: AtomicU8,
    first: Mutex<()>,
}

/// Leave to send one request, until it is dropped.
pub(super) struct Place<'a> {
    _place: Option<SemaphorePermit<'static>>,
    _first: Option<MutexGuard<'a, ()>>,
}

impl Guest {
    pub(super) fn of(places: &'static Places) -> Self {
        Self { places, met: AtomicU8::new(Met::Unknown as u8), first: Mutex::default() }
    }

    /// A reading begins: one that ended in silence says nothing of this one.
    pub(super) fn begin(&self) {
        if self.met() == Met::Silence {
            self.met.store(Met::Unknown as u8, Ordering::Relaxed);
        }
    }

    /// Waits for a place. While nobody knows whether anybody answers, one request is sent and the others of the instance
    /// wait for what comes of it: so all those who are new wait for each other's first request at most.
    pub(super) async fn place(&self) -> Place<'_> {
        let mut first = None;
        if self.met() == Met::Unknown {
            first = Some(self.first.lock().await).filter(|_| self.met() == Met::Unknown);
        }
        let places = match self.met() {
            Met::Unknown => &self.places.unknown,
            Met::Answer => &self.places.answered,
            Met::Silence => &self.places.silent,
        };
        // They are never closed.
        Place { _place: places.acquire().await.ok(), _first: first }
    }

    /// What the request met that had the place.
    pub(super) fn hear(&self, is_answered: bool) {
        let met = if is_answered { Met::Answer } else { Met::Silence };
        self.met.store(met as u8, Ordering::Relaxed);
    }

    fn met(&self) -> Met {
        match self.met.load(Ordering::Relaxed) {
            met if met == Met::Answer as u8 => Met::Answer,
            met if met == Met::Silence as u8 => Met::Silence,
            _ => Met::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    static FEW: Places = Places::new(2, 3, 1);

    #[tokio::test]
    async fn whoever_is_answered_does_not_wait_for_many_who_are_not() {
        const HANGS: Duration = Duration::from_millis(20);
        const DEAD: u32 = 30;
        for _ in 0..DEAD {
            let dead = Arc::new(Guest::of(&FEW));
            for _ in 0..4 {
                let dead = Arc::clone(&dead);
                tokio::spawn(async move {
                    loop {
                        let place = dead.place().await;
                        tokio::time::sleep(HANGS).await;
                        dead.hear(false);
                        drop(place);
                    }
                });
            }
        }
        tokio::time::sleep(HANGS / 2).await;
        let (living, start) = (Guest::of(&FEW), Instant::now());
        let first = living.place().await;
        living.hear(true);
        drop(first);
        // Each of those before it was asked once, three at a time.
        assert!(start.elapsed() < HANGS * DEAD, "{:?}", start.elapsed());
        let start = Instant::now();
        for _ in 0..100 {
            let (one, other) = (living.place().await, living.place().await);
            living.hear(true);
            drop((one, other));
        }
        assert!(start.elapsed() < HANGS * 20, "{:?}", start.elapsed());
        assert_eq!(FEW.silent.available_permits(), 0, "the dead wait for each other");
        // One that falls silent is asked once more in the next reading, and waits for nobody who stays silent.
        living.hear(false);
        living.begin();
        assert!(tokio::time::timeout(Duration::from_secs(1), living.place()).await.is_ok());
    }

    #[tokio::test]
    async fn while_nobody_knows_one_asks_and_the_others_wait_for_what_comes_of_it() {
        static SOME: Places = Places::new(9, 9, 9);
        let guest = Guest::of(&SOME);
        let first = guest.place().await;
        let wait = |time| tokio::time::timeout(Duration::from_millis(time), guest.place());
        assert!(wait(20).await.is_err());
        guest.hear(true);
        drop(first);
        let _all = (wait(20).await.unwrap(), wait(20).await.unwrap(), wait(20).await.unwrap());
        assert_eq!(SOME.answered.available_permits(), 6);
    }
}
