//! The words of the product: small types that every other module speaks in.

mod counted;
pub mod display_safe;
pub mod ids;
pub mod instance;
pub mod judgement;
pub mod look_alike;
pub mod nothing;
pub mod pointer;
pub mod resource;
pub mod state;
pub mod verdict;
mod word;

pub use counted::{counted, plural};
pub use display_safe::{display_safe, display_safe_sentence, display_safe_to, display_safe_whole, json_safe};
pub use ids::{Digest, DriftId, HistoryMark, MessageId, SilenceId};
pub use instance::{InstanceId, Provider};
pub use judgement::{Category, Direction, Severity, Unit};
pub use nothing::is_nothing;
pub use pointer::{Pattern, Pointer};
pub use resource::Resource;
pub use state::State;
pub use verdict::Verdict;
pub(crate) use word::word;
