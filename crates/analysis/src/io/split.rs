//! Cuts a stream of bytes into chunks of whole texts, one text per trace. A text is a line of the file. Where traces
//! are printed over several lines, it is a JSON value. However long the stream is, no more is held than a chunk and
//! the longest text.

use std::io::{self, Read};
use std::ops::Range;

use crate::read::LONGEST;
use crate::read::source::{Spread, ValueEnd, value_end};

/// Bytes that are read and analysed together.
pub(crate) const CHUNK: usize = 1 << 20;

/// Bytes that were read. Room that was used once is not cleared again before more is read into it.
#[derive(Debug, Default)]
struct Buffer {
    room: Vec<u8>,
    used: usize,
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        &self.room[..self.used]
    }

    fn len(&self) -> usize {
        self.used
    }

    /// Keeps no more than `most` bytes of room.
    fn clear(&mut self, most: usize) {
        self.used = 0;
        if self.room.len() > most {
            self.room = Vec::new();
        }
    }

    fn drop_front(&mut self, length: usize) {
        self.room.copy_within(length..self.used, 0);
        self.used -= length;
    }

    fn make_room(&mut self, length: usize) {
        if self.room.len() < length {
            self.room.resize(length, 0);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        self.make_room(end);
        self.room[self.used..end].copy_from_slice(bytes);
        self.used = end;
    }

    /// Reads until there are `wanted` bytes, or until the input ends (false).
    fn fill(&mut self, input: &mut impl Read, wanted: usize) -> io::Result<bool> {
        self.make_room(wanted);
        while self.used < wanted {
            match input.read(&mut self.room[self.used..wanted]) {
                Ok(0) => return Ok(false),
                Ok(more) => self.used += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Some consecutive texts. Made to be used again for the next ones.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    buffer: Buffer,
    /// Where the texts are, white space around them included; empty ones are counted too.
    texts: Vec<Range<usize>>,
    /// The number of the first text in the stream, from 1.
    pub(crate) first: u64,
    /// The last text is but the start of one that is longer than the limit.
    pub(crate) is_cut: bool,
}

impl Chunk {
    pub(crate) fn texts(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.texts.iter().map(|range| self.buffer.bytes()[range.clone()].trim_ascii())
    }

    /// The text at a place of [`Self::texts`], unless it is but the start of one.
    pub(crate) fn whole_text(&self, place: usize) -> Option<&[u8]> {
        let is_cut = self.is_cut && place + 1 == self.texts.len();
        if is_cut { None } else { self.text(place) }
    }

    pub(crate) fn text(&self, place: usize) -> Option<&[u8]> {
        let range = self.texts.get(place)?.clone();
        Some(self.buffer.bytes()[range].trim_ascii())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Unknown,
    Lines,
    /// JSON values over several lines, of which only the first and the last are not indented.
    Values,
    /// JSON values over several lines that are not indented. After a damaged one, no line says where the next one begins.
    FlatValues,
}

/// Yields chunks of texts.
pub(crate) struct Texts<R> {
    input: R,
    chunk: usize,
    longest: usize,
    layout: Layout,
    /// Read, but of the next chunk.
    rest: Vec<u8>,
    next: u64,
    at_end: bool,
    /// Whether the start of a text beyond the limit is kept for [`Self::long`].
    keeps_long: bool,
    long: Option<Buffer>,
}

impl<R: Read> Texts<R> {
    pub(crate) fn new(input: R) -> Self {
        Self::with_limits(input, CHUNK, LONGEST)
    }

    /// `chunk` and `longest` in bytes, the first no larger than the second.
    pub(crate) fn with_limits(input: R, chunk: usize, longest: usize) -> Self {
        let layout = Layout::Unknown;
        let (rest, next, at_end) = (Vec::new(), 1, false);
        Self { input, chunk, longest, layout, rest, next, at_end, keeps_long: false, long: None }
    }

    /// Texts beyond the limit end the chunks before them and are then read by [`Self::long`], not cut.
    pub(crate) fn keeping_long(mut self) -> Self {
        self.keeps_long = true;
        self
    }

    /// The text beyond the limit that comes next; none at the end of the input.
    pub(crate) fn long(&mut self) -> Option<Long<'_, R>> {
        let buffer = self.long.take()?;
        let number = self.next;
        self.next += 1;
        Some(Long { texts: self, buffer, at: 0, number })
    }

    /// The next chunk; false at the end, or before a text beyond the limit that is kept.
    pub(crate) fn read(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        chunk.texts.clear();
        chunk.is_cut = false;
        chunk.first = self.next;
        let buffer = &mut chunk.buffer;
        // A chunk that grew for one long text need not stay large.
        buffer.clear(2 * self.chunk);
        buffer.push(&self.rest);
        self.rest.clear();
        if self.layout == Layout::Unknown {
            self.find_layout(buffer)?;
        }
        let mut wanted = self.chunk;
        loop {
            self.fill(buffer, wanted)?;
            let end = match self.layout {
                Layout::Values | Layout::FlatValues => self.values(buffer.bytes(), &mut chunk.texts),
                Layout::Lines | Layout::Unknown => self.lines(buffer.bytes(), &mut chunk.texts),
            };
            if !chunk.texts.is_empty() || (self.at_end && end == buffer.len()) {
                self.rest.extend_from_slice(&buffer.bytes()[end..]);
                break;
            }
            if buffer.len() > self.longest && self.keeps_long {
                self.long = Some(std::mem::take(buffer));
                break;
            }
            if buffer.len() > self.longest {
                chunk.texts.push(0..buffer.len());
                chunk.is_cut = true;
                self.skip_text(buffer.bytes())?;
                break;
            }
            wanted = (2 * buffer.len()).min(self.longest + 1);
        }
        self.next += chunk.texts.len() as u64;
        Ok(!chunk.texts.is_empty())
    }

    /// Reads until there are `wanted` bytes or no more.
    fn fill(&mut self, buffer: &mut Buffer, wanted: usize) -> io::Result<()> {
        if !self.at_end && buffer.len() < wanted {
            self.at_end = !buffer.fill(&mut self.input, wanted)?;
        }
        Ok(())
    }

    /// Are traces spread over lines ([`Spread`])? Removes a byte order mark.
    fn find_layout(&mut self, buffer: &mut Buffer) -> io::Result<()> {
        let mut wanted = self.chunk;
        loop {
            self.fill(buffer, wanted)?;
            if buffer.bytes().starts_with(b"\xef\xbb\xbf") {
                buffer.drop_front(3);
            }
            let bytes = buffer.bytes();
            let mut ends = memchr::memchr_iter(b'\n', bytes).chain(self.at_end.then_some(bytes.len()));
            let mut from = 0;
            let mut lines = std::iter::from_fn(|| {
                let end = ends.next()?;
                Some(&bytes[std::mem::replace(&mut from, end + 1).min(end)..end])
            })
            .filter(|line| !line.trim_ascii().is_empty());
            if let (Some(first), Some(second)) = (lines.next(), lines.next()) {
                self.layout = match Spread::of(first, second) {
                    Spread::No => Layout::Lines,
                    Spread::Indented => Layout::Values,
                    Spread::Flat => Layout::FlatValues,
                };
                return Ok(());
            }
            if self.at_end || bytes.len() > self.longest {
                self.layout = Layout::Lines;
                return Ok(());
            }
            wanted = (2 * bytes.len().max(self.chunk)).min(self.longest + 1);
        }
    }

    /// Where the whole lines are; returns where the last of them ends.
    fn lines(&self, bytes: &[u8], texts: &mut Vec<Range<usize>>) -> usize {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            texts.push(from..end);
            from = end + 1;
        }
        if self.at_end && from < bytes.len() && bytes.len() - from <= self.longest {
            texts.push(from..bytes.len());
            from = bytes.len();
        }
        from
    }

    /// Where the complete values are; returns where the next one starts. After a damaged one, the next is expected
    /// where a line starts with a brace, unless all lines do.
    fn values(&self, bytes: &[u8], texts: &mut Vec<Range<usize>>) -> usize {
        let mut from = 0;
        loop {
            from += bytes[from..].len() - bytes[from..].trim_ascii_start().len();
            let rest = &bytes[from..];
            let length = match value_end(rest, self.at_end) {
                ValueEnd::Complete(length) => match rest[length..].trim_ascii_start().first() {
                    None if !self.at_end => return from,
                    // A part of a value whose start is missing.
                    Some(b',' | b']' | b'}') => match self.after_damaged(rest) {
                        Some(length) => length,
                        None => return from,
                    },
                    _ => length,
                },
                ValueEnd::Incomplete => return from,
                ValueEnd::Damaged => match self.after_damaged(rest) {
                    Some(length) => length,
                    None => return from,
                },
            };
            texts.push(from..from + length);
            from += length;
        }
    }

    /// How long the damaged value at the start of `rest` is; none where that is not known yet.
    fn after_damaged(&self, rest: &[u8]) -> Option<usize> {
        let next = self.separator().and_then(|end| memchr::memmem::find(rest, end));
        next.map(|end| end + 1).or_else(|| (self.at_end && !rest.is_empty()).then_some(rest.len()))
    }

    /// What a text that cannot be read ends with: the next one is expected after its first byte. None where it may go on to
    /// the end of the input.
    fn separator(&self) -> Option<&'static [u8]> {
        match self.layout {
            Layout::Unknown | Layout::Lines => Some(b"\n"),
            Layout::Values => Some(b"\n{"),
            Layout::FlatValues => None,
        }
    }

    fn has_lines(&self) -> bool {
        matches!(self.layout, Layout::Unknown | Layout::Lines)
    }

    /// Passes over the rest of a text that is too long.
    fn skip_text(&mut self, start: &[u8]) -> io::Result<()> {
        let Some(end) = self.separator() else {
            let mut buffer = Buffer::default();
            while !self.at_end {
                buffer.clear(self.chunk);
                self.fill(&mut buffer, self.chunk)?;
            }
            return Ok(());
        };
        // The separator may lie across the border of two reads.
        let mut buffer = Buffer::default();
        buffer.push(&start[start.len().saturating_sub(end.len() - 1)..]);
        while !self.at_end {
            let kept = buffer.len();
            self.fill(&mut buffer, kept + self.chunk)?;
            if let Some(at) = memchr::memmem::find(buffer.bytes(), end) {
                self.rest.extend_from_slice(&buffer.bytes()[at + 1..]);
                return Ok(());
            }
            buffer.drop_front(buffer.len().saturating_sub(end.len() - 1));
        }
        Ok(())
    }
}

/// A text beyond the limit, read piece by piece. Ends where its line does, unless texts are spread over lines.
pub(crate) struct Long<'t, R> {
    texts: &'t mut Texts<R>,
    buffer: Buffer,
    at: usize,
    /// As [`Chunk::first`].
    pub(crate) number: u64,
}

