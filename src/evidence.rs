//! What was approved, verified from the first signature on, or written for others to verify.

mod examine;
mod export;

pub use examine::{Examination, examine};
pub use export::{Export, ExportError};
