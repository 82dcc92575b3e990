//! Lists of traces as tools give them, `{"Traces": [...]}` of the AWS CLI or a plain `[...]`, as one trace per line. The ids of
//! traces that X-Ray did not deliver (`"UnprocessedTraceIds": [...]`) have a line each, too. However long the list is, no more is
//! held than a buffer.

use std::io::{self, Read};

/// Bytes that are read together.
const BUFFER: usize = 1 << 16;

/// The keys of the lists in an answer of X-Ray.
const KEYS: [&[u8]; 2] = [b"Traces", b"UnprocessedTraceIds"];

/// The most bytes of a key that are kept: one more than the longest of these has.
const LONGEST_KEY: usize = 20;

/// The elements of the lists in an input, one per line. There may be several answers, one after the other.
pub(super) struct Elements<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer is not read yet.
    from: usize,
    to: usize,
    /// Open brackets around the next byte.
    depth: usize,
    /// Open brackets around the elements; none outside of a list.
    list: Option<usize>,
    text: Text,
    /// The last text outside of a list: it may be the key of the list.
    key: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Outside,
    Within,
    Escaped,
}

impl<R: Read> Elements<R> {
    pub(super) fn new(input: R) -> Self {
        let (buffer, key) = (vec![0; BUFFER], Vec::new());
        Self { input, buffer, from: 0, to: 0, depth: 0, list: None, text: Text::Outside, key }
    }

    /// What becomes of a byte.
    fn step(&mut self, byte: u8) -> Option<u8> {
        let within_element = self.list.is_some_and(|list| self.depth > list);
        if self.text != Text::Outside {
            self.text = match (self.text, byte) {
                (Text::Within, b'\\') => Text::Escaped,
                (Text::Within, b'"') => Text::Outside,
                _ => Text::Within,
            };
            if self.list.is_none() && self.text == Text::Within && self.key.len() < LONGEST_KEY {
                self.key.push(byte);
            }
            return self.list.map(|_| byte);
        }
        match byte {
            b'"' => {
                self.text = Text::Within;
                self.key.clear();
            }
            b'{' => self.depth += 1,
            b'[' => {
                let is_list = self.depth == 0 || (self.depth == 1 && KEYS.contains(&&*self.key));
                self.depth += 1;
                if self.list.is_none() && is_list {
                    self.list = Some(self.depth);
                    return None;
                }
            }
            b'}' | b']' => {
                let ends_list = self.list == Some(self.depth);
                self.depth = self.depth.saturating_sub(1);
                if ends_list {
                    self.list = None;
                    self.key.clear();
                    return Some(b'\n');
                }
            }
            b',' if self.list == Some(self.depth) => return Some(b'\n'),
            b'\n' | b'\r' => return within_element.then_some(b' '),
            _ => {}
        }
        self.list.map(|_| byte)
    }
}

impl<R: Read> Read for Elements<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut used = 0;
        while used < out.len() {
            if self.from == self.to {
                if used > 0 {
                    break;
                }
                (self.from, self.to) = (0, self.input.read(&mut self.buffer)?);
                if self.to == 0 {
                    break;
                }
            }
            let byte = self.buffer[self.from];
            self.from += 1;
            if let Some(byte) = self.step(byte) {
                out[used] = byte;
                used += 1;
            }
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut found = String::new();
        Elements::new(text.as_bytes()).read_to_string(&mut found).unwrap();
        let lines: Vec<&str> = found.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, expected, "{text}");
    }

    #[test]
    fn each_element_of_a_list_is_a_line() {
        check(r#"[{"a":[1,2]},{"b":"],[\"}"}]"#, &[r#"{"a":[1,2]}"#, r#"{"b":"],[\"}"}"#]);
        check("[\n  {\n    \"a\": 1\n  },\n  {}\n]\n", &["{     \"a\": 1   }", "{}"]);
        check(
            "{\"Other\": [[7], {\"Traces\": [8]}], \"Traces\": [{\"Id\": 1}, {\"Id\": 2}], \"NextToken\": \"Traces\"}\n{\"Traces\": [{}]}",
            &["{\"Id\": 1}", "{\"Id\": 2}", "{}"],
        );
        check(
            "{\"UnprocessedTraceIds\": [\"1-a\", \"1-b\"], \"UnprocessedTraceIdsX\": [7], \"Traces\": [{}]}",
            &["\"1-a\"", "\"1-b\"", "{}"],
        );
        check("[]", &[]);
        check("{\"Traces\": [{\"Id\": \"cut", &["{\"Id\": \"cut"]);
    }
}
