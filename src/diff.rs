//! The differences between a baseline and a snapshot.

mod bounds;
pub mod change;
pub mod compare;
pub mod patch;

pub use change::{Change, ChangeKind};
pub use compare::compare;
