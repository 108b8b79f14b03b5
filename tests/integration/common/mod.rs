//! What every test stands on.

pub mod certificates;
pub mod daemon;
pub mod pages;
pub mod proxy;
pub mod replay;
pub mod sandbox;
pub mod terminal;

pub use sandbox::{Ran, Sandbox};
