//! Keys that `ssh-keygen` cannot make by itself, in software: security keys, which it makes only with the hardware, and
//! RSA signatures with a hash of one's choice. What they sign is in `PROTOCOL.sshsig` and `PROTOCOL.u2f`.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const APPLICATION: &[u8] = b"ssh:";

/// What a security key says of itself when somebody touched it.
pub(crate) const TOUCHED: u8 = 1;

/// A private key.
pub(crate) enum Software {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    /// With the name of its hash.
    Rsa(Box<RsaKeyPair>, &'static str),
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A positive number: no needless zeros, and one where the first bit would mean a minus.
fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let sign: &[u8] = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    string(&[sign, bytes].concat())
}

impl Software {
    pub(crate) fn new(kind: &str) -> Self {
        match kind {
            "ed25519-sk" => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            "ecdsa-sk" => Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            "rsa-sha2-256" => Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa3072).unwrap()), "rsa-sha2-256"),
            "rsa-sha2-512" => Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa3072).unwrap()), "rsa-sha2-512"),
            other => panic!("no software key of type {other}"),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Self::Ecdsa(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
            Self::Rsa(..) => "ssh-rsa",
        }
    }

    fn wire(&self) -> Vec<u8> {
        let name = string(self.name().as_bytes());
        match self {
            Self::Ed25519(pair) => [name, string(pair.public_key().as_ref()), string(APPLICATION)].concat(),
            Self::Ecdsa(pair) => {
                [name, string(b"nistp256"), string(pair.public_key().as_ref()), string(APPLICATION)].concat()
            }
            Self::Rsa(pair, _) => {
                // RFC 8017: a sequence (4 bytes of header) of two integers, the modulus (4 bytes) and 65537.
                let der = pair.public_key().as_ref();
                let modulus = &der[8..8 + usize::from(der[6]) * 256 + usize::from(der[7])];
                [name, number(&[1, 0, 1]), number(modulus)].concat()
            }
        }
    }

    /// The line of a `.pub` file.
    pub(crate) fn public(&self) -> String {
        format!("{} {} software", self.name(), STANDARD.encode(self.wire()))
    }

    /// The signature before it is armoured. Only security keys have flags.
    pub(crate) fn blob(&self, namespace: &str, message: &[u8], flags: u8) -> Vec<u8> {
        let fields = [string(namespace.as_bytes()), string(b""), string(b"sha512")].concat();
        let data = [b"SSHSIG", fields.as_slice(), &string(digest(&SHA512, message).as_ref())].concat();
        let trailer = [flags, 0, 0, 0, 9];
        let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
        let on_security_key = [hash(APPLICATION), trailer.to_vec(), hash(&data)].concat();
        let (name, signature, trailer): (&str, Vec<u8>, &[u8]) = match self {
            Self::Ed25519(pair) => (self.name(), pair.sign(&on_security_key).as_ref().to_vec(), &trailer),
            Self::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), &on_security_key).unwrap();
                let (r, s) = signature.as_ref().split_at(32);
                (self.name(), [number(r), number(s)].concat(), &trailer)
            }
            Self::Rsa(pair, name) => {
                let rule = if *name == "rsa-sha2-256" { &RSA_PKCS1_SHA256 } else { &RSA_PKCS1_SHA512 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rule, &SystemRandom::new(), &data, &mut signature).unwrap();
                (name, signature, &[])
            }
        };
        let signature = [string(name.as_bytes()), string(&signature), trailer.to_vec()].concat();
        [b"SSHSIG\0\0\0\x01", string(&self.wire()).as_slice(), &fields, &string(&signature)].concat()
    }

    pub(crate) fn signature(&self, namespace: &str, message: &[u8], flags: u8) -> String {
        armoured(&self.blob(namespace, message, flags))
    }
}

/// A signature as `ssh-keygen` writes it.
pub(crate) fn armoured(blob: &[u8]) -> String {
    let mut text = String::new();
    for (at, character) in STANDARD.encode(blob).chars().enumerate() {
        if at > 0 && at % 70 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    format!("-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n")
}
