//! Scripts for Windows: what is in them. Nothing runs them here.

use std::fs;

use serde_json::json;

use crate::hub::Hub;
use crate::{enrolment, files, package, read, text};

#[test]
fn osquery_on_windows() {
    let hub = Hub::new("");
    let (id, secret) = enrolment(&hub, "osquery");
    let script = text(&package(&hub, &id, "ps1"));
    let dir = tempfile::tempdir().unwrap();
    let said = read("zip", &package(&hub, &id, "zip"), Some(dir.path()));
    let folder = dir.path().join("zentral-osquery-default");
    let wanted = ["README.txt", "install.ps1", "osquery.flags", "uninstall.ps1", "zentral-ca.pem", "zentral.secret"];
    assert_eq!(files(&folder), wanted);
    assert!(said.as_array().unwrap().iter().all(|f| f["date"] == json!([1980, 1, 1, 0, 0, 0])), "{said}");
    assert_eq!(text(&folder.join("zentral.secret")), format!("{secret}\n"));
    assert_eq!(text(&folder.join("zentral-ca.pem")), text(&hub.path("tls/ca.pem")).replace('\r', ""));
    let flags = text(&folder.join("osquery.flags"));
    for flag in [
        "--enroll_secret_path=@DIR@\\zentral.secret",
        "--tls_server_certs=@DIR@\\zentral-ca.pem",
        &format!("--tls_hostname=localhost:{}", hub.port),
    ] {
        assert!(flags.lines().any(|line| line == flag), "{flag} is missing: {flags}");
    }
    // One script holds what lies beside the other, each in a text that nothing in it can end.
    for (name, file) in [("flags", "osquery.flags"), ("secret", "zentral.secret"), ("authorities", "zentral-ca.pem")] {
        let inner = text(&folder.join(file));
        assert!(script.contains(&format!("${name} = @'\n{inner}'@\n")), "{name}");
        assert!(!inner.lines().any(|line| line.starts_with("'@")));
        let install = text(&folder.join("install.ps1"));
        assert!(install.contains(&format!("Join-Path $PSScriptRoot '{file}'")), "{install}");
        assert!(!install.contains(&secret));
    }
    // Without an authority none is named.
    fs::remove_file(hub.path("tls/ca.pem")).unwrap();
    let script = text(&package(&hub, &id, "ps1"));
    assert!(script.contains("$authorities = $null") && !script.contains("tls_server_certs"));
}
