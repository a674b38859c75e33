#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;

/// A certificate's frame; what is in it is of no matter here.
const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIBAAECAwQFBgcICQ==\n-----END CERTIFICATE-----\n";

fn request(agent: Agent) -> Request<'static> {
    Request {
        source: agent.name(),
        url: "https://hub.example.com:8443/z",
        authorities: Some(PEM.as_bytes()),
        enrolment: "0a1b2c3d4e",
        generation: 1,
        created: 1_795_430_000_123,
        unit: "berlin",
        secret: "zs1.0a1b2c3d4e.1.AbC-_9",
        signer: None,
    }
}

#[test]
fn each_agent_has_its_forms() {
    for agent in [Agent::Osquery, Agent::Munki, Agent::Santa] {
        for format in Format::ALL {
            match build(&request(agent), format) {
                Ok(made) => {
                    assert!(agent.formats().contains(&format), "{agent:?} {format:?}");
                    assert_eq!(made.name, format!("zentral-{}-berlin-0a1b2c3d4e.{}", agent.name(), format.name()));
                    let again = build(&request(agent), format).unwrap().bytes;
                    assert!(made.bytes == again, "same input, same bytes: {agent:?} {format:?}");
                }
                Err(error) => {
                    assert_eq!(error, Error::Form(agent, format));
                    assert!(error.to_string().contains("there is pkg, "), "{error}");
                }
            }
        }
        assert_eq!(Agent::of(agent.name()), Some(agent));
    }
    assert_eq!(Agent::of("jamf"), None);
    let no = build(&request(Agent::Osquery), Format::Mobileconfig).err().unwrap().to_string();
    assert_eq!(
        no,
        "there is no mobileconfig for osquery: osquery reads no profile; there is pkg, deb, rpm, sh, ps1, zip"
    );
}

#[test]
fn nothing_in_a_package_means_anything_to_a_shell() {
    for bad in ["", "a b", "a'b", "a\nb", "a$b", "é", "@URL@", &"a".repeat(300)] {
        let good = request(Agent::Osquery);
        for (request, what) in [
            (Request { enrolment: bad, ..good }, "the enrolment's id"),
            (Request { unit: bad, ..good }, "the unit"),
            (Request { secret: bad, ..good }, "the secret"),
        ] {
            assert_eq!(build(&request, Format::Sh).err(), Some(Error::Unfit(what)), "{bad:?}");
        }
    }
    for (change, wanted) in [
        (Request { source: "jamf", ..request(Agent::Santa) }, "there is no package for jamf"),
        (Request { url: "https://a'b", ..request(Agent::Santa) }, "`https://a'b` is no URL that names a host"),
        (Request { authorities: Some(b"none"), ..request(Agent::Santa) }, "holds no certificate"),
        (Request { created: -1_000, ..request(Agent::Santa) }, "the enrolment's time does not fit into a package"),
    ] {
        assert_eq!(build(&change, Format::Pkg).err().unwrap().to_string(), wanted);
    }
}

#[test]
fn every_place_of_a_template_is_filled() {
    for agent in [Agent::Osquery, Agent::Munki, Agent::Santa] {
        let request = request(agent);
        let order = Order::of(&request).unwrap();
        let contents = match agent {
            Agent::Osquery => osquery::contents(&order, Format::Deb),
            Agent::Munki => munki::contents(&order),
            Agent::Santa => santa::contents(&order),
        };
        let scripts = [contents.scripts.before, Some(contents.scripts.after), contents.scripts.removal];
        let files = contents.files.into_iter().map(|file| String::from_utf8(file.bytes).unwrap());
        let texts = [Format::Sh, Format::Ps1, Format::Mobileconfig].map(|format| {
            let made = build(&request, format).ok()?;
            Some(String::from_utf8(made.bytes).unwrap())
        });
        for text in files.chain(scripts.into_iter().flatten()).chain(texts.into_iter().flatten()) {
            for (at, _) in text.match_indices('@') {
                let word: String = text[at + 1..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
                let place = !word.is_empty() && text[at + 1 + word.len()..].starts_with('@');
                // These two are filled on the machine.
                assert!(!place || ["DIR", "HOOK"].contains(&word.as_str()), "@{word}@ in {text}");
            }
        }
    }
}
