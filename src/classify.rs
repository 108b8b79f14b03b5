//! What a change means to a person: the catalogue, and how it is applied.

pub mod assess;
pub mod catalogue;
mod direction;
mod one_setting;
mod surroundings;
mod weakest;

pub use assess::{Drift, NEW_FIELD, NOT_WATCHED, SECTION_STATE, UNCLASSIFIED, assess, assess_among};
pub use catalogue::{Catalogue, Setting, Weaker, WeakerRule, Zero};
pub use one_setting::{elsewhere, with_their_other_paths};
pub use surroundings::Surroundings;
pub use weakest::weakest;
