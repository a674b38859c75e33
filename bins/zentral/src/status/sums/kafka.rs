//! The same of topics of Kafka: what the brokers say of their partitions, against what the readers have recorded.

use pipe::StageError;
use pipe::config::{Config, Place, StageConf};
use pipe::state::{self, Position};

use super::{ReaderSum, TopicSum, db};

/// Where each partition begins and ends.
type Ends = Vec<(i32, u64, u64)>;

/// A topic of Kafka; brokers that do not answer are no reason to show nothing.
pub(super) fn sum(config: &Config, writer: Option<&StageConf>, name: &str) -> Result<TopicSum, StageError> {
    let place = Place::Kafka(name.to_owned());
    // Positions before ends: these can only be further on.
    let mut readers = Vec::new();
    for stage in config.readers_of(&place) {
        let positions = db(&config.state(stage))?.map(|db| state::positions(&db, &place.to_string())).transpose()?;
        readers.push((stage.name.clone(), positions.unwrap_or_default()));
    }
    let recorded = match writer {
        Some(writer) => db(&config.state(writer))?.map(|db| state::output(&db, &place.to_string())).transpose()?,
        None => None,
    };
    let recorded = recorded.flatten().map_or(0, |mark| mark.line);
    let ends = pipe::kafka::ends(config, name);
    let all = ends.as_ref().map_or(&[][..], Vec::as_slice);
    let (gone, written) = all.iter().fold((0, 0), |(gone, written), (_, low, high)| (gone + low, written + high));
    let why = match &ends {
        Err(e) => Some(e.to_string()),
        // Lines that came twice are there twice, so there may be more than were recorded.
        Ok(_) if written < recorded => Some(format!(
            "{recorded} lines were acknowledged, {written} are there: it was made anew, or has lost lines"
        )),
        Ok(_) => None,
    };
    let known = ends.as_ref().ok();
    let readers: Vec<ReaderSum> =
        readers.into_iter().map(|(reader, positions)| reader_sum(reader, &positions, known)).collect();
    Ok(TopicSum {
        topic: name.to_owned(),
        written,
        bytes: 0,
        gone,
        disk: 0,
        limit: 0,
        full: false,
        held_by: None,
        readers,
        why,
    })
}

/// Topics that a stage reads and none writes: what others put there.
pub(super) fn foreign(config: &Config) -> Result<Vec<TopicSum>, StageError> {
    let written = |name: &str| config.stages.iter().flat_map(StageConf::outputs).any(|p| p.kafka() == Some(name));
    let mut names: Vec<&str> = config.stages.iter().flat_map(|s| &s.from).filter_map(Place::kafka).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| !written(name)).map(|name| sum(config, None, name)).collect()
}

fn reader_sum(reader: String, positions: &std::collections::BTreeMap<i32, Position>, ends: Option<&Ends>) -> ReaderSum {
    let mut sum = ReaderSum { reader, ok: true, ..ReaderSum::default() };
    for (partition, low, high) in ends.into_iter().flatten() {
        // One that has not started begins at the first line kept.
        let begin =
            Position { start_line: *low, mark: pipe::topic::Mark { offset: *low, line: *low }, ..Position::default() };
        let at = positions.get(partition).copied().unwrap_or(begin);
        let lag = high.saturating_sub(at.mark.offset);
        sum.start += at.start_line;
        sum.read += at.read;
        sum.skipped += at.skipped;
        sum.lag += lag;
        let known = at.start_line + at.read + at.skipped + lag;
        if known != *high {
            sum.ok = false;
            let Position { start_line, read, skipped, .. } = at;
            sum.why = Some(format!(
                "partition {partition}: {high} written, but {start_line} before it + {read} read + {skipped} skipped + \
                 {lag} lag"
            ));
        }
    }
    sum
}
