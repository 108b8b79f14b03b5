//! What every test stands on.

pub mod daemon;
pub mod replay;
pub mod sandbox;

pub use sandbox::{Ran, Sandbox};
