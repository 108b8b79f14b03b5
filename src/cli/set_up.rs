//! Commands for a start: a demo, a configuration, and what a shell needs.

pub mod completions;
pub mod config;
pub mod demo;
pub mod init;
pub mod man;

use super::command::command_group;

command_group! {
    SetUpCommand {
        Demo(demo::DemoOptions),
        Init(init::InitOptions),
        #[command(subcommand)]
        Config(config::ConfigCommand),
        Completions(completions::CompletionsOptions),
        Man(man::ManOptions),
    }
}
