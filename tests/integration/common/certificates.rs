//! A certificate authority of the test's own.

use std::process::{Command, Stdio};

use super::Sandbox;

/// Makes `ca.pem`, and `server.pem` with `server.key` for `localhost` and every name of `example.test`.
pub fn make_certificates(sandbox: &Sandbox) {
    let run = |arguments: &str| {
        let folder = sandbox.path("");
        let made =
            Command::new("openssl").args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
        assert!(made.expect("these tests need openssl").success(), "openssl {arguments}");
    };
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    run(&format!(
        "{new} -x509 -days 2 -subj /CN=Test-CA -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign"
    ));
    run(&format!("{new} -subj /CN=localhost -keyout server.key -out server.csr"));
    let names = "DNS:localhost,DNS:*.example.test";
    let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n");
    sandbox.write("extensions", &extensions);
    run(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem",
    );
}
