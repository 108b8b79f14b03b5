//! Bounds of reading: time, size and tries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Bounds of one request and of its repetition.
#[derive(Debug, Clone)]
pub struct Limits {
    /// To connect.
    pub connect: Duration,
    /// To connect, send and get the answer's headers.
    pub headers: Duration,
    /// For everything, body included.
    pub total: Duration,
    /// For one object or list, all its pages, pauses and repetitions, but not the time it waits for its turn.
    pub address: Duration,
    /// For all sections together, and longer by a second for each request, or by what a chosen pace takes for it: a large
    /// tenant takes its time.
    pub reading: Duration,
    /// Bytes of a body after decompression.
    pub body: usize,
    /// Bytes of all bodies of a reading, after decompression.
    pub bodies: usize,
    /// The memory of the values of one reading, in bytes.
    pub memory: usize,
    /// The part of it that the objects of one list may take, all pages together.
    pub list: usize,
    /// What one object, or one answer that is no list of objects, may take of that.
    pub object: usize,
    /// Tries when the vendor fails (5xx or no connection).
    pub tries: u32,
    /// Tries when the vendor says that it is too busy for us (429).
    pub busy_tries: u32,
    /// First pause between tries; doubles.
    pub pause: Duration,
    /// The longest pause. Where the vendor asks for a longer one, it is not asked again in this reading.
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            total: Duration::from_secs(30),
            address: Duration::from_secs(90),
            reading: Duration::from_secs(300),
            // A tenant with 3,500 applications has 9 MB, which take 56 MB: docs/performance.md has the figures.
            body: 10 << 20,
            bodies: 20 << 20,
            memory: 60 << 20,
            list: 48 << 20,
            object: 8 << 20,
            tries: 3,
            busy_tries: 5,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// The time that one object or list has taken, against its own deadline. Waiting for a turn does not count.
pub(super) struct Stopwatch {
    limit: Duration,
    spent: AtomicU64,
}

impl Stopwatch {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, spent: AtomicU64::new(0) }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(Duration::from_millis(self.spent.load(Ordering::Relaxed)))
    }

    /// Runs `work` on the watch; none when the time is over.
    pub(super) async fn time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let start = Instant::now();
        let outcome = tokio::time::timeout(self.left(), work).await.ok();
        let spent = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.spent.fetch_add(spent, Ordering::Relaxed);
        outcome
    }
}
