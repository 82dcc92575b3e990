//! The answer to an HTTP/1 request, taken in piece by piece as the bytes arrive (RFC 9112).
//!
//! Not hyper's client: in the same lane it takes 1.5 times the CPU time per request (docs/measurements.md).

use std::mem::MaybeUninit;

/// Beyond this many bytes or fields, a head is no head.
const LONGEST_HEAD: usize = 64 * 1024;
const MOST_FIELDS: usize = 100;
/// Of a body that is looked into.
pub(super) const LARGEST_BODY: usize = 16 * 1024 * 1024;
/// Of the line that gives a chunk's size, or a field after the last chunk.
const LONGEST_LINE: usize = 8 * 1024;

/// What is to be kept of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keep {
    pub(super) fields: bool,
    pub(super) body: bool,
}

/// An answer, as far as it has arrived.
#[derive(Debug)]
pub(super) struct Answer {
    state: State,
    /// The bytes of a head that is not complete, or of a line of the chunked coding.
    partial: Vec<u8>,
    /// Bytes of heads so far, those of provisional answers included.
    head_bytes: usize,
    to_head: bool,
    keep: Keep,
    pub(super) status: Option<u16>,
    pub(super) minor_version: u8,
    /// The connection can carry another request.
    pub(super) reusable: bool,
    /// If they are to be kept.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The body is longer than what is kept of one.
    pub(super) body_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    Complete,
}

/// Why what came is not HTTP.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbage {
    #[error("the answer is not HTTP: {0}")]
    Head(httparse::Error),
    #[error("the head of the answer is longer than 64 KiB or 100 fields")]
    Endless,
    #[error("the answer's length is given as `{0}`")]
    Length(String),
    #[error("the answer's chunks are broken")]
    Chunk,
    #[error("the server switched to another protocol")]
    Switched,
}

impl Answer {
    /// `to_head`: the answer to a HEAD request has no body, whatever its fields say.
    pub(super) fn new(to_head: bool, keep: Keep) -> Self {
        Self {
            state: State::Head,
            partial: Vec::new(),
            head_bytes: 0,
            to_head,
            keep,
            status: None,
            minor_version: 1,
            reusable: false,
            fields: Vec::new(),
            body: Vec::new(),
            body_cut: false,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The connection ended: is that the end of the answer?
    pub(super) fn closed(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Complete;
        }
        self.reusable = false;
        self.is_complete()
    }

    /// Takes in what came next. What comes after the end makes the connection useless.
    pub(super) fn feed(&mut self, mut input: &[u8]) -> Result<(), Garbage> {
        while !input.is_empty() {
            input = match self.state {
                State::Head => self.head(input)?,
                State::Length(left) => {
                    let taken = self.content(input, left);
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::Complete } else { State::Length(left) };
                    &input[taken..]
                }
                State::UntilClose => {
                    self.content(input, u64::MAX);
                    &[]
                }
                State::Chunk(left) => {
                    let taken = self.content(input, left);
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    &input[taken..]
                }
                State::ChunkSize | State::ChunkEnd | State::Trailer => self.line(input)?,
                State::Complete => {
                    self.reusable = false;
                    &[]
                }
            };
        }
        Ok(())
    }

