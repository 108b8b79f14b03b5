//! Whatever the text is, it gives a configuration or problems.

use proptest::prelude::*;

use super::*;

/// Pieces that make text more like a configuration than chance does.
fn piece() -> impl Strategy<Value = String> {
    let pieces = vec![
        "[[clerk]]\n",
        "[[auth0]]\n",
        "[schedule]\n",
        "[store.path]\n",
        "[[email.to]]\n",
        "name = ",
        "secret_key",
        " = ",
        "\"",
        "'''",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        "cron = \"* * * * *\"",
        "confirm_after = \"99999999999999999y\"",
        "instances = [\"",
        "ü",
        "\u{feff}",
        "\r\n",
        "#",
        ".",
        "a@b",
        "0x_7f",
        "-9223372036854775809",
        "timezone = \"é\"",
        "url = \"http://[::",
        "publishable_key = \"pk_live_",
        "to = [[1]]",
        "\\u0000",
    ];
    prop_oneof![4 => proptest::sample::select(pieces).prop_map(str::to_owned), 1 => ".{0,8}"]
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration_or_problems(text in proptest::collection::vec(piece(), 0..40)) {
        let text = text.concat();
        if let Err(problems) = load(&text) {
            prop_assert!(problems.len() > 0);
            prop_assert!(problems.to_string().contains("/etc/authdrift/config.toml:"));
        }
    }

    #[test]
    fn a_damaged_example_gives_the_same(at in 0..EXAMPLE.len(), length in 0_usize..40, with in "\\PC{0,3}") {
        let start = EXAMPLE.floor_char_boundary(at);
        let end = EXAMPLE.floor_char_boundary((at + length).min(EXAMPLE.len()));
        let text = format!("{}{with}{}", &EXAMPLE[..start], &EXAMPLE[end..]);
        if let Err(problems) = load(&text) {
            prop_assert!(problems.len() > 0 && !problems.to_string().is_empty());
        }
    }
}
