//! What every command implements, and how commands form a group of `--help`.

use std::io::Write;
use std::path::Path;

use super::{CliError, Context};
use crate::exit::Exit;

/// A command with its options, or a group of commands.
pub(crate) trait RunCommand {
    /// Runs it on the configuration in `config`, or on the first that is found, and writes the result to `out`.
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError>;
}

/// A command that needs a configuration.
pub(crate) trait ConfiguredCommand {
    /// Runs it and writes the result to `out`.
    async fn run_with(&self, context: &Context, out: &mut dyn Write) -> Result<Exit, CliError>;
}

impl<T: ConfiguredCommand> RunCommand for T {
    async fn run(&self, config: Option<&Path>, out: &mut dyn Write) -> Result<Exit, CliError> {
        self.run_with(&Context::load(config)?, out).await
    }
}

/// An enum of commands that runs the one that was typed. The name of a row is the name of the command.
macro_rules! command_group {
    ($(#[$doc:meta])* $Group:ident { $($(#[$row:meta])* $Command:ident($Options:ty),)+ }) => {
        #[derive(Debug, clap::Subcommand)]
        $(#[$doc])*
        pub(crate) enum $Group {
            $($(#[$row])* $Command($Options),)+
        }

        impl $crate::cli::command::RunCommand for $Group {
            async fn run(
                &self,
                config: Option<&std::path::Path>,
                out: &mut dyn std::io::Write,
            ) -> Result<$crate::exit::Exit, $crate::cli::CliError> {
                match self {
                    $(Self::$Command(command) => $crate::cli::RunCommand::run(command, config, out).await,)+
                }
            }
        }
    };
}

pub(super) use command_group;
