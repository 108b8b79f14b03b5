//! Requests to vendors and receivers through an HTTP proxy. What has to be reached has names that only the proxy knows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::common::certificates::make_certificates;
use crate::common::proxy::Proxy;
use crate::common::{Ran, Sandbox};

const PASSWORD: &str = "CANARY-proxy-password";

/// A sandbox whose vendor and webhook are behind a proxy that asks for a login, or for none.
async fn behind_a_proxy(login: Option<&str>) -> (Sandbox, Proxy) {
    let sandbox = Sandbox::new().await;
    make_certificates(&sandbox);
    let hosts = [("clerk.example.test", sandbox.clerk.url()), ("siem.example.test", sandbox.webhook.hook_url())];
    let hosts: Vec<(&str, &str)> = hosts.iter().map(|(name, url)| (*name, url.as_str())).collect();
    let login = login.map(|login| STANDARD.encode(login));
    let proxy = Proxy::start(&sandbox, &hosts, login.as_deref()).await;
    (sandbox, proxy)
}

/// Writes the configuration with this beginning.
fn configure(sandbox: &Sandbox, network: &str) {
    let vendor = sandbox.clerk_table().replace(&sandbox.clerk.url(), "https://clerk.example.test");
    let receivers = sandbox.receiver_tables().replace(&sandbox.webhook.hook_url(), "https://siem.example.test/hooks");
    sandbox.write("config.toml", &format!("{network}{}{vendor}{receivers}", sandbox.head()));
}

async fn run(sandbox: &Sandbox, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = sandbox.command();
    command.env("SSL_CERT_FILE", sandbox.path("ca.pem")).envs(variables.iter().copied()).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

async fn approve(sandbox: &Sandbox, variables: &[(&str, &str)]) {
    let key = sandbox.path("alice").display().to_string();
    let words = ["approve", "prod", "--all", "--accept-weaker", "--reason", "test", "--key", &key];
    run(sandbox, variables, &words).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn vendors_and_receivers_are_reached_through_the_proxy_and_mail_is_not() {
    let (sandbox, proxy) = behind_a_proxy(Some(&format!("watch:{PASSWORD}"))).await;
    configure(&sandbox, "[network]\nproxy = { file = \"proxy\" }\n");
    sandbox.write("proxy", &format!("http://watch:{PASSWORD}@127.0.0.1:{}\n", proxy.port));
    let said = [
        run(&sandbox, &[], &["config", "check"]).await.expect(0),
        run(&sandbox, &[], &["check", "--json"]).await.expect(13),
    ];
    approve(&sandbox, &[]).await;
    sandbox.clerk.edit("/v1/jwt_templates", |templates| templates[0]["lifetime"] = 3600.into());
    let checked = run(&sandbox, &[], &["check", "--json"]).await.expect(10);
    assert_eq!(proxy.asked_for(), ["clerk.example.test:443", "siem.example.test:443"]);
    assert!(!sandbox.webhook.deliveries().is_empty() && !sandbox.smtp.mails().is_empty());

    let doctor = run(&sandbox, &[], &["doctor", "-v"]).await;
    let address = format!("through the proxy http://127.0.0.1:{}", proxy.port);
    assert!(doctor.out.contains(&address), "{}", doctor.out);
    let database = std::fs::read(sandbox.database()).unwrap();
    for text in said.iter().chain([&checked, &doctor]).flat_map(|ran| [&ran.out, &ran.err]) {
        assert!(!text.contains("CANARY"), "{text}");
    }
    assert!(!database.windows(6).any(|bytes| bytes == b"CANARY"), "the password is in the database");

    // Another password is read for the next request, and what the proxy says is told without it.
    sandbox.write("proxy", &format!("http://watch:{PASSWORD}-old@127.0.0.1:{}\n", proxy.port));
    let refused = run(&sandbox, &[], &["receivers", "test", "siem"]).await.expect(74);
    let text = format!("{}{}", refused.out, refused.err);
    assert!(text.contains(&address) && text.contains("authorization required") && !text.contains("CANARY"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_proxy_unless_the_configuration_does() {
    let (sandbox, proxy) = behind_a_proxy(None).await;
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let sample = ["receivers", "test", "siem"];
    configure(&sandbox, "");
    run(&sandbox, &[("HTTPS_PROXY", &address)], &["check", "prod"]).await.expect(13);
    run(&sandbox, &[("https_proxy", &address)], &sample).await.expect(0);
    let except = [("HTTPS_PROXY", address.as_str()), ("NO_PROXY", "other.test, example.test")];
    run(&sandbox, &except, &sample).await.expect(74);
    // Nothing listens there.
    let dead = [("HTTPS_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "*")];
    configure(&sandbox, &format!("[network]\nproxy = \"{address}\"\n"));
    run(&sandbox, &dead, &sample).await.expect(0);
    configure(&sandbox, "[network]\nproxy = \"none\"\n");
    run(&sandbox, &[("HTTPS_PROXY", &address)], &sample).await.expect(74);
    configure(&sandbox, &format!("[network]\nproxy = \"{address}\"\nno_proxy = [\"example.test\"]\n"));
    run(&sandbox, &[], &sample).await.expect(74);
    assert_eq!(proxy.asked_for(), ["clerk.example.test:443", "siem.example.test:443"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_proxy_is_refused_with_its_place() {
    let sandbox = Sandbox::new().await;
    let with =
        |network: &str| sandbox.write("config.toml", &format!("{network}{}{}", sandbox.head(), sandbox.clerk_table()));
    for (network, said) in [
        ("[network]\nproxy = \"socks5://proxy:1080\"\n", "has to begin with 'http://' or 'https://'"),
        ("[network]\nproxy = \"http://me:CANARY@proxy:3128\"\n", "must not hold a user name or password"),
        ("[network]\nproxy = \"http://proxy/CANARY\"\n", "must not have anything after host and port"),
        ("[network]\nproxy = 3128\n", "'proxy'"),
        ("[network]\nproxi = \"http://proxy\"\n", "did you mean 'proxy'"),
        ("[network]\nproxy = \"http://proxy\"\nno_proxy = [\"*.example.com\"]\n", "'*.example.com' in 'no_proxy'"),
        ("[network]\nno_proxy = [\"example.com\"]\n", "only with a 'proxy'"),
    ] {
        with(network);
        let ran = sandbox.run(&["config", "check"]).await.expect(78);
        assert!(ran.err.contains(said) && ran.err.contains("config.toml:"), "{network}: {}", ran.err);
        assert!(!ran.err.contains("CANARY"), "{}", ran.err);
    }
    with("");
    for value in ["socks5://me:CANARY@proxy:1080", "http://pro xy", "http://me:CANARY@proxy/path"] {
        let ran = run(&sandbox, &[("HTTPS_PROXY", value)], &["check"]).await.expect(78);
        assert!(ran.err.contains("the variable HTTPS_PROXY") && !ran.err.contains("CANARY"), "{}", ran.err);
    }
    // What is configured counts before it, right or wrong.
    with("[network]\nproxy = \"none\"\n");
    run(&sandbox, &[("HTTPS_PROXY", "socks5://proxy:1080")], &["config", "check"]).await.expect(0);
}
