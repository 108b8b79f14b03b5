//! Numbers of things in words.

/// `1 setting`, `2 settings`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

/// `noun` for `count` things.
pub fn plural(count: usize, noun: &str) -> String {
    match (count, noun) {
        (1, _) => noun.to_owned(),
        (_, "person") => "people".to_owned(),
        _ => format!("{noun}s"),
    }
}
