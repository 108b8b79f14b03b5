//! A new operator, with nothing but the page about installation: its commands are typed in their order on a booted Debian,
//! with only the names of this test in the place of the examples'.

use super::boot::Boot;
use super::package::can_be_packed;
use super::repository;

/// The page's blocks of commands in order, and whether each is typed on the approver's machine.
fn typed(page: &str) -> Vec<(bool, String)> {
    let mut blocks = Vec::new();
    let mut before = "";
    for (at, part) in page.split("```").enumerate() {
        if at % 2 == 0 {
            before = part;
        } else if let Some(commands) = part.strip_prefix("sh\n") {
            blocks.push((before.trim_end().ends_with("<!-- on the approver's machine -->"), commands.to_owned()));
        }
    }
    blocks
}

#[test]
fn a_new_operator_gets_the_mail_by_the_commands_of_the_page() {
    if !can_be_packed() {
        return;
    }
    let Some(mut boot) = Boot::fresh() else { return };
    let page = std::fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let mut blocks = 0;
    for (number, (is_approver, commands)) in typed(&page).into_iter().enumerate() {
        let commands = commands
            .replace("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k", authdrift::simulator::clerk::PUBLISHABLE_KEY)
            .replace("https://siem.example.com/hooks/authdrift", "https://localhost:8444/hook");
        let who = if is_approver { "approver" } else { "operator" };
        let name = format!("{number:02}-{who}");
        let path = boot.kept(&name, &commands);
        boot.file(&path, &format!("/opt/page/{name}:0644"));
        blocks += 1;
    }
    assert_eq!(blocks, 11, "operator.sh knows what follows each block");
    let said = boot.transcript(include_str!("operator.sh"));
    // The root is this machine's own under an overlay that is thrown away: to make another one takes the network.
    eprintln!("{said}\nThe root was an overlay of this machine's, without any trace of the program.");
}
