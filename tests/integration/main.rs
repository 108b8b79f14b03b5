//! The real binary against simulated vendors, a mail server and a webhook receiver on loopback.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;
#[path = "../support/mod.rs"]
mod support;

mod approve;
mod approvers;
mod canaries;
mod crash;
mod daemon;
mod export;
mod faults;
mod first_run;
mod hour;
mod knowledge;
mod mutation;
mod noise;
mod outbox;
mod quiet;
mod recall;
mod refusals;
mod requests;
mod rollback;
mod scale;
mod shared_story;
mod tampering;