    fn content(&mut self, input: &[u8], left: u64) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        if self.keep.body && !self.to_head {
            let kept = taken.min(LARGEST_BODY - self.body.len());
            self.body_cut |= kept < taken;
            self.body.extend_from_slice(&input[..kept]);
        }
        taken
    }

    /// A head usually arrives in one piece, and is then read where it stands.
    fn head<'input>(&mut self, input: &'input [u8]) -> Result<&'input [u8], Garbage> {
        let before = self.partial.len();
        let parsed = if before == 0 {
            self.parse(input)?
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(input);
            // Only a line end can complete it: bytes that trickle in are not read again and again.
            let parsed = if memchr::memchr(b'\n', input).is_some() { self.parse(&whole)? } else { None };
            self.partial = whole;
            parsed
        };
        if let Some(length) = parsed {
            self.head_bytes += length;
            self.partial.clear();
            return if self.head_bytes > LONGEST_HEAD {
                Err(Garbage::Endless)
            } else {
                Ok(&input[length - before..])
            };
        }
        if before == 0 {
            self.partial.extend_from_slice(input);
        }
        if self.head_bytes + self.partial.len() > LONGEST_HEAD {
            return Err(Garbage::Endless);
        }
        Ok(&[])
    }

    /// The length of the head, when it is complete.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Garbage> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            &mut fields,
        );
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Garbage::Endless),
            Err(error) => return Err(Garbage::Head(error)),
        };
        let status = response.code.unwrap_or(0);
        if status == 101 {
            return Err(Garbage::Switched);
        }
        if (100..200).contains(&status) {
            // Provisional: the answer is still to come.
            return Ok(Some(length));
        }
        self.minor_version = response.version.unwrap_or(1);
        self.status = Some(status);
        let mut content_length = None;
        let mut chunked = false;
        let mut coded = false;
        let mut persistent = self.minor_version == 1;
        for field in &*response.headers {
            let name = field.name;
            if name.eq_ignore_ascii_case("content-length") {
                let text = || String::from_utf8_lossy(field.value).into_owned();
                let value = std::str::from_utf8(field.value)
                    .ok()
                    .filter(|value| !value.starts_with('+'))
                    .and_then(|value| value.trim().parse::<u64>().ok());
                let value = value.ok_or_else(|| Garbage::Length(text()))?;
                if content_length.is_some_and(|earlier| earlier != value) {
                    return Err(Garbage::Length(text()));
                }
                content_length = Some(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                coded = true;
                chunked = last_word_is(field.value, "chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                for word in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if word.eq_ignore_ascii_case(b"close") {
                        persistent = false;
                    } else if word.eq_ignore_ascii_case(b"keep-alive") && self.minor_version == 0 {
                        persistent = true;
                    }
                }
            }
            if self.keep.fields {
                self.fields.push((name.to_owned(), String::from_utf8_lossy(field.value).into_owned()));
            }
        }
        self.reusable = persistent;
        self.state = if self.to_head || status == 204 || status == 304 {
            State::Complete
        } else if chunked {
            State::ChunkSize
        } else if coded {
            State::UntilClose
        } else {
            match content_length {
                Some(0) => State::Complete,
                Some(length) => State::Length(length),
                None => State::UntilClose,
            }
        };
        Ok(Some(length))
    }

    /// One line of the chunked coding.
    fn line<'input>(&mut self, input: &'input [u8]) -> Result<&'input [u8], Garbage> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            self.partial.extend_from_slice(input);
            return if self.partial.len() > LONGEST_LINE { Err(Garbage::Chunk) } else { Ok(&[]) };
        };
        let mut line = std::mem::take(&mut self.partial);
        line.extend_from_slice(&input[..end]);
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        self.state = match self.state {
            State::ChunkSize => match chunk_size(text)? {
                0 => State::Trailer,
                size => State::Chunk(size),
            },
            State::ChunkEnd if text.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err(Garbage::Chunk),
            _ if text.is_empty() => State::Complete,
            _ => {
                self.head_bytes += text.len();
                if self.head_bytes > LONGEST_HEAD {
                    return Err(Garbage::Endless);
                }
                State::Trailer
            }
        };
        line.clear();
        self.partial = line;
        Ok(&input[end + 1..])
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Garbage> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Garbage::Chunk);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(Garbage::Chunk)
}