impl<R: Read> Long<'_, R> {
    /// At most so many bytes: a reader of single bytes would else look through the whole buffer for each.
    fn unread(&self, most: usize) -> &[u8] {
        let bytes = &self.buffer.bytes()[self.at..];
        let bytes = &bytes[..bytes.len().min(most)];
        let end = if self.texts.has_lines() { memchr::memchr(b'\n', bytes) } else { None };
        &bytes[..end.unwrap_or(bytes.len())]
    }

    /// Goes on behind the text: where reading stopped, if that `was_whole`, or where the next text is expected.
    pub(crate) fn finish(self, was_whole: bool) -> io::Result<()> {
        let Self { texts, buffer, at, .. } = self;
        let bytes = buffer.bytes();
        if was_whole && !texts.has_lines() {
            texts.rest.extend_from_slice(&bytes[at..]);
            return Ok(());
        }
        let Some(separator) = texts.separator() else { return texts.skip_text(bytes) };
        // What stopped the reader may be the separator itself.
        let from = at.saturating_sub(separator.len());
        match memchr::memmem::find(&bytes[from..], separator) {
            Some(found) => texts.rest.extend_from_slice(&bytes[from + found + 1..]),
            None => texts.skip_text(bytes)?,
        }
        Ok(())
    }
}

