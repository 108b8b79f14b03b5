//! Classification of changes by the catalogue: setting, category, severity and direction.

pub mod catalogue;
mod context;
mod direction;
pub mod finding;
mod finding_set;
mod one_setting;
mod weakest;

pub use catalogue::{Catalogue, Setting, Weaker, WeakerRule, Zero};
pub use context::ChangeContext;
pub use finding::{ChangeMeaning, Finding, NEW_FIELD, NOT_WATCHED, SECTION_STATE, UNCLASSIFIED, classify};
pub use finding_set::FindingSet;
pub use one_setting::{elsewhere, with_their_other_paths};
pub use weakest::weakest;
