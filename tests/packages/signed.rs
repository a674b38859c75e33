//! Installers that are signed: openssl and a few lines of Python say whether the signature is one, and nothing else is.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::{enrolment, package, ran, read};
use crate::hub::Hub;

/// `[packages]` as people write it.
const SIGN: &str = "[packages]\nsign = { cert = \"sign.pem\", key = { file = \"sign.key\" } }\n";

/// A key of openssl's.
fn key(words: &[&str]) -> String {
    let out = Command::new("openssl").arg("genpkey").args(words).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn rsa(bits: u32) -> String {
    key(&["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")])
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A root, one below it, and who signs, of that purpose and until that year: chain, root, key; all PEM.
struct Signer {
    chain: String,
    root: String,
    key: String,
}

fn signer(purpose: ExtendedKeyUsagePurpose, until: i32) -> Signer {
    let authority = |name: &str| {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, middle_key, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), rsa(2048));
    let root = authority("Root & Sons").self_signed(&root_key).unwrap();
    let above = Issuer::new(authority("Root & Sons"), &root_key);
    let middle = authority("Middle").signed_by(&middle_key, &above).unwrap();
    let mut leaf = params("Installers <of> Ada");
    leaf.extended_key_usages = vec![purpose];
    leaf.not_after = rcgen::date_time_ymd(until, 3, 4);
    let below = Issuer::new(authority("Middle"), &middle_key);
    let leaf = leaf.signed_by(&KeyPair::from_pem(&own).unwrap(), &below).unwrap();
    Signer { chain: leaf.pem() + &middle.pem(), root: root.pem(), key: own }
}

fn put(hub: &Hub, chain: &str, key: &str) {
    fs::write(hub.path("sign.pem"), chain).unwrap();
    fs::write(hub.path("sign.key"), key).unwrap();
}

fn openssl(folder: &Path, words: &[&str]) -> String {
    ran(&Command::new("openssl").current_dir(folder).args(words).output().unwrap())
}

#[test]
fn a_signature_is_openssls_and_holds_for_no_other_bytes() {
    let hub = Hub::new(SIGN);
    let Signer { chain, root, key } = signer(ExtendedKeyUsagePurpose::CodeSigning, 2099);
    put(&hub, &chain, &key);
    for source in ["osquery", "munki", "santa"] {
        let (id, _) = enrolment(&hub, source);
        let file = package(&hub, &id, "pkg");
        let bytes = fs::read(&file).unwrap();
        assert!(bytes == fs::read(package(&hub, &id, "pkg")).unwrap(), "same input, same bytes");
        // What is in it is what is in one that is not signed.
        read("pkg", &file, Some(&hub.path(&format!("{source}-files"))));
        let folder = hub.path(&format!("{source}-signed"));
        let parts = read("signed", &file, Some(&folder));
        assert_eq!(parts, serde_json::json!(["0.der", "1.der", "signature", "table"]), "the chain as it was given");
        fs::write(folder.join("root.pem"), &root).unwrap();
        for one in ["0", "1"] {
            openssl(&folder, &["x509", "-inform", "DER", "-in", &format!("{one}.der"), "-out", &format!("{one}.pem")]);
        }
        openssl(&folder, &["x509", "-in", "0.pem", "-pubkey", "-noout", "-out", "public.pem"]);
        let told = openssl(&folder, &["dgst", "-sha1", "-verify", "public.pem", "-signature", "signature", "table"]);
        assert!(told.contains("Verified OK"), "{told}");
        openssl(&folder, &["verify", "-CAfile", "root.pem", "-untrusted", "1.pem", "0.pem"]);
        let modulus = openssl(&folder, &["x509", "-in", "0.pem", "-modulus", "-noout"]);
        let modulus = modulus.trim().strip_prefix("Modulus=").unwrap();
        let tried = read("forged", &file, Some(Path::new(modulus)));
        assert_eq!(tried.as_u64().unwrap(), bytes.len() as u64);
        // Only installers of macOS are signed.
        if source != "osquery" {
            assert!(fs::read_to_string(package(&hub, &id, "mobileconfig")).unwrap().starts_with("<?xml"));
        }
    }
    let check = hub.run(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success() && !said.contains("sign.pem") && !said.contains("packages.sign"), "{check:?}");
}

