//! The real binary against simulated vendors, a mail server and a webhook receiver on loopback.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests; what they measured is said"
)]

#[path = "../support/chat.rs"]
mod chat;
mod common;
#[path = "../support/large.rs"]
mod large;
#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod approve;
mod approvers;
mod canaries;
mod crash;
mod crowd;
mod daemon;
mod disk;
mod doctor;
mod doubles;
mod export;
mod faults;
mod files;
mod first_run;
mod health;
mod hostile;
mod hour;
mod init;
mod instances;
mod keys;
mod kills;
mod knowledge;
mod legitimate;
mod mail;
mod manners;
mod monitoring;
mod month;
mod mutation;
mod noise;
mod odd;
mod one_setting;
mod order;
mod outbox;
mod pages;
mod proxy;
mod quiet;
mod recall;
mod receivers;
mod refusals;
mod reload;
mod requests;
mod retention;
mod rollback;
mod scale;
mod shared_story;
mod shells;
mod signer;
mod soak;
mod stale;
mod status;
mod suppression;
mod tampering;
mod transit;
