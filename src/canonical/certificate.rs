//! Certificates: what is compared is the certificate, not how it is written.
//!
//! Vendors give back what was pasted: PEM with any line breaks, base64 of the certificate, or base64 of its PEM.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::to_bytes;
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
    let text = text.trim();
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

/// The certificates of a PEM file, in any order. None when it holds anything else, such as a private key.
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
        found.push(stand_in(&decoded(body)?)?);
    }
    found.sort_by_cached_key(to_bytes);
    found.dedup();
    match found.len() {
        0 => None,
        1 => found.pop(),
        _ => Some(Value::Array(found)),
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
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
        ];
        for text in table {
            assert_eq!(certificates(&text), None, "{text}");
        }
    }
}
