//! Commands that show what was read and what changed.

pub mod check;
pub mod diff;
pub mod history;
pub mod show;
pub mod status;

use super::command::command_group;

command_group! {
    LookCommand {
        Check(check::CheckOptions),
        Status(status::StatusOptions),
        Diff(diff::DiffOptions),
        Show(show::ShowOptions),
        History(history::HistoryOptions),
    }
}
