//! Tasks that run side by side, each with a line of progress.

use indicatif::{MultiProgress, ProgressBar};
use tokio::task::JoinSet;

use super::CliError;
use crate::exit::Exit;

/// The running tasks. Their lines are drawn on a terminal only, and gone when there is something to print.
pub(super) struct SideBySide<T> {
    lines: MultiProgress,
    tasks: JoinSet<(usize, T)>,
}

impl<T: Send + 'static> SideBySide<T> {
    pub(super) fn new() -> Self {
        Self { lines: MultiProgress::new(), tasks: JoinSet::new() }
    }

    /// Starts a task, which gets a line.
    pub(super) fn start<F: Future<Output = T> + Send + 'static>(&mut self, task: impl FnOnce(ProgressBar) -> F) {
        let (place, task) = (self.tasks.len(), task(self.lines.add(ProgressBar::new_spinner())));
        self.tasks.spawn(async move { (place, task.await) });
    }

    /// The results in the order of the starts, and an error if a task panicked.
    pub(super) async fn finish(mut self) -> (Vec<T>, Option<CliError>) {
        let (mut done, mut died) = (Vec::new(), None);
        while let Some(finished) = self.tasks.join_next().await {
            match finished {
                Ok(result) => done.push(result),
                Err(error) => died = Some(CliError::new(Exit::Internal, format!("a task died: {error}"))),
            }
        }
        // The terminal may be gone; then there is nothing left on it.
        let _ = self.lines.clear();
        done.sort_by_key(|(place, _)| *place);
        (done.into_iter().map(|(_, result)| result).collect(), died)
    }
}
