//! Certificates: what is compared is the certificate, not how it is written.
//!
//! Vendors give back what was pasted: PEM with any line breaks and headers, base64 of the certificate or of its PEM in either
//! alphabet, hex, or a `data:` address of any of them.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::model::Digest;

/// Shorter texts hold no certificate.
const SHORTEST: usize = 100;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What stands for the certificate, or the certificates, that `text` is: digest of the DER, subject and end. None if it
/// is anything else.
pub(crate) fn certificates(text: &str) -> Option<Value> {
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
    let text = match text.strip_prefix("data:") {
        Some(address) => address.split_once(',')?.1.trim(),
        None => text,
    };
    if let Some(der) = of_hex(text) {
        return stand_in(&der);
    }
    // The base64 of DER and of PEM begin so.
    let may_be_base64 = ["MI", "LS0t"].iter().any(|start| text.starts_with(start));
    if text.len() < SHORTEST || !(may_be_base64 || text.contains("-----BEGIN ")) {
        return None;
    }
    if !may_be_base64 {
        return of_pem(text);
    }
    let bytes = decoded(text)?;
    match std::str::from_utf8(&bytes).ok().filter(|inner| inner.contains("-----BEGIN ")) {
        Some(pem) => of_pem(pem),
        None => stand_in(&bytes),
    }
}

/// The one form of a secret text, however a certificate in it is written: only its fingerprint is kept.
pub(super) fn undressed(text: String) -> Value {
    let certificates = certificates(&text).or_else(|| {
        let body = text.trim().strip_prefix("-----BEGIN PKCS7-----")?.strip_suffix("-----END PKCS7-----")?;
        Some(json!({ "pkcs7": Digest::of(&decoded(body)?) }))
    });
    certificates.unwrap_or(Value::String(text))
}

/// The bytes of hex digits, with or without something between them. Each certificate begins with 30 8.
fn of_hex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    if text.len() < 2 * SHORTEST || !text.starts_with("30") {
        return None;
    }
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b':';
    let digits = text.bytes().filter(|byte| !is_between(byte)).map(|byte| char::from(byte).to_digit(16));
    let digits: Vec<u32> = digits.collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().filter_map(|[high, low]| u8::try_from(high * 16 + low).ok());
    rest.is_empty().then(|| bytes.collect())
}

/// The certificates of a PEM file, in their order. None when it holds anything else, such as a private key.
fn of_pem(text: &str) -> Option<Value> {
    // Written by a program that escaped the line breaks once more.
    let text = text.replace("\\r", "\r").replace("\\n", "\n");
    let mut found = Vec::new();
    for block in text.split("-----BEGIN ").skip(1) {
        let (label, rest) = block.split_once("-----")?;
        if !["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"].contains(&label) {
            return None;
        }
        let (body, _) = rest.split_once("-----END ")?;
        // Headers have a colon, which base64 has not.
        let body: String = body.split(['\r', '\n']).filter(|line| !line.contains(':')).collect();
        found.push(stand_in(&decoded(&body)?)?);
    }
    found.dedup();
    match found.len() {
        0 => None,
        1 => found.pop(),
        _ => Some(Value::Array(found)),
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(standard).collect();
    BASE64.decode(digits).ok()
}

fn stand_in(der: &[u8]) -> Option<Value> {
    let certificate = Certificate::from_der(der).ok()?.tbs_certificate;
    let until = certificate.validity.not_after.to_unix_duration().as_secs();
    let until = DateTime::from_timestamp(i64::try_from(until).ok()?, 0)?;
    Some(json!({
        "certificate": Digest::of(der),
        "subject": certificate.subject.to_string(),
        "until": until.to_rfc3339_opts(SecondsFormat::Secs, true),
    }))
}

/// Whether `value` stands for a certificate.
pub(super) fn is_certificate(value: &Value) -> bool {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    value.as_object().is_some_and(|fields| fields.len() == 3)
        && text("certificate").is_some_and(|digest| digest.starts_with("sha256:"))
        && text("subject").is_some()
        && text("until").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `CN=idp.example`, made for this test; its key is gone.
    const DER: &str = include_str!("certificate/idp.example.b64");

    fn wrapped(width: usize, end: &str) -> String {
        let digits: String = DER.split_whitespace().collect();
        let lines: Vec<&str> = digits.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
        lines.join(end)
    }

    #[test]
    fn one_certificate_is_one_value_in_every_dress() {
        let plain = certificates(&wrapped(10_000, "")).unwrap();
        assert_eq!(plain["subject"], "CN=idp.example,O=Example");
        assert_eq!(plain["until"], "2036-11-27T22:48:56Z");
        assert!(is_certificate(&plain));
        let pem = |width, end: &str| {
            format!("-----BEGIN CERTIFICATE-----{end}{}{end}-----END CERTIFICATE-----", wrapped(width, end))
        };
        let der = base64::engine::general_purpose::STANDARD.decode(wrapped(10_000, "")).unwrap();
        let hex = |between: &str| {
            let pairs: Vec<String> = der.iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.join(between)
        };
        let again = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let dresses = [
            wrapped(64, "\n"),
            wrapped(64, "\r\n") + "\r\n",
            wrapped(10_000, "").trim_end_matches('=').to_owned(),
            pem(64, "\n"),
            pem(76, "\r\n") + "\n\n",
            pem(10_000, ""),
            pem(64, "\\n"),
            format!("Bag Attributes\n  friendlyName: idp\n{}", pem(64, "\n")),
            again(&pem(64, "\n")),
            pem(64, "\n") + "\n" + &pem(76, "\r\n"),
            pem(64, "\n").replace("CERTIFICATE", "X509 CERTIFICATE"),
            pem(64, "\r"),
            pem(64, " \t\n"),
            pem(64, "\n").replacen("-----\n", "-----\nProc-Type: 4,CLEAR\nComment: idp\n\n", 1),
            format!("\u{feff}{}", pem(64, "\n")),
            wrapped(10_000, "").replace('+', "-").replace('/', "_"),
            wrapped(10_000, "").replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned(),
            again(&pem(64, "\n")).replace('+', "-").replace('/', "_"),
            hex(""),
            hex("").to_uppercase(),
            hex(":"),
            hex(" "),
            format!("data:application/x-x509-ca-cert;base64,{}", wrapped(10_000, "")),
            format!("data:application/x-pem-file;base64,{}", again(&pem(64, "\n"))),
        ];
        for dress in dresses {
            assert_eq!(certificates(&dress).as_ref(), Some(&plain), "{dress}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", wrapped(64, "\n"));
        let table = [
            String::new(),
            "MI".to_owned(),
            "MI".repeat(200),
            pem.replace("MI", "M!"),
            pem.replace("-----END", "-----ENT"),
            pem.clone() + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            pem.replace("CERTIFICATE", "PUBLIC KEY"),
            wrapped(10_000, "") + "AAAA",
            "30".repeat(300),
            "308".repeat(301),
            format!("data:text/plain,{}", "x".repeat(300)),
            format!("data:{}", "x".repeat(300)),
        ];
        for text in table {
            assert_eq!(certificates(&text), None, "{text}");
        }
    }
}
