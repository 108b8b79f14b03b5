//! `authdrift completions`: the script with which a shell completes command lines.

use std::io::{self, Write};

use clap::Args;

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift completions bash \\
    > ~/.local/share/bash-completion/completions/authdrift
  authdrift completions zsh > ~/.zfunc/_authdrift
  authdrift completions fish > ~/.config/fish/completions/authdrift.fish")]
pub(crate) struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl CompletionsOptions {
    /// Writes the script for `command_line`.
    pub(crate) fn write(&self, mut command_line: clap::Command, out: &mut dyn Write) -> io::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command_line, "authdrift", &mut script);
        out.write_all(&script)
    }
}
