//! A history, and what becomes of it when it stops at each of its operations.

use pipe::topic::TopicReader;
use pipe::topic::sim::{Random, SimFs};

use crate::lines::Counts;
use crate::world::World;

/// Things that happen in one history, over all its crashes.
const ACTIONS: u64 = 32;
/// Of so many recoveries after a stop one is itself stopped at each of its operations …
const AGAIN_ONE_IN: u64 = 20;
/// … and so on, up to so many stops one in another.
const DEPTH_MAX: u32 = 3;

/// Runs a history with stops and power cuts of its own, and every other end that it could have had.
pub fn history(seed: u64, lie: bool) -> Counts {
    let mut world = World::new(seed);
    let _say = Say(format!("history ZENTRAL_CRASH_SEED={seed}"));
    world.machine.keep_stops();
    if lie {
        world.machine.lie();
    }
    for _ in 0..ACTIONS {
        if world.random.one_in(10) {
            let op = world.machine.ops() + 1 + world.random.below(25);
            world.machine.stop_at(op);
        }
        world.act();
        if world.random.one_in(60) {
            world.power_cut();
        }
    }
    world.machine.stop_at(u64::MAX);
    world.power_cut();
    world.open_writer();
    world.finish();
    world.counts
}

impl World {
    /// Follows what would have become of the world at each operation since the last call, had its process stopped there.
    /// To be called before anything changes that is known outside of the disk.
    pub fn branch(&mut self) {
        for machine in self.machine.take_stops() {
            if self.depth == 0 {
                self.counts.stops += 1;
            } else {
                self.counts.stops_again += 1;
            }
            let op = machine.ops();
            let _say = Say(format!("stopped at its operation {op}, depth {}", self.depth));
            machine.stop_at(u64::MAX);
            machine.full_after(None);
            let mut other = Self {
                // Other numbers than the history's own, which goes on as if nobody had looked.
                random: Random(Random(self.random.0 ^ op.rotate_right(20)).number()),
                machine,
                kind: self.kind,
                facts: self.facts.clone(),
                writer: None,
                reader: None,
                depth: self.depth + 1,
                counts: Counts::default(),
            };
            other.come_back(self.reader.as_ref());
            self.counts.add(&other.counts);
        }
    }

    /// After the stop: the process is killed or the power cut, readers look, the writer recovers, and all goes on.
    fn come_back(&mut self, reader: Option<&(SimFs, TopicReader)>) {
        let it_was_the_reader = reader.is_some_and(|(process, _)| process.same_process(&self.machine));
        if it_was_the_reader || !self.random.one_in(4) {
            self.power_cut();
            self.open_reader();
        } else {
            self.machine.kill();
            match reader {
                Some((_, reader)) => self.open_reader_at(reader.mark()),
                None => self.open_reader(),
            }
        }
        if self.random.one_in(2) {
            self.read();
        }
        if self.depth < DEPTH_MAX && self.random.one_in(AGAIN_ONE_IN) {
            self.machine.keep_stops();
        }
        self.open_writer();
        self.machine.forget_stops();
        self.finish();
    }
}

/// Says where it was when an assertion fails.
struct Say(String);

impl Drop for Say {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
