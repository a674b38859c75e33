//! The same of topics of Kafka: what the brokers say of their partitions, against what the readers have recorded.

use std::collections::BTreeMap;

use pipe::config::{Config, Place, StageConf};
use pipe::state::{self, Position};
use pipe::{Exit, StageError};

use super::{ReaderSum, TopicSum, db};

/// Where each partition begins and ends.
type Ends = Vec<(i32, u64, u64)>;

/// A topic of Kafka; brokers that do not answer are no reason to show nothing. Why they do not is noted in `away`, and
/// none of the other topics waits for them again.
pub(super) fn sum(
    config: &Config,
    writer: Option<&StageConf>,
    name: &str,
    away: &mut Option<String>,
) -> Result<TopicSum, StageError> {
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
    let unknown = |why| TopicSum { topic: name.to_owned(), why, ..TopicSum::default() };
    if away.is_some() {
        return Ok(unknown(None));
    }
    let ends = match pipe::kafka::ends(config, name) {
        Ok(ends) => ends,
        Err(e) if e.exit == Exit::Unreachable => {
            *away = Some(e.to_string());
            return Ok(unknown(None));
        }
        Err(e) => return Ok(unknown(Some(e.to_string()))),
    };
    let (gone, written) = ends.iter().fold((0, 0), |(gone, written), (_, low, high)| (gone + low, written + high));
    // Lines that came twice are there twice, so there may be more than were recorded.
    let why = (written < recorded).then(|| {
        format!("{recorded} lines were acknowledged, {written} are there: it was made anew, or has lost lines")
    });
    let readers = readers.into_iter().map(|(reader, positions)| reader_sum(reader, &positions, &ends)).collect();
    Ok(TopicSum { written: Some(written), gone: Some(gone), readers, ..unknown(why) })
}

/// Topics that a stage reads and none writes: what others put there.
pub(super) fn foreign(config: &Config, away: &mut Option<String>) -> Result<Vec<TopicSum>, StageError> {
    let written = |name: &str| config.stages.iter().flat_map(StageConf::outputs).any(|p| p.kafka() == Some(name));
    let mut names: Vec<&str> = config.stages.iter().flat_map(|s| &s.from).filter_map(Place::kafka).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| !written(name)).map(|name| sum(config, None, name, away)).collect()
}

fn reader_sum(reader: String, positions: &BTreeMap<i32, Position>, ends: &Ends) -> ReaderSum {
    let mut sum = ReaderSum { reader, ok: true, ..ReaderSum::default() };
    for (partition, low, high) in ends {
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
