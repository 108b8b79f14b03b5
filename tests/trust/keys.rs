//! Throw-away keys and signatures, made and checked by the real `ssh-keygen`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;

use authdrift::trust::{NAMESPACE, SignedStatement};
use tempfile::TempDir;

/// A folder of keys without passphrases, deleted with its last user.
#[derive(Clone)]
pub(crate) struct Keys {
    folder: Rc<TempDir>,
}

/// Says loudly that a test did not run.
pub(crate) fn skipped() {
    eprintln!("SKIPPED: ssh-keygen is not installed, so signatures were NOT tested");
}

impl Keys {
    /// `None` where there is no `ssh-keygen`.
    pub(crate) fn new() -> Option<Self> {
        Command::new("ssh-keygen").arg("-?").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        Some(Self { folder: Rc::new(TempDir::new().unwrap()) })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Runs `ssh-keygen` in the folder, with a file as its input.
    fn run(&self, arguments: &[&str], input: Option<&str>) -> Output {
        let input = input.map_or_else(Stdio::null, |name| fs::File::open(self.path(name)).unwrap().into());
        Command::new("ssh-keygen").args(arguments).current_dir(self.folder.path()).stdin(input).output().unwrap()
    }

    fn run_well(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments, None);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// `ed25519`, `ecdsa`, `rsa-3072` and so on.
    pub(crate) fn generate(&self, name: &str, kind: &str) {
        let (kind, bits) = kind.split_once('-').unwrap_or((kind, "256"));
        self.run_well(&["-q", "-t", kind, "-b", bits, "-N", "", "-C", name, "-f", name]);
    }

    /// The line of the `.pub` file.
    pub(crate) fn public(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim_end().to_owned()
    }

    /// What `ssh-keygen -l` says of a key.
    pub(crate) fn listing(&self, name: &str) -> String {
        String::from_utf8(self.run_well(&["-l", "-f", name])).unwrap()
    }

    /// A KRL made from lines of `KEY REVOCATION LISTS` in ssh-keygen(1), or from public keys.
    pub(crate) fn krl(&self, specification: &str) -> Vec<u8> {
        self.write("specification", format!("{specification}\n"));
        self.run_well(&["-q", "-k", "-f", "krl", "specification"]);
        fs::read(self.path("krl")).unwrap()
    }

    /// The same with lines about the certificates of a CA.
    pub(crate) fn krl_of_ca(&self, ca: &str, specification: &str) -> Vec<u8> {
        self.write("specification", format!("{specification}\n"));
        self.run_well(&["-q", "-k", "-f", "krl", "-s", &format!("{ca}.pub"), "specification"]);
        fs::read(self.path("krl")).unwrap()
    }

    pub(crate) fn signed(&self, key: &str, namespace: &str, statement: Vec<u8>) -> SignedStatement {
        let _ = fs::remove_file(self.path("statement.sig"));
        self.write("statement", &statement);
        self.run_well(&["-q", "-Y", "sign", "-f", key, "-n", namespace, "statement"]);
        SignedStatement { statement, signature: fs::read_to_string(self.path("statement.sig")).unwrap() }
    }

    /// What `ssh-keygen -Y verify` says.
    pub(crate) fn verify(
        &self,
        signed: &SignedStatement,
        principal: &str,
        at: &str,
        signers: impl AsRef<[u8]>,
        revoked: &[u8],
    ) -> bool {
        self.write("allowed_signers", signers);
        self.write("revoked_keys", revoked);
        self.write("statement", &signed.statement);
        self.write("statement.sig", &signed.signature);
        let time = format!("-Overify-time={}Z", at.replace(['-', ':', 'T', 'Z'], ""));
        let files = ["-f", "allowed_signers", "-r", "revoked_keys", "-s", "statement.sig"];
        let arguments = [["-Y", "verify", &time, "-n", NAMESPACE, "-I", principal].as_slice(), &files].concat();
        self.run(&arguments, Some("statement")).status.success()
    }
}