fn last_word_is(value: &[u8], word: &str) -> bool {
    value
        .rsplit(|byte| *byte == b',')
        .next()
        .is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: Keep = Keep { fields: true, body: true };

    fn fed(pieces: &[&[u8]]) -> Result<Answer, Garbage> {
        let mut answer = Answer::new(false, KEEP);
        for piece in pieces {
            answer.feed(piece)?;
        }
        Ok(answer)
    }

    /// The same, however it is cut: status, body, complete, reusable.
    #[track_caller]
    fn check(bytes: &[u8], status: u16, body: &[u8], complete: bool, reusable: bool) {
        for cut in 0..=bytes.len() {
            let answer = fed(&[&bytes[..cut], &bytes[cut..]]).unwrap();
            let found = (answer.status, &answer.body[..], answer.is_complete(), answer.reusable);
            assert_eq!(found, (Some(status), body, complete, reusable), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(fed(&single).unwrap().body, body);
    }

    #[track_caller]
    fn refused(bytes: &[u8], why: Garbage) {
        for cut in 0..=bytes.len() {
            assert_eq!(fed(&[&bytes[..cut], &bytes[cut..]]).unwrap_err(), why, "cut at {cut}");
        }
    }

    #[test]
    fn answers_of_every_framing_are_read_to_their_end_however_they_are_cut() {
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", true, true);
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", true, true);
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", 200, b"ok", false, true);
        check(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 500, b"", true, false);
        check(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", true, true);
        check(b"HTTP/1.1 200 OK\r\n\r\nuntil it ends", 200, b"until it ends", false, true);
        check(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", true, false);
        check(
            b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: Keep-Alive\r\n\r\nok",
            200,
            b"ok",
            true,
            true,
        );
        check(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
            200,
            b"abc0123456789",
            true,
            true,
        );
        check(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: a\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\nx",
            201,
            b"x",
            true,
            true,
        );
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokand more", 200, b"ok", true, false);
    }

    #[test]
    fn an_answer_that_ends_with_its_connection_is_complete_then_and_others_are_not() {
        let mut answer = fed(&[b"HTTP/1.1 200 OK\r\n\r\nsome"]).unwrap();
        assert!(answer.closed() && !answer.reusable);
        assert!(!fed(&[b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome"]).unwrap().closed());
        assert!(!fed(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]).unwrap().closed());
        assert!(!fed(&[b"HTTP/1.1 200 OK\r\n"]).unwrap().closed());
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let mut answer = Answer::new(true, KEEP);
        answer.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").unwrap();
        assert!(answer.is_complete() && answer.reusable);
    }

    #[test]
    fn garbage_is_refused() {
        refused(b"SSH-2.0-OpenSSH_9.2\r\n", Garbage::Head(httparse::Error::Version));
        refused(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", Garbage::Length("-1".to_owned()));
        refused(
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            Garbage::Length("2".to_owned()),
        );
        refused(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Garbage::Chunk);
        refused(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n", Garbage::Chunk);
        refused(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Garbage::Switched);
    }

    #[test]
    fn what_does_not_end_is_given_up_in_bounded_memory() {
        for line in ["x: y\r\n", "x: a long value that goes on for a while\r\n"] {
            let mut answer = fed(&[b"HTTP/1.1 200 OK\r\n"]).unwrap();
            let given_up = (0..1_000_000).find_map(|_| answer.feed(line.as_bytes()).err());
            assert_eq!(given_up, Some(Garbage::Endless));
            assert!(answer.partial.capacity() <= 4 * LONGEST_HEAD);
        }
        let mut answer = Answer::new(false, KEEP);
        let given_up = (0..1_000_000).find_map(|_| answer.feed(b"HTTP/1.1 100 Continue\r\n\r\n").err());
        assert_eq!(given_up, Some(Garbage::Endless));
        let mut answer = fed(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]).unwrap();
        assert_eq!((0..1_000_000).find_map(|_| answer.feed(b"0").err()), Some(Garbage::Chunk));
        let mut answer = fed(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"]).unwrap();
        assert_eq!((0..1_000_000).find_map(|_| answer.feed(b"a: b\r\n").err()), Some(Garbage::Endless));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_but_never_panic(
            bytes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10),
            good in any::<bool>(),
        ) {
            let mut answer = Answer::new(false, KEEP);
            if good {
                answer.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
            }
            for piece in bytes {
                if answer.feed(&piece).is_err() {
                    break;
                }
            }
        }
    }
}
