//! Bounds of concurrency for the whole process, whatever the number of instances: each request is a connection, which takes
//! an open file, and each reading keeps its documents in memory until its end.
//!
//! A vendor that takes connections and never answers holds each of them until the time-out. So places are kept apart by
//! the outcome of the last request of an instance: an instance whose vendor answers never waits for one whose vendor does not.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};

/// Slots of the process.
pub(super) struct SharedSlots {
    /// For whole readings whose vendor answers.
    readings: Semaphore,
    /// For probe requests of instances whose vendor has not answered yet.
    unknown: Semaphore,
    /// For requests to vendors that do not answer.
    silent: Semaphore,
}

/// The places that all instances share. A reading sends four requests at once and takes a megabyte or two.
pub(super) static SHARED_SLOTS: SharedSlots = SharedSlots::new(100, 100, 50);

impl SharedSlots {
    pub(super) const fn new(readings: usize, unknown: usize, silent: usize) -> Self {
        Self {
            readings: Semaphore::const_new(readings),
            unknown: Semaphore::const_new(unknown),
            silent: Semaphore::const_new(silent),
        }
    }
}

/// The outcome of the last request of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LastOutcome {
    /// None was sent, or the reading before this one ended without an answer.
    #[default]
    Unknown,
    /// An answer, whatever it was.
    Answered,
    /// No answer.
    Unanswered,
}

/// The slots of one instance.
pub(super) struct InstanceSlots {
    shared: &'static SharedSlots,
    /// Held by the probe request while the others queue behind it.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    last_outcome: LastOutcome,
    reading: Option<SemaphorePermit<'static>>,
    waited: WaitTime,
}

/// The time in which any request of a reading waited for others.
#[derive(Default)]
struct WaitTime {
    over: Duration,
    since: Option<Instant>,
    requests: usize,
}

/// One request that waits for others, until it is dropped.
struct WaitGuard<'a>(&'a InstanceSlots);

/// One reading, until it is dropped.
pub(super) struct ReadingPermit<'a>(&'a InstanceSlots);

/// Permission to send one request, until it is dropped.
pub(super) struct RequestPermit<'a> {
    _slot: Option<SemaphorePermit<'static>>,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl InstanceSlots {
    pub(super) fn of(shared: &'static SharedSlots) -> Self {
        Self { shared, turn: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a reading. Its vendor may answer although the one before ended without an answer.
    pub(super) fn begin(&self) -> ReadingPermit<'_> {
        let mut state = self.state();
        if state.last_outcome == LastOutcome::Unanswered {
            state.last_outcome = LastOutcome::Unknown;
        }
        state.waited = WaitTime::default();
        ReadingPermit(self)
    }

    /// How long this reading has waited for others, including a wait that goes on.
    pub(super) fn waited(&self) -> Duration {
        let waited = &self.state().waited;
        waited.over + waited.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn wait(&self) -> WaitGuard<'_> {
        let waited = &mut self.state().waited;
        waited.requests += 1;
        waited.since.get_or_insert_with(Instant::now);
        WaitGuard(self)
    }

    /// Waits for a slot. Until the vendor has answered once, one probe request per instance is sent and the others queue behind
    /// it.
    pub(super) async fn acquire(&self) -> RequestPermit<'_> {
        let turn = self.turn.lock().await;
        // The semaphores are never closed.
        let last_outcome = self.state().last_outcome;
        match last_outcome {
            LastOutcome::Unknown => {
                let _waiting = self.wait();
                RequestPermit { _slot: self.shared.unknown.acquire().await.ok(), _turn: Some(turn) }
            }
            LastOutcome::Answered => {
                self.acquire_reading().await;
                RequestPermit { _slot: None, _turn: None }
            }
            LastOutcome::Unanswered => {
                drop(turn);
                RequestPermit { _slot: self.shared.silent.acquire().await.ok(), _turn: None }
            }
        }
    }

    /// Waits for the slot of a whole reading. A reading holds little memory until then.
    async fn acquire_reading(&self) {
        let has_slot = self.state().reading.is_some();
        if !has_slot {
            let place = match self.shared.readings.try_acquire() {
                Ok(place) => Some(place),
                Err(_) => {
                    let _waiting = self.wait();
                    self.shared.readings.acquire().await.ok()
                }
            };
            self.state().reading = place;
        }
    }

    /// Releases the slot to another reading until this one has something to send again.
    pub(super) fn release_reading(&self) {
        self.state().reading = None;
    }

    /// Records whether the request was answered.
    pub(super) fn record_outcome(&self, is_answered: bool) {
        let mut state = self.state();
        state.last_outcome = if is_answered { LastOutcome::Answered } else { LastOutcome::Unanswered };
        if !is_answered {
            state.reading = None;
        }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let waited = &mut self.0.state().waited;
        waited.requests -= 1;
        if waited.requests == 0 {
            let since = waited.since.take();
            waited.over += since.map_or(Duration::ZERO, |since| since.elapsed());
        }
    }
}

