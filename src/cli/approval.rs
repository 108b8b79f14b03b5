//! Commands that make a baseline, and that prove who approved it.

pub mod approve;
mod choose;
mod confirm;
pub mod export;
pub mod import;
pub mod propose;
mod selection;
mod shown;
pub mod sign;
pub mod verify;

use super::command::command_group;

command_group! {
    ApprovalCommand {
        Approve(approve::ApproveOptions),
        Propose(propose::ProposeOptions),
        Sign(sign::SignOptions),
        Import(import::ImportOptions),
        Verify(verify::VerifyOptions),
        Export(export::ExportOptions),
    }
}
