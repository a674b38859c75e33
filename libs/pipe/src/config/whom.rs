//! Which machines a live query is for, as the command line and the console write it and `receive` reads it.

use event::Machine;
use serde::{Deserialize, Serialize};

use super::{Config, PLATFORMS, Scope, nearest};

/// A scope. An empty list says nothing; between lists all must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Whom {
    platforms: Vec<String>,
    units: Vec<String>,
    tags: Vec<String>,
    not_platforms: Vec<String>,
    not_units: Vec<String>,
    not_tags: Vec<String>,
    machines: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_machines: Vec<String>,
}

/// Its lists by name.
const LISTS: [&str; 10] = [
    "platforms",
    "units",
    "tags",
    "groups",
    "machines",
    "not_platforms",
    "not_units",
    "not_tags",
    "not_groups",
    "not_machines",
];

impl Whom {
    /// Reads words such as `platforms=macos,linux` and `tags=office`.
    pub fn of_words(words: &[String], config: &Config) -> Result<Self, String> {
        let mut whom = Self::default();
        for word in words {
            let (name, values) = word.split_once('=').unwrap_or((word, ""));
            let values: Vec<String> = values.split(',').map(str::trim).map(str::to_owned).collect();
            if values.iter().any(String::is_empty) {
                return Err(format!("`{word}` is not of the form tags=office,lab"));
            }
            let list = whom.list(name).ok_or_else(|| {
                format!("`{name}` is none of {}{}", LISTS.join(", "), nearest(name, LISTS.into_iter()))
            })?;
            list.extend(values);
        }
        let known = |list: &[String], all: &[&str], what: &str| {
            let odd = list.iter().find(|word| !all.contains(&word.as_str()));
            odd.map_or(Ok(()), |odd| Err(format!("there is no {what} `{odd}`{}", nearest(odd, all.iter().copied()))))
        };
        let units: Vec<&str> = config.units.keys().map(String::as_str).collect();
        for (list, all, what) in [
            (&whom.platforms, &PLATFORMS[..], "platform"),
            (&whom.not_platforms, &PLATFORMS, "platform"),
            (&whom.units, &units, "unit"),
            (&whom.not_units, &units, "unit"),
        ] {
            known(list, all, what)?;
        }
        Ok(whom)
    }

    fn list(&mut self, name: &str) -> Option<&mut Vec<String>> {
        Some(match name {
            "platforms" => &mut self.platforms,
            "units" => &mut self.units,
            "tags" => &mut self.tags,
            "not_platforms" => &mut self.not_platforms,
            "not_units" => &mut self.not_units,
            "not_tags" => &mut self.not_tags,
            "machines" => &mut self.machines,
            "groups" => &mut self.groups,
            "not_groups" => &mut self.not_groups,
            "not_machines" => &mut self.not_machines,
            _ => return None,
        })
    }

    /// Whether this machine is meant.
    pub fn holds(&self, machine: &Machine) -> bool {
        self.scope().holds(machine)
    }

    /// Whether it asks in which groups a machine is.
    pub fn asks_for_groups(&self) -> bool {
        self.scope().asks_for_groups()
    }

    fn scope(&self) -> Scope {
        Scope {
            platforms: self.platforms.clone(),
            units: self.units.clone(),
            tags: self.tags.clone(),
            groups: self.groups.clone(),
            machines: self.machines.clone(),
            not_platforms: self.not_platforms.clone(),
            not_units: self.not_units.clone(),
            not_tags: self.not_tags.clone(),
            not_groups: self.not_groups.clone(),
            not_machines: self.not_machines.clone(),
        }
    }

    /// The same, of machines of these units only; none if nobody is left.
    pub fn within(mut self, units: &[String]) -> Option<Self> {
        match self.units.is_empty() {
            true => self.units = units.to_vec(),
            false => self.units.retain(|unit| units.contains(unit)),
        }
        (!self.units.is_empty()).then_some(self)
    }
}

/// As it is written after `--scope`; of all machines `all`.
impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut whom = self.clone();
        let words = LISTS.iter().filter_map(|name| {
            let list = whom.list(name)?;
            (!list.is_empty()).then(|| format!("{name}={}", list.join(",")))
        });
        let words: Vec<String> = words.collect();
        f.write_str(if words.is_empty() { "all" } else { "" })?;
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn words_say_who_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, "version = 1\n[unit.berlin]\n").unwrap();
        let config = Config::load(&path, None).unwrap().0;
        let of =
            |words: &[&str]| Whom::of_words(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), &config);
        let whom = of(&["platforms=macos, linux", "units=berlin", "not_tags=lab", "machines=C02,C03"]).unwrap();
        let machine = |serial: &str, tags: &[&str]| Machine {
            serial_number: Some(serial.into()),
            platform: Some("linux".into()),
            unit: Some("berlin".into()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Machine::default()
        };
        assert!(whom.holds(&machine("C02", &["vip"])));
        assert!(!whom.holds(&machine("C02", &["lab"])) && !whom.holds(&machine("C04", &[])));
        let text = serde_json::to_string(&whom).unwrap();
        assert_eq!(serde_json::from_str::<Whom>(&text).unwrap(), whom);
        let words = "platforms=macos,linux units=berlin machines=C02,C03 not_tags=lab";
        assert_eq!((whom.to_string().as_str(), Whom::default().to_string().as_str()), (words, "all"));
        let units = |whom: &Whom, units: &[&str]| {
            let units: Vec<String> = units.iter().map(|unit| (*unit).to_owned()).collect();
            whom.clone().within(&units).map(|whom| whom.units)
        };
        assert_eq!(units(&whom, &["berlin", "rome"]), Some(vec!["berlin".to_owned()]));
        assert_eq!(units(&whom, &["rome"]), None, "another's unit is not theirs to ask");
        assert_eq!(units(&Whom::default(), &["rome"]), Some(vec!["rome".to_owned()]));
        for (word, says) in [
            ("tags", "not of the form"),
            ("tags=", "not of the form"),
            ("tag=a", "did you mean `tags`"),
            ("units=berlim", "did you mean `berlin`"),
            ("platforms=darwin", "no platform `darwin`"),
        ] {
            assert!(of(&[word]).unwrap_err().contains(says), "{word}");
        }
    }
}
