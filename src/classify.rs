//! What a change means to a person: the catalogue, and how it is applied.

pub mod assess;
pub mod catalogue;
mod direction;

pub use assess::{Drift, UNCLASSIFIED, assess};
pub use catalogue::{Catalogue, Setting, Weaker, WeakerRule, Zero};
