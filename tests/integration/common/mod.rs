//! What every test stands on.

pub mod daemon;
pub mod pages;
pub mod replay;
pub mod sandbox;
pub mod terminal;

pub use sandbox::{Ran, Sandbox};
