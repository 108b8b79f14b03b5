//! The program on a terminal of its own, and somebody who types.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Ran;

/// Runs the program and types, for each pair, the second when the first is on the screen. What the screen got is in `out`.
/// `None` where no terminal can be made.
pub fn on_a_terminal(home: &Path, arguments: &str, typed: &[(&str, &str)]) -> Option<Ran> {
    if Command::new("script").arg("--version").output().is_err() {
        // Past the capture of the test harness: what was skipped must not look like what has passed.
        let _ = writeln!(std::io::stderr(), "SKIPPED: questions on a terminal need the program 'script'");
        return None;
    }
    let program = format!("{} --color never {arguments}", env!("CARGO_BIN_EXE_authdrift"));
    // What is never asked must not hold up everything.
    let mut command = Command::new("timeout");
    command.args(["--foreground", "60", "script", "-qec", &program, "/dev/null"]);
    command.current_dir(home).env_clear().env("TERM", "xterm").env("SHELL", "/bin/sh").env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut screen = Vec::new();
    let mut from = 0;
    for (question, answer) in typed {
        loop {
            let text = String::from_utf8_lossy(&screen[from..]);
            if text.contains(question) {
                break;
            }
            let mut piece = [0; 1024];
            let length = output.read(&mut piece).unwrap();
            assert!(length > 0, "'{question}' was not asked: {text}");
            screen.extend_from_slice(&piece[..length]);
        }
        from = screen.len();
        // Nobody answers before the question is read; the program needs a moment to listen for single keys.
        std::thread::sleep(Duration::from_millis(200));
        input.write_all(answer.as_bytes()).unwrap();
    }
    output.read_to_end(&mut screen).unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    Some(Ran { code, out: String::from_utf8_lossy(&screen).into_owned(), err: String::new() })
}
