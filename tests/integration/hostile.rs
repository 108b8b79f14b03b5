//! Names that an attacker chose, on every way out: terminal, mail, webhook and chats.

use crate::chat::{Chat, Receiver};
use serde_json::{Value, json};

use crate::common::Sandbox;

/// Text that tries to run, to colour, to break the line, to turn it around, to call everybody, to link and to compute.
const EVIL: &str = "=cmd()<img src=x onerror=alert(1)>\u{1b}[31m\r\nBcc: a@b.example\u{202e}gnp\u{7} <!channel> @everyone \
                    `[x](http://evil.example)` \u{9b}31m\u{7f}";

/// Characters that would act on a terminal or in a log.
fn acts(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{feff}')
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_hostile_names_are_inert_on_every_way_out() {
    let sandbox = Sandbox::approved().await;
    let chats = [
        ("slack", Receiver::start(Chat::Slack).await.unwrap()),
        ("teams", Receiver::start(Chat::Teams).await.unwrap()),
        ("discord", Receiver::start(Chat::Discord).await.unwrap()),
    ];
    let mut tables = String::new();
    for (kind, receiver) in &chats {
        sandbox.write(&format!("{kind}-url"), &receiver.hook_url());
        tables.push_str(&format!(
            "[[{kind}]]\nname = \"{kind}\"\nurl = {{ file = \"{kind}-url\" }}\nmin_severity = \"info\"\n"
        ));
    }
    sandbox.write("config.toml", &(sandbox.configuration() + &tables));
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!([EVIL]));
    sandbox.clerk.edit("/v1/jwt_templates", |templates| {
        let all = templates.as_array_mut().unwrap();
        let mut evil = all[0].clone();
        evil["id"] = json!("jtmp_evil");
        evil["name"] = json!(EVIL);
        evil["claims"] = json!({ EVIL: EVIL });
        all.push(evil);
    });
    sandbox.run(&["-vv", "check", "prod"]).await.expect(10);
    let checked = sandbox.run(&["-vv", "check", "prod"]).await.expect(10);
    let report = sandbox.check_one("prod", 10).await;
    let mut said = vec![checked];
    for drift in report["drifts"].as_array().unwrap() {
        said.push(sandbox.run(&["show", drift["id"].as_str().unwrap()]).await.expect(0));
    }
    for command in [&["status"][..], &["diff", "prod"], &["history", "prod"], &["receivers", "list"], &["verify"]] {
        said.push(sandbox.run(command).await);
    }
    let id = report["drifts"][0]["id"].as_str().unwrap();
    for command in [
        &["check", "prod"][..],
        &["status"],
        &["diff", "prod"],
        &["diff", "prod", "--format", "json-patch"],
        &["history", "prod"],
        &["show", id],
        &["receivers", "list"],
        &["outbox", "list"],
        &["verify"],
    ] {
        let is_patch = command.contains(&"--format");
        let json = if is_patch { command.to_vec() } else { [command, &["--json"]].concat() };
        let ran = sandbox.run(&json).await;
        // It is the same value: what acts is escaped.
        assert!(command[0] != "check" || ran.json().to_string().contains('\u{9b}'), "{}", ran.out);
        said.push(ran);
    }
    let all: String = said.iter().map(|ran| format!("{}{}", ran.out, ran.err)).collect();
    assert!(all.contains("=cmd()<img"), "the name is shown");
    for ran in &said {
        assert_eq!((acts(&ran.out), acts(&ran.err)), (None, None), "{ran:?}");
        assert!(!ran.out.lines().chain(ran.err.lines()).any(|line| line.starts_with("Bcc:")), "{ran:?}");
    }

    let mails = sandbox.smtp.mails();
    let mail = mails.last().unwrap();
    assert!(mail.header("Bcc").is_none());
    assert!(mail.header("Subject").unwrap().chars().all(|c| matches!(c, ' '..='~')));
    let (text, html) = (mail.text().unwrap().replace("\r\n", "\n"), mail.html().unwrap().replace("\r\n", "\n"));
    assert_eq!((acts(&text), acts(&html)), (None, None));
    assert!(text.contains("=cmd()<img") && html.contains("=cmd()") && !html.contains("<img"));

    let hook = sandbox.webhook.deliveries().pop().unwrap();
    assert!(!hook.request.body.iter().any(u8::is_ascii_control), "JSON keeps them from the wire");
    assert!(hook.json()["data"].to_string().contains("=cmd()"));

    for (kind, receiver) in &chats {
        let taken = receiver.taken();
        let body = taken.last().unwrap_or_else(|| panic!("{kind} took nothing: {:?}", receiver.requests())).to_string();
        assert!(body.contains("=cmd()"), "{kind}: {body}");
        assert_eq!(acts(&body), None, "{kind}");
    }
    let slack = chats[0].1.taken().pop().unwrap().to_string();
    assert!(!slack.contains("<!channel>") && !slack.contains("<img"), "{slack}");
    assert_eq!(chats[2].1.taken().pop().unwrap()["allowed_mentions"], json!({ "parse": [] }));
}

/// Lists within lists, so many levels.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_nesting_poisons_the_store() {
    let sandbox = Sandbox::approved().await;
    let section = |report: &Value, name: &str| {
        let sections = report["sections"].as_array().unwrap();
        sections.iter().find(|read| read["section"] == name).unwrap().clone()
    };
    for levels in [60, 61, 63, 64, 123, 126] {
        let told = sandbox.webhook.deliveries().len();
        sandbox.clerk.edit("/v1/jwt_templates", |templates| {
            templates[0]["claims"] = json!({ "deep": nested(levels) });
        });
        sandbox.clerk.edit("/v1/instance", |instance| {
            instance["allowed_origins"] = json!([format!("https://{levels}.example")])
        });
        sandbox.auth0.edit("/api/v2/tenants/settings", |settings| settings["deep"] = nested(levels));
        let report = sandbox.check().await.expect(10).json();
        let (clerk, auth0) = (Sandbox::report(&report, "clerk:prod"), Sandbox::report(&report, "auth0:acme"));
        // A template is a member of the list of a page, with claims in it: three levels of its own. The others stay watched.
        let templates = section(clerk, "jwt_templates");
        assert_eq!((&templates["state"], templates["blind"] == true), (&json!("value"), levels + 3 > 64), "{levels}");
        let expected = if levels < 64 { "value" } else { "unreachable" };
        assert_eq!(section(auth0, "tenants.settings")["state"], expected, "{levels}");
        let origins = ("added".to_owned(), "/instance/allowed_origins".to_owned());
        assert!(Sandbox::drifts(&report, "clerk:prod").contains(&origins), "{levels}");
        assert!(sandbox.webhook.deliveries().len() > told, "{levels}: nobody was told");
        sandbox.run(&["verify"]).await.expect(0);
    }
    let outbox = sandbox.run(&["outbox", "list", "--json"]).await.expect(0).json();
    assert!(!outbox.to_string().contains("dead"), "{outbox}");
    for name in ["prod", "acme"] {
        sandbox.approve(name).await;
    }
    sandbox.run(&["verify"]).await.expect(0);
}
