//! The program: arguments in, exit code out.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use authdrift::cli::args::{Arguments, ColorWhen};
use authdrift::cli::{self, CliError, prompt};
use authdrift::exit::Exit;
use authdrift::logging;
use clap::Parser;

fn main() -> ExitCode {
    let choice = match ColorWhen::at_first_sight(std::env::args_os()) {
        ColorWhen::Auto => ColorChoice::Auto,
        ColorWhen::Always => ColorChoice::Always,
        ColorWhen::Never => ColorChoice::Never,
    };
    choice.write_global();
    let arguments = Arguments::parse();
    let format = arguments.daemon_log();
    logging::start(arguments.verbose, format.is_some(), format.unwrap_or(logging::Format::Auto));
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // If this fails too, there is no other place for the error.
            let _ = error.write(&mut anstream::stderr());
            error.exit.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Internal, format!("cannot start the runtime: {error}")))?;
    let mut out = IgnoreBrokenPipe(AutoStream::auto(std::io::stdout()));
    let outcome = runtime.block_on(run_command(arguments, &mut out));
    let flushed = out.flush();
    let exit = outcome?;
    flushed?;
    Ok(exit)
}

/// Runs a command. Ctrl-C at or after a question ends it in order and restores the terminal: the default handler would leave it
/// without a cursor.
async fn run_command(arguments: Arguments, out: &mut dyn Write) -> Result<Exit, CliError> {
    tokio::select! {
        biased;
        outcome = Box::pin(cli::run(&arguments, out)) => outcome,
        () = prompt::stopped() => Err(CliError::new(Exit::Interrupted, "stopped")),
    }
}

/// An output that ignores a broken pipe, as with `authdrift check | head`: the command goes on, because `check` still has to
/// notify the receivers.
struct IgnoreBrokenPipe<W>(W);

impl<W: Write> Write for IgnoreBrokenPipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}