impl Drop for ReadingPermit<'_> {
    fn drop(&mut self) {
        self.0.release_reading();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    static FEW: SharedSlots = SharedSlots::new(2, 3, 1);

    #[tokio::test]
    async fn whoever_is_answered_does_not_wait_for_many_who_are_not() {
        const HANGS: Duration = Duration::from_millis(20);
        const DEAD: u32 = 30;
        for _ in 0..DEAD {
            let dead = Arc::new(InstanceSlots::of(&FEW));
            for _ in 0..4 {
                let dead = Arc::clone(&dead);
                tokio::spawn(async move {
                    loop {
                        let place = dead.acquire().await;
                        tokio::time::sleep(HANGS).await;
                        dead.record_outcome(false);
                        drop(place);
                    }
                });
            }
        }
        tokio::time::sleep(HANGS / 2).await;
        let (living, start) = (InstanceSlots::of(&FEW), Instant::now());
        let first = living.acquire().await;
        living.record_outcome(true);
        drop(first);
        // Each of those before it was asked once, three at a time.
        assert!(start.elapsed() < HANGS * DEAD, "{:?}", start.elapsed());
        let start = Instant::now();
        let reading = living.begin();
        for _ in 0..100 {
            let _two = (living.acquire().await, living.acquire().await);
            living.record_outcome(true);
        }
        assert!(start.elapsed() < HANGS * 20, "{:?}", start.elapsed());
        drop(reading);
        assert_eq!(FEW.silent.available_permits(), 0, "the dead wait for each other");
        // One that falls silent is asked once more in the next reading, and waits for nobody who stays silent.
        living.record_outcome(false);
        living.begin();
        assert!(tokio::time::timeout(Duration::from_secs(1), living.acquire()).await.is_ok());
    }

    #[tokio::test]
    async fn only_so_many_read_at_once_and_who_falls_silent_or_ends_makes_room() {
        static TWO: SharedSlots = SharedSlots::new(2, 9, 9);
        let guests: Vec<InstanceSlots> = (0..4).map(|_| InstanceSlots::of(&TWO)).collect();
        let mut readings: Vec<Option<ReadingPermit<'_>>> = guests.iter().map(|slots| Some(slots.begin())).collect();
        guests.iter().for_each(|slots| slots.record_outcome(true));
        let may_read =
            async |at: usize| tokio::time::timeout(Duration::from_millis(20), guests[at].acquire()).await.is_ok();
        assert!(may_read(0).await && may_read(1).await && may_read(1).await && !may_read(2).await);
        readings[0] = None;
        assert!(may_read(2).await && !may_read(3).await);
        guests[1].record_outcome(false);
        assert!(may_read(3).await && may_read(1).await && !may_read(0).await);
        assert_eq!(guests[1].waited(), Duration::ZERO);
        assert!(TWO.readings.available_permits() == 0 && TWO.silent.available_permits() == 9);
        drop(readings);
        assert_eq!(TWO.readings.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_wait_for_others_counts_while_it_goes_on() {
        static ONE: SharedSlots = SharedSlots::new(1, 9, 9);
        let (first, second) = (InstanceSlots::of(&ONE), InstanceSlots::of(&ONE));
        let _readings = (first.begin(), second.begin());
        first.record_outcome(true);
        second.record_outcome(true);
        let place = first.acquire().await;
        let both = async { tokio::join!(second.acquire(), second.acquire()) };
        let wait = Duration::from_millis(30);
        assert!(tokio::time::timeout(wait, both).await.is_err());
        // Two requests that waited at the same time waited once, and no longer than that.
        assert!(second.waited() >= wait && first.waited() < wait, "{:?}", second.waited());
        let over = second.waited();
        tokio::time::sleep(wait).await;
        assert_eq!(second.waited(), over);
        let (waiting, _) = tokio::join!(async { tokio::time::timeout(wait * 100, second.acquire()).await }, async {
            tokio::time::sleep(wait).await;
            assert!(second.waited() >= over + wait / 2, "it does not count yet");
            first.release_reading();
        });
        assert!(waiting.is_ok() && second.waited() >= over + wait / 2);
        drop(place);
    }

    #[tokio::test]
    async fn while_nobody_knows_one_asks_and_the_others_wait_for_what_comes_of_it() {
        static SOME: SharedSlots = SharedSlots::new(9, 9, 9);
        let slots = InstanceSlots::of(&SOME);
        let first = slots.acquire().await;
        let wait = |time| tokio::time::timeout(Duration::from_millis(time), slots.acquire());
        assert!(wait(20).await.is_err());
        slots.record_outcome(true);
        drop(first);
        let _all = (wait(20).await.unwrap(), wait(20).await.unwrap(), wait(20).await.unwrap());
        assert_eq!((SOME.unknown.available_permits(), SOME.readings.available_permits()), (9, 8));
    }
}
