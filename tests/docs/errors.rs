//! Every code of an error has a heading in `docs/errors.md`, and every heading a code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use authdrift::diagnosis::Check;
use regex::Regex;

use super::{path, read};

/// The codes in the source: in `code()`, in `let code`, behind `with_code` and `code:`, before a variant of a table.
fn codes() -> BTreeSet<String> {
    let place = Regex::new(
        r#"(?s)\n    (?:pub )?fn code\(&?self\) -> &'static str \{.*?\n    \}\n|let code = match .*?;\n|code: "[^"]+"|with_code\("[^"]+"\)|\n    "[a-z-]+" [A-Z]"#,
    );
    let (place, word) = (place.unwrap(), Regex::new(r#""([a-z][a-z-]*)""#).unwrap());
    let mut found = BTreeSet::new();
    for file in sources(&path("src")) {
        let text = fs::read_to_string(file).unwrap();
        for place in place.find_iter(&text) {
            found.extend(word.captures_iter(place.as_str()).map(|word| word[1].to_owned()));
        }
    }
    // Nothing went wrong.
    assert!(found.remove("ok"));
    found.extend(Check::ALL.map(|check| check.as_str().to_owned()));
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        // The simulators speak the codes of the vendors.
        if entry.is_dir() && !entry.ends_with("simulator") {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|name| name == "rs") && !entry.ends_with("simulator/clerk.rs") {
            found.push(entry);
        }
    }
    found
}

#[test]
fn every_code_of_an_error_is_explained_and_nothing_else_is() {
    let page = read("docs/errors.md");
    let mut headings = BTreeSet::new();
    for entry in page.split("\n### ").skip(1) {
        let (code, rest) = entry.split_once('\n').unwrap();
        assert!(headings.insert(code.to_owned()), "{code} is explained twice");
        let what = rest.split("\n## ").next().unwrap().trim();
        let (happened, to_do) = what.split_once("\n\nWhat to do: ").unwrap_or_else(|| panic!("{code}: what to do?"));
        assert!(happened.len() > 20 && to_do.len() > 10, "{code}: {what}");
    }
    let codes = codes();
    assert!(codes.len() > 90, "the source is not written as this test reads it: {codes:?}");
    assert_eq!(codes.difference(&headings).collect::<Vec<_>>(), Vec::<&String>::new(), "not in docs/errors.md");
    assert_eq!(headings.difference(&codes).collect::<Vec<_>>(), Vec::<&String>::new(), "in docs/errors.md alone");
}
