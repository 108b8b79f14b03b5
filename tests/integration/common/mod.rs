//! What every test stands on.

pub mod sandbox;

pub use sandbox::{Ran, Sandbox};
