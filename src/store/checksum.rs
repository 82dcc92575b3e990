//! Checksums of what the state holds: SQLite has none of its own.

use flate2::Crc;

use sb_plan::event::Record;

/// Of parts, each with its length: where one ends and the next begins is told apart.
#[derive(Default)]
pub(super) struct Checksum(Crc);

impl Checksum {
    pub(super) fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// An event as it is stored.
    pub(super) fn add_event(&mut self, at_ms: i64, event: &str) {
        self.0.update(&at_ms.to_le_bytes());
        self.add(event.as_bytes());
    }

    pub(super) fn value(&self) -> u32 {
        self.0.sum()
    }
}

/// Of one text.
pub(super) fn of(text: &str) -> u32 {
    let mut checksum = Checksum::default();
    checksum.add(text.as_bytes());
    checksum.value()
}

/// The events of a run, one after another: all are there, and none is another one than was written.
pub(super) struct Verifier {
    /// First and last event, and their checksum; the next one last.
    chunks: Vec<(i64, i64, u32)>,
    /// Of the last event that was seen.
    number: i64,
    /// Of the chunk that was begun. None: it began before the first event that was seen.
    current: Option<Checksum>,
}

/// Why events cannot be what was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("event {expected} of the run is not there")]
    Missing { expected: i64 },
    #[error("events {first} to {last} of the run are not what was written")]
    Changed { first: i64, last: i64 },
}

impl Verifier {
    /// Behind event `number`; chunks in order.
    pub(super) fn new(number: i64, mut chunks: Vec<(i64, i64, u32)>) -> Self {
        chunks.reverse();
        Self { chunks, number, current: None }
    }

    pub(super) fn take(&mut self, number: i64, at_ms: i64, event: &str) -> Result<(), Damage> {
        let expected = self.number + 1;
        if number != expected {
            return Err(Damage::Missing { expected });
        }
        self.number = number;
        while self.chunks.last().is_some_and(|&(_, last, _)| last < number) {
            self.chunks.pop();
        }
        let Some(&(first, last, expected)) = self.chunks.last() else { return Ok(()) };
        if number < first {
            return Ok(());
        }
        if number == first {
            self.current = Some(Checksum::default());
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        current.add_event(at_ms, event);
        if number == last && current.value() != expected {
            return Err(Damage::Changed { first, last });
        }
        Ok(())
    }

    /// After the last event: those that a checksum tells of have all come.
    pub(super) fn end(&self) -> Result<(), Damage> {
        match self.chunks.first() {
            Some(&(_, last, _)) if last > self.number => Err(Damage::Missing { expected: self.number + 1 }),
            _ => Ok(()),
        }
    }
}

/// The text of an event, as it is stored.
pub(super) fn text_of(record: &Record) -> rusqlite::Result<String> {
    serde_json::to_string(&record.event)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(events: &[(i64, &str)], chunks: &[(i64, i64, u32)]) -> Result<(), String> {
        let mut verifier = Verifier::new(0, chunks.to_vec());
        for (number, event) in events {
            verifier.take(*number, 7, event).map_err(|damage| damage.to_string())?;
        }
        verifier.end().map_err(|damage| damage.to_string())
    }

    fn sum(events: &[&str]) -> u32 {
        let mut checksum = Checksum::default();
        for event in events {
            checksum.add_event(7, event);
        }
        checksum.value()
    }

    #[test]
    fn events_are_compared_with_the_checksums_of_their_transactions() {
        let chunks = [(1, 2, sum(&["a", "b"])), (4, 4, sum(&["d"]))];
        assert_eq!(check(&[(1, "a"), (2, "b"), (3, "of an earlier version"), (4, "d")], &chunks), Ok(()));
        let changed = "events 1 to 2 of the run are not what was written";
        assert_eq!(check(&[(1, "a"), (2, "B")], &chunks).unwrap_err(), changed);
        assert_eq!(check(&[(1, "a"), (3, "c")], &chunks).unwrap_err(), "event 2 of the run is not there");
        assert_eq!(
            check(&[(1, "a"), (2, "b"), (3, "c")], &chunks).unwrap_err(),
            "event 4 of the run is not there"
        );
        assert_ne!(sum(&["ab", ""]), sum(&["a", "b"]));
    }
}
