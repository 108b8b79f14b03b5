//! The checks on files that are made up.

use super::source::test_modules;
use super::*;

fn layers(path: &str, source: &str) -> String {
    layer_problems(&File::new(path, source)).join("; ")
}

fn fences(path: &str, source: &str) -> Vec<String> {
    fence_problems(&File::new(path, source))
}

#[test]
fn a_layer_may_not_look_up() {
    let expected = "src/diff/x.rs: layer 1 may not use store";
    for source in [
        "use crate::store::Store;",
        "use crate::{model::Digest, store::{self, drifts}};",
        "fn f() { crate::store::open(); }",
        "fn f(store: crate :: store::Store) {}",
        "pub use crate::store as s;",
        "use crate::{model as m, store as s};",
        "fn f(x: u8) { x as crate::store::Id }",
        "use super::super::store::Store;",
        "use super::super::{model, store};",
        "const QUOTE: char = '\"'; use crate::store::Store; const OTHER: char = '\"';",
        "fn f<'a>(x: &'a str) { crate::store::g(x) }",
        "/* \" */ use crate::store::Store; // \"",
        "const RAW: &str = r#\"a \" b\"#; use crate::store::Store;",
        "#[cfg(test)]\nmod tests { fn f() { \"}\"; } }\nuse crate::store::Store;",
        "#[cfg(test)]\nuse crate::model::Digest;\nuse crate::store::Store;",
    ] {
        assert_eq!(layers("diff/x.rs", source), expected, "{source}");
    }
    assert_eq!(layers("diff.rs", "use super::store::Store;"), "src/diff.rs: layer 1 may not use store");
}

#[test]
fn a_neighbour_has_to_be_listed() {
    let expected = "src/schedule.rs: schedule may not use its neighbour config";
    assert_eq!(layers("schedule.rs", "use crate::config::Config;"), expected);
    assert_eq!(layers("config/load.rs", "use crate::schedule::Cron;"), "");
    assert_eq!(layers("new.rs", ""), "src/new.rs: new is in no layer");
}

#[test]
fn what_is_no_use_is_no_problem() {
    for source in [
        "// use crate::store::Store;",
        "/// [`crate::store::Store`]\nfn f() {}",
        "const TEXT: &str = \"use crate::store::Store;\";",
        "const RAW: &str = r#\"use crate::store::Store; \"quoted\" \"#;",
        "#[cfg(test)]\nmod tests { use crate::store::Store; fn f() { let x = \"}\"; } }",
        "#[cfg(test)]\nuse crate::store::Store;",
        "use crate::model::Digest; use super::compare; mod store;",
        "fn f(store: u8) { store.len(); other::store::x(); }",
    ] {
        assert_eq!(layers("diff/x.rs", source), "", "{source}");
    }
    assert_eq!(test_modules("a/b.rs", "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod x {\n mod y; }"), ["a/b/tests"]);
}

#[test]
fn every_fence_bites() {
    for (of, only, _) in FENCES {
        let (what, source) = match of {
            Package(what) => (what, format!("use {what}::Thing;")),
            Code(what) => (what, format!("fn f() {{ x; {what}(1) }}")),
            Text(what) => (what, format!("const X: &str = \"a{what}b\";")),
        };
        let bites = |path: &str| {
            let problem = format!("src/{path}: may not have {what} (");
            fences(path, &source).iter().any(|found| found.starts_with(&problem))
        };
        // A decision may have none of them.
        assert!(bites("backoff.rs"), "{what}");
        match only {
            In(places) => {
                for place in *places {
                    let file = if place.ends_with('/') { format!("{place}y.rs") } else { (*place).to_owned() };
                    assert!(!bites(&file), "{what} in {place}");
                }
            }
            FromLayer(_) => assert!(!bites("store.rs") && !bites("cli/look/check.rs"), "{what}"),
        }
    }
}

#[test]
fn a_fence_is_about_code_that_runs() {
    assert!(
        fences("backoff.rs", "// println!\n/// tokio::spawn\nfn f() { tokio_like::x(); writeln!(out); }").is_empty()
    );
    assert!(
        fences("backoff.rs", "#[cfg(test)]\nmod tests { const X: &str = \"/v1/x\"; fn f() { println!(); } }")
            .is_empty()
    );
    assert_eq!(fences("backoff.rs", "fn f() { request\n    .post (1); a.delete(2); }").len(), 2);
    assert_eq!(fences("backoff.rs", "fn f() { tokio::time::sleep(x); }").len(), 1);
    assert_eq!(fences("backoff.rs", "use ::rusqlite::Connection;").len(), 1);
    assert!(fences("backoff.rs", "fn f() { stdio.eprintln(); outprintln!(); }").is_empty());
}
