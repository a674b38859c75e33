//! When a certificate expires. Of X.509 (RFC 5280 § 4.1) only the way to that one field is walked: no other is needed here.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Tags of DER (X.690).
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The first certificate of a PEM file: its last second, since 1970.
pub fn of_file(path: &Path) -> Result<i64, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let certificate = CertificateDer::from_pem_file(path).map_err(|e| wrong(&e))?;
    of(&certificate).ok_or_else(|| wrong(&"no certificate that tells when it expires"))
}

/// `notAfter` of a certificate.
fn of(certificate: &[u8]) -> Option<i64> {
    let (all, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(all, SEQUENCE)?;
    if let Some((_, behind)) = element(rest, VERSION) {
        rest = behind;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // serialNumber, signature, issuer
        rest = element(rest, tag)?.1;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, last) = time(validity)?;
    time(last).map(|(at, _)| at)
}

/// The contents of the element that begins here, if it has this tag, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A time: `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` after (§ 4.1.2.5).
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, century) = match element(der, UTC_TIME) {
        Some((text, rest)) => (text, rest, if *text.first()? < b'5' { "20" } else { "19" }),
        None => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, ""))?,
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let at = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    Some((at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second(), rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_last_second_of_certificates_of_two_forms_of_time() {
        let check = |year: i32, want: i64| {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 3, 4);
            let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("a.pem");
            std::fs::write(&file, made.pem()).unwrap();
            assert_eq!(of_file(&file), Ok(want));
            for end in 0..made.der().len() {
                assert!(end > 200 || of(made.der().get(..end).unwrap()).is_none(), "cut at {end}");
            }
        };
        check(2031, 1_930_348_800);
        check(2075, 3_318_883_200);
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.pem");
        assert!(of_file(&file).unwrap_err().contains("a.pem: "));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n").unwrap();
        assert!(of_file(&file).unwrap_err().ends_with("no certificate that tells when it expires"));
    }
}
