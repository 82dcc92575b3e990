//! The records of a CSV file, as slices of one buffer: no allocation per row, and no byte is looked at twice.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// A record longer than this is passed over: a damaged file may have one quote that is never closed.
const LONGEST: usize = 8 << 20;

/// Reads records, one after the other. A quoted field may hold line ends.
pub(super) struct Records<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the input is read to its end.
    at_end: bool,
    /// The line at which the next record begins, from 1.
    line: u64,
}

/// One record, its line end left out.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
    /// The line at which it begins, from 1.
    pub(super) line: u64,
    /// Whether a line end follows: the last line of a process that was killed has none.
    pub(super) is_complete: bool,
    pub(super) has_quotes: bool,
    /// A quote that is never closed, or longer than a record may be: it holds nothing to rely on.
    pub(super) is_broken: bool,
}

impl<R: Read> Records<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: vec![0; BLOCK], start: 0, end: 0, at_end: false, line: 1 }
    }

    /// The next record; an empty line is none.
    pub(super) fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        loop {
            let Some(found) = self.find()? else { return Ok(None) };
            let line = self.line;
            self.line += found.lines;
            let mut bytes = self.start..self.start + found.length;
            self.start += found.length + usize::from(found.is_complete);
            if bytes.end > bytes.start && self.buffer[bytes.end - 1] == b'\r' {
                bytes.end -= 1;
            }
            if bytes.is_empty() && !found.is_broken {
                continue;
            }
            if line == 1 && self.buffer[bytes.clone()].starts_with(b"\xef\xbb\xbf") {
                bytes.start += 3;
            }
            return Ok(Some(Record {
                bytes: &self.buffer[bytes],
                line,
                is_complete: found.is_complete,
                has_quotes: found.has_quotes,
                is_broken: found.is_broken,
            }));
        }
    }

    /// Where the record ends that begins at `start`: at a line end outside of quotes.
    fn find(&mut self) -> io::Result<Option<Found>> {
        let mut looked_at = 0;
        let mut quotes = 0;
        let mut lines = 1;
        // A quote that is never closed costs its own line, and not what follows.
        let mut first_line = None;
        loop {
            let held = &self.buffer[self.start..self.end];
            let broken =
                |length| Found { length, lines: 1, is_complete: true, has_quotes: true, is_broken: true };
            if let Some(at) = memchr(b'\n', &held[looked_at..]) {
                let length = looked_at + at;
                quotes += memchr_iter(b'"', &held[looked_at..length]).count();
                let has_quotes = quotes > 0;
                if quotes % 2 == 0 {
                    return Ok(Some(Found {
                        length,
                        lines,
                        is_complete: true,
                        has_quotes,
                        is_broken: false,
                    }));
                }
                let first = *first_line.get_or_insert(length);
                lines += 1;
                looked_at = length + 1;
                if looked_at < LONGEST {
                    continue;
                }
                return Ok(Some(broken(first)));
            }
            quotes += memchr_iter(b'"', &held[looked_at..]).count();
            looked_at = held.len();
            if self.at_end {
                return Ok(match (held.len(), first_line) {
                    (0, _) => None,
                    (_, Some(first)) if quotes % 2 == 1 => Some(broken(first)),
                    (length, _) => Some(Found {
                        length,
                        lines,
                        is_complete: false,
                        has_quotes: quotes > 0,
                        is_broken: quotes % 2 == 1,
                    }),
                });
            }
            if looked_at >= LONGEST {
                if let Some(first) = first_line {
                    return Ok(Some(broken(first)));
                }
                self.skip_line()?;
                let (is_complete, has_quotes) = (false, false);
                return Ok(Some(Found { length: 0, lines: 1, is_complete, has_quotes, is_broken: true }));
            }
            self.fill()?;
        }
    }

    /// Passes over the rest of a line that has no end for a long while. What is left in the buffer begins the next one.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            if let Some(at) = memchr(b'\n', &self.buffer[self.start..self.end]) {
                self.start += at + 1;
                return Ok(());
            }
            self.start = self.end;
            if self.at_end {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Reads a further block behind what is held.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < BLOCK / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    return Ok(());
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

struct Found {
    length: usize,
    lines: u64,
    is_complete: bool,
    has_quotes: bool,
    is_broken: bool,
}

/// Where the fields of a record are. Reused from record to record.
#[derive(Default)]
pub(super) struct Fields {
    ranges: Vec<Range<u32>>,
}

impl Fields {
    /// Splits a record; quotes around a field are left out.
    pub(super) fn split(&mut self, record: Record<'_>) {
        self.ranges.clear();
        let bytes = record.bytes;
        let mut start = 0;
        if !record.has_quotes {
            for at in memchr_iter(b',', bytes) {
                self.ranges.push(start..at as u32);
                start = at as u32 + 1;
            }
            self.ranges.push(start..bytes.len() as u32);
            return;
        }
        let mut at = 0;
        loop {
            let (field, next) = field_at(bytes, at);
            self.ranges.push(field.start as u32..field.end as u32);
            match next {
                Some(next) => at = next,
                None => return,
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Where a field is in its record, quotes around it left out. Empty where there is none.
    pub(super) fn range(&self, place: usize) -> Range<usize> {
        self.ranges.get(place).map_or(0..0, |range| range.start as usize..range.end as usize)
    }

    /// A field as it is written; doubled quotes stay doubled. Empty where there is none.
    pub(super) fn raw<'a>(&self, record: Record<'a>, place: usize) -> &'a [u8] {
        &record.bytes[self.range(place)]
    }

    /// A field as it was before it was quoted.
    pub(super) fn text<'a>(&self, record: Record<'a>, place: usize) -> Cow<'a, [u8]> {
        let raw = self.raw(record, place);
        if !record.has_quotes || memchr(b'"', raw).is_none() {
            return Cow::Borrowed(raw);
        }
        let mut plain = Vec::with_capacity(raw.len());
        let mut bytes = raw.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            plain.push(byte);
            if byte == b'"' && bytes.peek() == Some(&b'"') {
                bytes.next();
            }
        }
        Cow::Owned(plain)
    }
}

