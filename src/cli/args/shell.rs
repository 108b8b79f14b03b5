//! `man` and `completions`.

use std::path::PathBuf;

use clap::Args;

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  authdrift man ~/.local/share/man/man1")]
pub struct ManOptions {
    /// The folder to write into; it is made if there is none
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift completions bash > ~/.local/share/bash-completion/completions/authdrift
  authdrift completions zsh > ~/.zfunc/_authdrift
  authdrift completions fish > ~/.config/fish/completions/authdrift.fish")]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}
