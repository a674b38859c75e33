//! What the command line says of machines: a log read at a shell knows neither platform nor unit nor tags nor groups of
//! them, which on a hub come from the enrolment and the inventory.

use clap::builder::PossibleValuesParser;
use event::{Event, Machine};
use pipe::StageError;
use pipe::config::{Config, PLATFORMS, is_name};

use crate::stage::add_tags_of_unit;

/// Flags about the machines of a log.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "With SOURCE, what its lines do not say of the machines")]
pub struct Given {
    /// Their host name
    #[arg(long, value_name = "NAME", requires = "source")]
    pub hostname: Option<String>,
    /// Their platform
    #[arg(long, value_name = "P", requires = "source", value_parser = PossibleValuesParser::new(PLATFORMS))]
    pub platform: Option<String>,
    /// Their unit, whose tags they get too
    #[arg(long, value_name = "U", requires = "source")]
    pub unit: Option<String>,
    /// Their tags
    #[arg(long, value_name = "a,b", requires = "source", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Their groups
    #[arg(long, value_name = "a,b", requires = "source", value_delimiter = ',')]
    pub groups: Vec<String>,
}

impl Given {
    /// The machine block that the flags make; none if there is none of them.
    pub(crate) fn machine(&self, config: &Config) -> Result<Option<Machine>, StageError> {
        let no_name = |odd: &str| StageError::usage(format!("`{odd}` is no name ([a-z0-9][a-z0-9-]{{0,62}})"));
        if let Some(odd) = self.unit.iter().chain(&self.tags).find(|name| !is_name(name)) {
            return Err(no_name(odd));
        }
        if let Some(unit) = self.unit.as_ref().filter(|u| config.file.is_some() && !config.units.contains_key(*u)) {
            return Err(StageError::usage(format!("--unit: the configuration has no unit `{unit}`")));
        }
        let mut machine = Machine {
            hostname: self.hostname.clone().filter(|name| !name.is_empty()),
            platform: self.platform.clone(),
            unit: self.unit.clone(),
            ..Machine::default()
        };
        for tag in &self.tags {
            if !machine.tags.contains(tag) {
                machine.tags.push(tag.clone());
            }
        }
        for group in self.groups.iter().filter(|group| !group.is_empty()) {
            if !machine.groups.contains(group) {
                machine.groups.push(group.clone());
            }
        }
        add_tags_of_unit(&mut machine, config);
        Ok(Some(machine).filter(|machine| *machine != Machine::default()))
    }
}

/// Fills in what the event's machine block does not say itself.
pub(crate) fn complete(event: &mut Event, given: &Machine) {
    if *given == Machine::default() {
        return;
    }
    let machine = event.machine.get_or_insert_default();
    for (have, given) in [
        (&mut machine.hostname, &given.hostname),
        (&mut machine.platform, &given.platform),
        (&mut machine.unit, &given.unit),
    ] {
        if have.is_none() {
            have.clone_from(given);
        }
    }
    let more: Vec<String> = given.tags.iter().filter(|tag| !machine.tags.contains(tag)).cloned().collect();
    machine.tags.extend(more);
    let more: Vec<String> = given.groups.iter().filter(|group| !machine.groups.contains(group)).cloned().collect();
    machine.groups.extend(more);
}
