//! Commands about notifications: who gets them, what is muted, and what waits.

pub mod outbox;
pub mod receivers;
pub mod silence;

use super::command::command_group;

command_group! {
    AlertsCommand {
        #[command(subcommand)]
        Silence(silence::SilenceCommand),
        #[command(subcommand, hide = true)]
        Window(silence::WindowCommand),
        #[command(subcommand)]
        Receivers(receivers::ReceiversCommand),
        #[command(subcommand)]
        Outbox(outbox::OutboxCommand),
    }
}
