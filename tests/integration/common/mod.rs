//! What every test stands on.

pub mod daemon;
pub mod pages;
pub mod replay;
pub mod sandbox;

pub use sandbox::{Ran, Sandbox};
