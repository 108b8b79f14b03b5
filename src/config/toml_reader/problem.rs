//! Problems of a configuration: all of them, each with its place.
//!
//! A problem keeps only the one source line it shows, cut where a secret could follow, so that neither `Display` nor
//! `Debug` of [`Problems`] can repeat a secret that was written inline by mistake.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::suggest::closest;
use crate::model::counted;

/// Everything that is wrong with one configuration, in the order of the file; never empty.
#[derive(Debug)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The message. Never contains a secret.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    show: Show,
    is_absence: bool,
    excerpt: Option<Excerpt>,
}

/// How much of the source line may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    /// All of it, unless it looks as if it held a secret.
    Line,
    /// The same, judged more strictly: the purpose of the text is unknown.
    UnreadableLine,
    /// Up to the end of the marked place.
    UpToPlace,
    /// Nothing: the place only.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: String,
    marked: Range<usize>,
}

impl Problem {
    /// A problem at a place. The message must not repeat a value that could be a secret.
    pub(crate) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            line: 0,
            column: 0,
            message: message.into(),
            help: None,
            show: Show::Line,
            is_absence: false,
            excerpt: None,
        }
    }

    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says "did you mean" if there is something similar.
    pub(crate) fn did_you_mean(self, meant: Option<&str>) -> Self {
        match meant {
            Some(meant) => self.help(format!("did you mean '{meant}'?")),
            None => self,
        }
    }

    /// Shows the source line up to the end of the place only.
    pub(crate) fn up_to_place(mut self) -> Self {
        self.show = Show::UpToPlace;
        self
    }

    /// Shows no source line, because there is or could be a secret in it.
    pub(crate) fn without_source(mut self) -> Self {
        self.show = Show::Nothing;
        self
    }

    /// Marks the problem as text the parser could not read.
    pub(crate) fn unreadable(mut self) -> Self {
        self.show = Show::UnreadableLine;
        self
    }

    /// Marks the problem as something that is not there: it may only seem so while other text cannot be read.
    pub(crate) fn absence(mut self) -> Self {
        self.is_absence = true;
        self
    }

    /// Finds line and column and cuts out what will be shown. A message that repeats a secret is replaced.
    fn locate(&mut self, text: &str) {
        if has_secret_mark(&self.message) {
            "this looks like a secret, which does not belong here".clone_into(&mut self.message);
            self.help = Some("a secret belongs in a file, a credential or an environment variable".to_owned());
            self.show = Show::Nothing;
        }
        let start = text.floor_char_boundary(self.span.start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.line = line_number(text, start);
        self.column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let rest = text.get(line_start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let mark_start = (start - line_start).min(line.len());
        let mark_end = line.floor_char_boundary(self.span.end.saturating_sub(line_start)).max(mark_start);
        let (shown, is_unreadable) = match self.show {
            Show::Nothing => return,
            Show::UnreadableLine => (line, true),
            // After the place an inline table can go on, with keys of which nothing is known.
            Show::Line if !line.contains('{') => (line, false),
            Show::Line | Show::UpToPlace => (line.get(..mark_end).unwrap_or_default(), false),
        };
        if may_hold_secret(text, line_start, shown, is_unreadable) {
            return;
        }
        self.excerpt = Some(Excerpt { line: shown.to_owned(), marked: mark_start..mark_end });
    }

    fn render(&self, file: &str) -> String {
        let title = Level::ERROR.primary_title(self.message.as_str());
        let mut group = match &self.excerpt {
            Some(excerpt) => {
                let mark = AnnotationKind::Primary.span(excerpt.marked.clone());
                let snippet = Snippet::source(excerpt.line.as_str()).path(file).line_start(self.line).annotation(mark);
                title.element(snippet)
            }
            None => title.element(Origin::path(file).line(self.line).char_column(self.column)),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

impl Problems {
    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            writeln!(f, "{}\n", problem.render(&self.file))?;
        }
        write!(f, "{} in {}", counted(self.list.len(), "problem"), self.file)
    }
}

impl std::error::Error for Problems {}

/// The problems that were found while a file is read.
pub(crate) struct ProblemList {
    problems: RefCell<Vec<Problem>>,
    /// Keys that were asked for, and whether one was there: what the example file is compared with.
    #[cfg(test)]
    pub(crate) asked: std::rc::Rc<RefCell<std::collections::BTreeMap<(String, String), bool>>>,
}

impl ProblemList {
    pub(crate) fn new() -> Self {
        Self {
            problems: RefCell::new(Vec::new()),
            #[cfg(test)]
            asked: std::rc::Rc::default(),
        }
    }

    pub(crate) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Whether something is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Sorts and locates what was found. Where text could not be read, what follows only from that is left out.
    pub(crate) fn into_problems(self, file: &str, text: &str) -> Problems {
        let mut list = self.problems.into_inner();
        for problem in &mut list {
            problem.locate(text);
        }
        let unreadable: Vec<usize> =
            list.iter().filter(|problem| problem.show == Show::UnreadableLine).map(|problem| problem.line).collect();
        if !unreadable.is_empty() {
            let lines: Vec<&str> = text.lines().collect();
            let is_header = |line: &usize| lines.get(line - 1).is_some_and(|text| text.trim_start().starts_with('['));
            // Under a header that cannot be read, keys seem to be of the table before it.
            let has_lost_header = |line: usize| {
                let header = (1..=line).rev().find(is_header);
                header.is_some_and(|header| unreadable.contains(&header))
            };
            list.retain(|problem| {
                let line = problem.line;
                let is_consequence = problem.is_absence || unreadable.contains(&line) || has_lost_header(line);
                problem.show == Show::UnreadableLine || !is_consequence
            });
        }
        list.sort_by_key(|problem| (problem.line, problem.column));
        Problems { file: crate::model::display_safe(file), list }
    }
}

/// The number of the line, from 1, that holds the byte at `offset`.
pub(crate) fn line_number(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Beginnings of secrets of the watched vendors and of keys.
const SECRET_MARKS: &[&str] = &["sk_", "ak_", "whsec_", "-----BEGIN"];

/// Keys whose value is a secret.
const SECRET_KEYS: &[&str] = &["secret", "secret_key", "client_secret", "password", "token", "private_key"];

/// Whether a value is, by its beginning, a secret and not the place of one.
pub(crate) fn looks_like_secret(value: &str) -> bool {
    SECRET_MARKS.iter().any(|mark| value.trim_start().starts_with(mark))
}

/// Whether repeating a line could show a secret. Errs on the side of yes.
fn may_hold_secret(text: &str, line_start: usize, line: &str, is_unreadable: bool) -> bool {
    let before = text.get(..line_start).unwrap_or_default();
    let is_in_long_text = ["\"\"\"", "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1);
    let is_inline_table = line.contains('{') && line.contains(',');
    if is_in_long_text || is_inline_table || has_secret_mark(line) || has_login_in_url(line) {
        return true;
    }
    if line.contains('=') {
        return assigns_secret(line, is_unreadable);
    }
    // A line that is neither a header nor a key continues the value of a line above.
    let is_word =
        |text: &str| text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']' | ' '));
    let is_plain = is_word(line) && (line.starts_with('[') || !is_unreadable);
    let owner = before.lines().rev().find(|line| line.contains('='));
    !is_plain && owner.is_some_and(|owner| assigns_secret(owner, is_unreadable))
}

fn has_secret_mark(line: &str) -> bool {
    SECRET_MARKS.iter().any(|mark| {
        line.match_indices(mark).any(|(at, _)| {
            let before = line.get(..at).and_then(|text| text.chars().next_back());
            !before.is_some_and(|character| character.is_alphanumeric() || character == '_')
        })
    })
}

fn has_login_in_url(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| rest.split(['/', '"', '\'']).next().unwrap_or_default().contains('@'))
}

/// Whether a line has `KEY = VALUE` with the key of a secret and anything but a table as the value.
fn assigns_secret(line: &str, is_unreadable: bool) -> bool {
    line.match_indices('=').any(|(at, _)| {
        let key = line.get(..at).unwrap_or_default().trim_end().trim_end_matches(['"', '\'']);
        let key = key.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
        let value = line.get(at + 1..).unwrap_or_default().trim_start();
        let is_secret = SECRET_KEYS.iter().any(|secret| key.to_ascii_lowercase().contains(secret))
            || closest(key, SECRET_KEYS.iter().copied()).is_some_and(|_| key != "publishable_key");
        is_secret && (is_unreadable || !value.starts_with('{'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, problem: Problem) -> String {
        let findings = ProblemList::new();
        findings.add(problem);
        findings.into_problems("authdrift.toml", text).to_string()
    }

    #[test]
    fn a_problem_shows_its_line_and_a_caret() {
        let text = "[approval]\nthreshold = 0\n";
        let shown = rendered(text, Problem::at(23..24, "'threshold' is too small").help("write 1"));
        let expected = "\
error: 'threshold' is too small
 --> authdrift.toml:2:13
  |
2 | threshold = 0
  |             ^
  |
  = help: write 1

1 problem in authdrift.toml";
        assert_eq!(shown, expected);
    }

    #[test]
    fn lines_that_may_hold_secrets_are_not_shown() {
        let table = [
            ("x = \"sk_live_CANARY\"", true),
            ("secret_key = \"CANARY\"", true),
            ("passwrd = \"CANARY\"", true),
            ("client_secret='CANARY'", true),
            ("clerk = [{ name = \"x\", secret_key = \"CANARY\" }]", true),
            ("url = \"https://me:CANARY@example.com/\"", true),
            ("secret_key = { file = \"x\" }", false),
            ("publishable_key = \"pk_live_x\"", false),
            ("task_x = \"break_this\"", false),
            ("timezone = \"Europe/Zurich\"", false),
        ];
        for (line, hidden) in table {
            let shown = rendered(line, Problem::at(0..line.len(), "wrong"));
            assert_eq!(!shown.contains(line), hidden, "{shown}");
            assert!(shown.contains("authdrift.toml:1:1"), "{shown}");
        }
        let text = "key = \"\"\"\nCANARY==\nx";
        assert!(!rendered(text, Problem::at(10..12, "wrong")).contains("CANARY"));
        let text = "password = [\n  \"CANARY\"\n";
        assert!(!rendered(text, Problem::at(15..17, "wrong").unreadable()).contains("CANARY"));
    }
}