#[test]
fn what_does_not_fit_is_told_with_its_file() {
    let mut hub = Hub::new(SIGN);
    let (id, _) = enrolment(&hub, "santa");
    let good = signer(ExtendedKeyUsagePurpose::CodeSigning, 2099);
    let (leaf, middle) = good.chain.split_at(good.chain.find("-----END CERTIFICATE-----\n").unwrap() + 26);
    let over = signer(ExtendedKeyUsagePurpose::CodeSigning, 2021);
    let small = rsa(1024);
    let elliptic = key(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let long = leaf.repeat(11);
    for (chain, key, file, wanted) in [
        (good.chain.as_str(), over.key.as_str(), "sign.key", "is not the key of the certificate"),
        (&good.chain, &small, "sign.key", "has 1024 bits; it takes 2048"),
        (&good.chain, &elliptic, "sign.key", "is no RSA key"),
        (&good.chain, leaf, "sign.key", "holds no private key in PEM"),
        (&good.key, &good.key, "sign.pem", "holds no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n",
            &good.key,
            "sign.pem",
            "no certificate: ",
        ),
        (&format!("{middle}{leaf}"), &good.key, "sign.pem", "certificate 1 is not issued by the one after it"),
        (&long, &good.key, "sign.pem", "holds more than 10 certificates"),
        (&over.chain, &over.key, "sign.pem", "the certificate expired on 2021-03-04"),
    ] {
        put(&hub, chain, key);
        let out = hub.run(&["enrol", "package", &id, "--format", "pkg"]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && out.stdout.is_empty(), "{wanted}: {said}");
        assert!(said.contains(wanted) && said.contains(&format!("/{file}: ")), "{wanted}: {said}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!said.contains(secret), "the key is not told");
        // The hub runs on, so `check` warns, at the key of the table.
        let check = hub.run(&["check"]);
        let told = String::from_utf8_lossy(&check.stdout);
        let place = format!("packages.sign.{}", if file == "sign.key" { "key" } else { "cert" });
        assert!(check.status.success() && told.contains("\"warning\""), "{told}");
        assert!(told.contains(&place) && told.contains(wanted) && !told.contains(secret), "{wanted}: {told}");
        // Other forms are made all the same.
        assert!(hub.run(&["enrol", "package", &id, "--format", "sh"]).status.success());
    }
    // What macOS may refuse is signed, and said.
    let server = signer(ExtendedKeyUsagePurpose::ServerAuth, 2099);
    for (chain, key, wanted) in [
        (leaf, &good.key, "the certificate stands alone"),
        (&server.chain, &server.key, "the certificate is not for installers"),
    ] {
        put(&hub, chain, key);
        read("signed", &package(&hub, &id, "pkg"), Some(&hub.path(wanted)));
        let told = String::from_utf8(hub.run(&["check"]).stdout).unwrap();
        assert!(told.contains(wanted) && told.contains("packages.sign.cert"), "{told}");
    }
    fs::remove_file(hub.path("sign.pem")).unwrap();
    let told = String::from_utf8(hub.run(&["check"]).stdout).unwrap();
    assert!(told.contains("sign.pem: No such file"), "{told}");

    // A key of the environment, and one that is taken for a file.
    let file = hub.path("pipeline.toml");
    let text = fs::read_to_string(&file).unwrap();
    put(&hub, &good.chain, "");
    fs::write(&file, text.replace("{ file = \"sign.key\" }", "{ env = \"SIGN_KEY\" }")).unwrap();
    let told = String::from_utf8(hub.run(&["check"]).stdout).unwrap();
    assert!(told.contains("the environment variable SIGN_KEY is not set"), "{told}");
    hub.env("SIGN_KEY", &good.key);
    read("signed", &package(&hub, &id, "pkg"), Some(&hub.path("by-variable")));
    fs::write(&file, text.replace("{ file = \"sign.key\" }", "\"sign.key\"")).unwrap();
    let told = String::from_utf8(hub.run(&["check"]).stdout).unwrap();
    assert!(told.contains("the text is taken for the key itself (a file is { file = "), "{told}");
    fs::write(&file, text.replace(", key = { file = \"sign.key\" }", "")).unwrap();
    let out = hub.run(&["check"]);
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.code() == Some(1) && told.contains("needs the key `key`"), "{told}");
}