/// The field that begins at `at`, and where the next one begins.
fn field_at(bytes: &[u8], at: usize) -> (Range<usize>, Option<usize>) {
    if bytes.get(at) != Some(&b'"') {
        let end = memchr(b',', &bytes[at..]).map_or(bytes.len(), |found| at + found);
        return (at..end, (end < bytes.len()).then_some(end + 1));
    }
    let start = at + 1;
    let mut end = start;
    loop {
        match memchr(b'"', &bytes[end..]) {
            None => return (start..bytes.len(), None),
            Some(found) if bytes.get(end + found + 1) == Some(&b'"') => end += found + 2,
            Some(found) => {
                end += found;
                break;
            }
        }
    }
    // Whatever stands between the closing quote and the comma is no part of a field.
    let next = memchr(b',', &bytes[end..]).map(|found| end + found + 1);
    (start..end, next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn read(text: &[u8], step: usize) -> Vec<(u64, bool, Vec<Vec<u8>>)> {
        let mut records = Records::new(Slow(text, step));
        let mut fields = Fields::default();
        let mut all = Vec::new();
        while let Some(record) = records.next().unwrap() {
            fields.split(record);
            let texts = (0..fields.len()).map(|place| fields.text(record, place).into_owned());
            all.push((record.line, record.is_complete, texts.collect()));
        }
        all
    }

    #[test]
    fn fields_quotes_and_line_ends_are_told_apart() {
        let text = b"\xef\xbb\xbfa,b\r\n\r\n1,\"x, \"\"y\"\"\nz\",\n,\"\"\nlast";
        let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        for step in [1, 3, 1000] {
            assert_eq!(
                read(text, step),
                [
                    (1, true, texts(&["a", "b"])),
                    (3, true, texts(&["1", "x, \"y\"\nz", ""])),
                    (5, true, texts(&["", ""])),
                    (6, false, texts(&["last"])),
                ]
            );
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_rows_only() {
        let mut text = b"a\n\"open\n".to_vec();
        for _ in 0..LONGEST / 8 + 10 {
            text.extend_from_slice(b"1234567\n");
        }
        let found = read(&text, BLOCK);
        assert_eq!(found[0].2, [b"a".to_vec()]);
        assert!(found.len() > 5, "what follows is read again: {}", found.len());
        let mut long = vec![b'x'; LONGEST * 2];
        long.extend_from_slice(b"\nnext\n");
        let found = read(&long, BLOCK);
        assert_eq!(found.last().unwrap().2, [b"next".to_vec()]);
    }

    proptest! {
        /// Any table that the csv crate writes is read back as it was.
        #[test]
        fn what_others_write_is_read(rows in prop::collection::vec(prop::collection::vec("[a,\"\n\r é]{0,5}", 3), 1..9), step in 1_usize..60) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["x", "y", "z"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let found: Vec<Vec<String>> = read(&text, step).into_iter().skip(1)
                .map(|(_, _, fields)| fields.into_iter().map(|field| String::from_utf8(field).unwrap()).collect())
                .collect();
            prop_assert_eq!(found, rows);
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(prop::sample::select(b",\"\n\ra1".to_vec()), 0..80), step in 1_usize..9) {
            let lines = read(&text, step);
            prop_assert!(lines.len() <= text.len());
        }
    }
}
