//! What a change means to a person: the catalogue, and how it is applied.

pub mod assess;
pub mod catalogue;
mod direction;
mod surroundings;

pub use assess::{Drift, NEW_FIELD, SECTION_STATE, UNCLASSIFIED, assess, assess_among};
pub use catalogue::{Catalogue, Setting, Weaker, WeakerRule, Zero};
pub use surroundings::Surroundings;
