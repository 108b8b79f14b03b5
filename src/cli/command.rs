//! What every command implements, and how commands form a group of `--help`.

use std::io::Write;
use std::path::Path;

use super::CliError;
use crate::exit::Exit;

/// A command with its options, or a group of commands.
pub(crate) trait RunCommand {
    /// Whether it may ask questions on a terminal.
    fn asks(&self) -> bool {
        false
    }

    /// Runs it on the configuration in `config`, or on the first that is found, and writes the result to `out`.
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError>;
}

/// An enum of commands that runs the one that was typed. The name of a row is the name of the command.
macro_rules! command_group {
    ($Group:ident { $($(#[$row:meta])* $Command:ident($Options:ty),)+ }) => {
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum $Group {
            $($(#[$row])* $Command($Options),)+
        }

        impl $crate::cli::command::RunCommand for $Group {
            fn asks(&self) -> bool {
                match self {
                    $(Self::$Command(command) => command.asks(),)+
                }
            }

            async fn run(
                &self,
                config: Option<&std::path::Path>,
                out: &mut dyn std::io::Write,
            ) -> Result<$crate::exit::Exit, $crate::cli::CliError> {
                match self {
                    $(Self::$Command(command) => command.run(config, out).await,)+
                }
            }
        }
    };
}

pub(super) use command_group;