impl<R: Read> Read for Long<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() && !self.texts.at_end {
            self.buffer.clear(2 * self.texts.chunk);
            self.at = 0;
            self.texts.fill(&mut self.buffer, self.texts.chunk)?;
        }
        let unread = self.unread(out.len());
        let length = unread.len().min(out.len());
        out[..length].copy_from_slice(&unread[..length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte or a few at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(out.len()).min(3);
            out[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    /// The texts with their numbers; one that was cut ends in `…`. Empty ones are left out.
    fn split(text: &str, chunk: usize, longest: usize) -> Vec<(u64, String)> {
        let mut texts = Texts::with_limits(Dripping(text.as_bytes()), chunk, longest);
        let mut found = Vec::new();
        let mut chunk = Chunk::default();
        while texts.read(&mut chunk).unwrap() {
            let count = chunk.texts().len();
            for (place, text) in chunk.texts().enumerate() {
                let cut = if chunk.is_cut && place + 1 == count { "…" } else { "" };
                if !text.is_empty() {
                    found.push((
                        chunk.first + place as u64,
                        format!("{}{cut}", String::from_utf8_lossy(text)),
                    ));
                }
            }
        }
        found
    }

    #[track_caller]
    fn check(text: &str, longest: usize, expected: &[(u64, &str)]) {
        for chunk in [1, 2, 3, 7, 16, longest] {
            let found = split(text, chunk.min(longest), longest);
            let found: Vec<_> = found.iter().map(|(number, text)| (*number, text.as_str())).collect();
            assert_eq!(found, expected, "chunks of {chunk}");
        }
    }

    #[test]
    fn lines_come_with_their_numbers_whatever_the_chunks() {
        check("{\"a\":1}\n\n  {\"b\":2}\r\nx\n", 30, &[(1, "{\"a\":1}"), (3, "{\"b\":2}"), (4, "x")]);
        check("\u{feff}{\"a\":1}\nlast", 30, &[(1, "{\"a\":1}"), (2, "last")]);
        check("only", 30, &[(1, "only")]);
        check("", 30, &[]);
        check("\n\n", 30, &[]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
        check("123456789\n1234\nab", 4, &[(1, "12345…"), (2, "1234"), (3, "ab")]);
        check("1234\n123456789", 4, &[(1, "1234"), (2, "12345…")]);
    }

    #[test]
    fn values_may_be_spread_over_lines_whatever_the_chunks() {
        let text = "{\n \"a\": 1\n}\n{\n \"b\": x\n}\n{\n \"c\": \"}\\n{\"\n}\n";
        let expected = [(1, "{\n \"a\": 1\n}"), (2, "{\n \"b\": x\n}"), (3, "{\n \"c\": \"}\\n{\"\n}")];
        check(text, 40, &expected);
        check("{\n \"a\": [1,\n", 40, &[(1, "{\n \"a\": [1,")]);
        // The start of the first one is missing.
        check("{\n  \"a\": 1\n },\n {\n}]}\n{\n}", 40, &[(1, "{\n  \"a\": 1\n },\n {\n}]}"), (2, "{\n}")]);
    }

    #[test]
    fn where_all_lines_look_alike_a_damaged_value_goes_on_to_the_end() {
        check("{\n\"a\": [\n{\n},\n{\n}\n", 40, &[(1, "{\n\"a\": [\n{\n},\n{\n}")]);
        check("{\n\"a\": [\n{\n}]\n}\n{\n}\n", 40, &[(1, "{\n\"a\": [\n{\n}]\n}"), (2, "{\n}")]);
        check("[\n{\"a\": 1},\n{\"b\": 2},\n{\n", 12, &[(1, "[\n{\"a\": 1},\n{…")]);
    }

    #[test]
    fn a_value_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
        let text = "{\n 1\n}\n{\n \"a\": 1234567890123456\n}\n{\n}\n";
        let found = split(text, 4, 12);
        assert_eq!(found.last().unwrap().1, "{\n}");
        assert!(found.iter().any(|(_, text)| text.ends_with('…')), "{found:?}");
    }
}
