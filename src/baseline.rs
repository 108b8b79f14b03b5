//! The approved state of an instance: verified, compared with a snapshot, and put into words.

mod evaluate;
mod impact;
mod summary;

pub use evaluate::{
    Comparison, Evaluation, approved_side, base, change_context, concluded, evaluate, expected, unknown,
    verified_baseline, verified_ignoring_rollback,
};
pub use impact::DocumentImpact;
pub use summary::BaselineSummary;
