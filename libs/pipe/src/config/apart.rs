//! A pipeline that is only tried: whatever its configuration says, nothing of the hub is touched.

use super::{Config, Place};

impl Config {
    /// Keeps state in files, and every topic of Kafka on disk under its own name. What no stage writes comes from
    /// elsewhere, and here from nowhere.
    ///
    /// # Errors
    /// A topic of Kafka and one on disk have the same name: they would be one.
    pub fn keep_to_files(&mut self) -> Result<(), String> {
        self.server = None;
        let written: Vec<Place> = self.stages.iter().flat_map(|stage| stage.outputs()).cloned().collect();
        let both = |name: &&str| written.contains(&Place::Topic((*name).to_owned()));
        if let Some(name) = written.iter().filter_map(Place::kafka).find(both) {
            return Err(format!(
                "`kafka:{name}` would lie on disk here, where `topic:{name}` is another: give one of them another name"
            ));
        }
        for stage in &mut self.stages {
            stage.from.retain(|place| place.kafka().is_none() || written.contains(place));
            for place in stage.from.iter_mut().chain(&mut stage.to).chain(&mut stage.matches) {
                if let Place::Kafka(name) = place {
                    *place = Place::Topic(std::mem::take(name));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const TEXT: &str = r#"
version = 1
[registry]
postgres = "postgres://a@127.0.0.1:1/x"
[kafka]
brokers = ["127.0.0.1:1"]
[stage.receive]
to = "kafka:raw"
[stage.normalize]
from = ["kafka:raw", "kafka:foreign", "registry:changes"]
to = "topic:events"
[stage.filter]
from = "topic:events"
to = "kafka:annotated"
matches = "kafka:matches"
"#;

    fn load(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file, None).map_err(|found| super::super::render(&found)).unwrap().0
    }

    #[test]
    fn all_lies_in_files() {
        let mut config = load(TEXT);
        assert!(config.shares_state());
        config.keep_to_files().unwrap();
        assert!(!config.shares_state());
        let places = |stage: &str| {
            let stage = config.stage(stage).unwrap();
            let places: Vec<String> = stage.from.iter().chain(stage.outputs()).map(Place::to_string).collect();
            places.join(" ")
        };
        assert_eq!(places("receive"), "topic:raw");
        assert_eq!(places("normalize"), "topic:raw registry:changes topic:events");
        assert_eq!(places("filter"), "topic:events topic:annotated topic:matches");
    }

    #[test]
    fn two_topics_do_not_become_one() {
        let mut config = load(&TEXT.replace("kafka:annotated", "kafka:events"));
        assert!(config.keep_to_files().unwrap_err().contains("`kafka:events`"));
    }
}
