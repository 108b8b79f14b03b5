//! How much the whole process reads at once, whatever the number of instances: each request is a connection, and a process
//! may have so many open files; each reading keeps its documents until its end, and a process may have so much memory.
//!
//! A vendor that takes connections and never answers holds each of them until the time-out. So places are kept apart by
//! what the last request of an instance met, and whoever is answered never waits for whoever is not.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};

/// Places of the process.
pub(super) struct Places {
    /// For whole readings that are answered.
    readings: Semaphore,
    /// For the first request of those of whom nobody knows.
    unknown: Semaphore,
    /// For requests where nobody answers.
    silent: Semaphore,
}

/// The places that all instances share. A reading sends four requests at once and takes a megabyte or two.
pub(super) static PLACES: Places = Places::new(100, 100, 50);

impl Places {
    const fn new(readings: usize, unknown: usize, silent: usize) -> Self {
        Self {
            readings: Semaphore::const_new(readings),
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
    turn: tokio::sync::Mutex<()>,
    reading: Mutex<Option<SemaphorePermit<'static>>>,
    /// Milliseconds for which this reading waited for others to end.
    waited: AtomicU64,
}

/// One reading, until it is dropped.
pub(super) struct Reading<'a>(&'a Guest);

/// Leave to send one request, until it is dropped.
pub(super) struct Place<'a> {
    _place: Option<SemaphorePermit<'static>>,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl Guest {
    pub(super) fn of(places: &'static Places) -> Self {
        Self {
            places,
            met: AtomicU8::new(Met::Unknown as u8),
            turn: tokio::sync::Mutex::default(),
            reading: Mutex::default(),
            waited: AtomicU64::new(0),
        }
    }

    /// A reading begins: one that ended in silence says nothing of this one.
    pub(super) fn begin(&self) -> Reading<'_> {
        if self.met() == Met::Silence {
            self.met.store(Met::Unknown as u8, Ordering::Relaxed);
        }
        self.waited.store(0, Ordering::Relaxed);
        Reading(self)
    }

    /// For how long this reading waited for others to end.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_millis(self.waited.load(Ordering::Relaxed))
    }

    /// Waits for a place. While nobody knows whether anybody answers, one request is sent and the others of the instance
    /// wait for what comes of it: so all those who are new wait for each other's first request at most.
    pub(super) async fn place(&self) -> Place<'_> {
        let turn = self.turn.lock().await;
        // The places are never closed.
        match self.met() {
            Met::Unknown => Place { _place: self.places.unknown.acquire().await.ok(), _turn: Some(turn) },
            Met::Answer => {
                self.enter().await;
                Place { _place: None, _turn: None }
            }
            Met::Silence => {
                drop(turn);
                Place { _place: self.places.silent.acquire().await.ok(), _turn: None }
            }
        }
    }

    /// Waits until this reading may be one of those that are answered. What is kept by it is little until then.
    async fn enter(&self) {
        let is_in = self.reading.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !is_in {
            let begin = Instant::now();
            let place = self.places.readings.acquire().await.ok();
            let waited = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.waited.fetch_add(waited, Ordering::Relaxed);
            *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }
    }

    fn leave(&self) {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the request met that had the place.
    pub(super) fn hear(&self, is_answered: bool) {
        let met = if is_answered { Met::Answer } else { Met::Silence };
        self.met.store(met as u8, Ordering::Relaxed);
        if !is_answered {
            self.leave();
        }
    }

    fn met(&self) -> Met {
        match self.met.load(Ordering::Relaxed) {
            met if met == Met::Answer as u8 => Met::Answer,
            met if met == Met::Silence as u8 => Met::Silence,
            _ => Met::Unknown,
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.leave();
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
        let reading = living.begin();
        for _ in 0..100 {
            let _two = (living.place().await, living.place().await);
            living.hear(true);
        }
        assert!(start.elapsed() < HANGS * 20, "{:?}", start.elapsed());
        drop(reading);
        assert_eq!(FEW.silent.available_permits(), 0, "the dead wait for each other");
        // One that falls silent is asked once more in the next reading, and waits for nobody who stays silent.
        living.hear(false);
        living.begin();
        assert!(tokio::time::timeout(Duration::from_secs(1), living.place()).await.is_ok());
    }

    #[tokio::test]
    async fn only_so_many_read_at_once_and_who_falls_silent_or_ends_makes_room() {
        static TWO: Places = Places::new(2, 9, 9);
        let guests: Vec<Guest> = (0..4).map(|_| Guest::of(&TWO)).collect();
        let mut readings: Vec<Option<Reading<'_>>> = guests.iter().map(|guest| Some(guest.begin())).collect();
        guests.iter().for_each(|guest| guest.hear(true));
        let may_read =
            async |at: usize| tokio::time::timeout(Duration::from_millis(20), guests[at].place()).await.is_ok();
        assert!(may_read(0).await && may_read(1).await && may_read(1).await && !may_read(2).await);
        readings[0] = None;
        assert!(may_read(2).await && !may_read(3).await);
        guests[1].hear(false);
        assert!(may_read(3).await && may_read(1).await && !may_read(0).await);
        assert_eq!(guests[1].waited(), Duration::ZERO);
        assert!(TWO.readings.available_permits() == 0 && TWO.silent.available_permits() == 9);
        drop(readings);
        assert_eq!(TWO.readings.available_permits(), 2);
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
        assert_eq!((SOME.unknown.available_permits(), SOME.readings.available_permits()), (9, 8));
    }
}
