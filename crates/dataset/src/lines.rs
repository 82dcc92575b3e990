//! Lines of a file in a buffer of fixed size, and numbers of their cells.

use std::io::Read;
use std::path::Path;

use crate::cells::is_open;
use crate::error::{DatasetError, Place};

/// Fits into the cache of a processor beside what is made of the lines.
const BUFFER: usize = 256 << 10;
/// No line of a dataset is longer: a file without lines is refused before it fills the memory.
const LONGEST: usize = 64 << 20;

/// Gives the lines of a reader without their ends, and where each is.
pub(crate) struct Lines<'a> {
    reader: &'a mut dyn Read,
    file: &'a str,
    buffer: Vec<u8>,
    /// What of the buffer is filled and not yet given.
    start: usize,
    end: usize,
    line: u64,
    is_done: bool,
    /// The line given last ended with a carriage return.
    has_return: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(reader: &'a mut dyn Read, file: &'a str) -> Self {
        Self {
            reader,
            file,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            line: 0,
            is_done: false,
            has_return: false,
        }
    }

    /// The place of a cell (from 1) of the line given last, or of all of the line.
    pub(crate) fn place(&self, column: Option<usize>) -> Place {
        Place { file: self.file.to_owned(), line: self.line.max(1), column }
    }

    pub(crate) fn wrong(
        &self,
        column: Option<usize>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> DatasetError {
        DatasetError::content(self.place(column), problem, help)
    }

    /// The next line as a range of [`Lines::bytes`]; an empty last line is none.
    pub(crate) fn next(&mut self) -> Result<Option<std::ops::Range<usize>>, DatasetError> {
        let mut searched = self.start;
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[searched..self.end]) {
                let line = self.start..searched + length;
                self.start = line.end + 1;
                self.line += 1;
                return Ok(Some(self.trimmed(line)));
            }
            if self.is_done {
                let line = self.start..self.end;
                self.start = self.end;
                if line.is_empty() {
                    return Ok(None);
                }
                self.line += 1;
                return Ok(Some(self.trimmed(line)));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            searched = self.end;
            if self.end == self.buffer.len() {
                if self.buffer.len() >= LONGEST {
                    self.line += 1;
                    return Err(self.wrong(
                        None,
                        format!("the line is longer than {} MiB", LONGEST >> 20),
                        "check that the file is a CSV file of the dataset",
                    ));
                }
                self.buffer.resize(2 * self.buffer.len(), 0);
            }
            let read = loop {
                match self.reader.read(&mut self.buffer[self.end..]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            let read = read.map_err(|error| DatasetError::io(Path::new(self.file), error))?;
            self.is_done = read == 0;
            self.end += read;
        }
    }

    /// The bytes of a line that was given last.
    pub(crate) fn bytes(&self, line: std::ops::Range<usize>) -> &[u8] {
        &self.buffer[line]
    }

    /// The whole record of a line that was given last, where a cell in quotation marks goes on in the next lines. None: the line
    /// is the record.
    pub(crate) fn joined(&mut self, line: std::ops::Range<usize>) -> Result<Option<Vec<u8>>, DatasetError> {
        // Only a line with a quotation mark can be open.
        let bytes = self.bytes(line);
        if memchr::memchr(b'"', bytes).is_none() || !is_open(bytes, false) {
            return Ok(None);
        }
        let mut record = bytes.to_vec();
        let first = self.place(None);
        let mut is_still_open = true;
        while is_still_open {
            let ending: &[u8] = if self.has_return { b"\r\n" } else { b"\n" };
            let next = if record.len() < LONGEST { self.next()? } else { None };
            let Some(next) = next else {
                return Err(DatasetError::content(
                    first,
                    "a quotation mark opens a cell here, and nothing closes it",
                    "double a quotation mark that is part of a name, and close each cell that begins with one",
                ));
            };
            record.extend_from_slice(ending);
            let bytes = self.bytes(next);
            is_still_open = is_open(bytes, true);
            record.extend_from_slice(bytes);
        }
        Ok(Some(record))
    }

    fn trimmed(&mut self, line: std::ops::Range<usize>) -> std::ops::Range<usize> {
        self.has_return = self.buffer[line.clone()].ends_with(b"\r");
        line.start..line.end - usize::from(self.has_return)
    }
}

/// What is wrong with cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The cell, from 0, is empty.
    Empty(usize),
    /// The cell, from 0, holds no whole number of 0 or more.
    NotANumber(usize),
    /// There are so many cells, and not the expected number.
    Count(usize),
}

/// A cell with more digits could not be added up in 64 bits with those of all rows.
const MOST_DIGITS: usize = 10;

/// The number of a cell; `816.0` is 816. None for what is no whole number of 0 or more.
pub(crate) fn whole(cell: &[u8]) -> Option<u64> {
    let digits = cell.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_whole = match &cell[digits..] {
        [] => true,
        [b'.', zeros @ ..] => !zeros.is_empty() && zeros.iter().all(|byte| *byte == b'0'),
        _ => false,
    };
    (is_whole && (1..=MOST_DIGITS).contains(&digits))
        .then(|| cell[..digits].iter().fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0')))
}

/// Adds up the cells of `bytes`, which are separated by commas and must be `expected` many.
///
/// Most cells of a trace have one digit. Eight bytes that are four such cells are recognized and added with a few
/// operations on a word; the others are read digit by digit.
pub(crate) fn sum(bytes: &[u8], expected: usize) -> Result<u64, Fault> {
    const ZEROS: [u8; 32] = *b"0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,";
    const COMMAS: u64 = u64::from_le_bytes([0, b',', 0, b',', 0, b',', 0, b',']);
    const ODD: u64 = 0xff00_ff00_ff00_ff00;
    const DIGITS: u64 = u64::from_le_bytes([b'0', 0, b'0', 0, b'0', 0, b'0', 0]);
    let (mut total, mut cells, mut rest) = (0_u64, 0, bytes);
    loop {
        while let Some((first, behind)) = rest.split_first_chunk::<32>() {
            if *first != ZEROS {
                break;
            }
            cells += 16;
            rest = behind;
        }
        while let Some((first, behind)) = rest.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*first);
            if word & ODD != COMMAS {
                break;
            }
            // A byte below `0` borrows from the byte above it, which is zero else; a byte above `9` shows in its high half.
            let digits = (word & !ODD).wrapping_sub(DIGITS);
            if (digits | digits.wrapping_add(0x0006_0006_0006_0006)) & !0x000f_000f_000f_000f != 0 {
                break;
            }
            total += digits.wrapping_mul(0x0001_0001_0001_0001) >> 48;
            cells += 4;
            rest = behind;
        }
        let (mut value, mut length) = (0_u64, 0);
        for byte in rest {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        match rest.get(length) {
            Some(b',') if (1..=MOST_DIGITS).contains(&length) => {
                total += value;
                rest = &rest[length + 1..];
            }
            None if (1..=MOST_DIGITS).contains(&length) => {
                total += value;
                cells += 1;
                return if cells == expected { Ok(total) } else { Err(Fault::Count(cells)) };
            }
            // What is unusual: an empty cell, a float, or a mistake.
            _ => {
                let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
                match &rest[..end] {
                    [] => return Err(Fault::Empty(cells)),
                    cell => total += whole(cell).ok_or(Fault::NotANumber(cells))?,
                }
                if end == rest.len() {
                    cells += 1;
                    return if cells == expected { Ok(total) } else { Err(Fault::Count(cells)) };
                }
                rest = &rest[end + 1..];
            }
        }
        cells += 1;
        if cells > expected {
            return Err(Fault::Count(cells + 1 + memchr::memchr_iter(b',', rest).count()));
        }
    }
}

/// As [`sum`], where an empty cell counts as zero: the sum, and how many cells are empty.
pub(crate) fn sum_with_empty(bytes: &[u8], expected: usize) -> Result<(u64, u64), Fault> {
    let (mut total, mut empty, mut cells) = (0_u64, 0, 0);
    for cell in bytes.split(|byte| *byte == b',') {
        match cell {
            [] => empty += 1,
            cell => total += whole(cell).ok_or(Fault::NotANumber(cells))?,
        }
        cells += 1;
    }
    if cells == expected { Ok((total, empty)) } else { Err(Fault::Count(cells)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: usize, result: Result<u64, Fault>) {
        assert_eq!(sum(text.as_bytes(), expected), result, "{text}");
    }

    #[test]
    fn cells_are_added_up_and_mistakes_are_found() {
        check("7", 1, Ok(7));
        check("0,1,2,3,4,5,6,7,8,9,10", 11, Ok(55));
        check("1,2,3,4,1234567890", 5, Ok(1_234_567_900));
        check("1,2.0,3.00", 3, Ok(6));
        check("1,2,,4", 4, Err(Fault::Empty(2)));
        check("1,2,3,", 4, Err(Fault::Empty(3)));
        check("", 1, Err(Fault::Empty(0)));
        check("1,2,x,4,5,6,7,8", 8, Err(Fault::NotANumber(2)));
        check("1,2,3,:,5,6,7,8", 8, Err(Fault::NotANumber(3)));
        check("1,2,3,/,5,6,7,8", 8, Err(Fault::NotANumber(3)));
        check("1,-2,3", 3, Err(Fault::NotANumber(1)));
        check("1,2.5,3", 3, Err(Fault::NotANumber(1)));
        check("1,2.,3", 3, Err(Fault::NotANumber(1)));
        check("1,12345678901", 2, Err(Fault::NotANumber(1)));
        check("1,2,3", 4, Err(Fault::Count(3)));
        check("1,2,3,4,5", 4, Err(Fault::Count(5)));
        check(&["0"; 100].join(","), 100, Ok(0));
        check(&["0"; 100].join(","), 99, Err(Fault::Count(100)));
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_cells(cells in prop::collection::vec(prop_oneof![4 => 0_u64..3, 2 => 0_u64..10, 1 => 0_u64..100_000], 1..200)) {
            let text: Vec<String> = cells.iter().map(u64::to_string).collect();
            prop_assert_eq!(sum(text.join(",").as_bytes(), cells.len()), Ok(cells.iter().sum()));
        }

        #[test]
        fn any_byte_in_any_place_is_read_as_the_plain_rule_says(place in 0_usize..40, byte in 0_u8..=255) {
            let mut bytes = b"0,1,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,3,9,0,5".to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            let cells: Vec<&[u8]> = bytes.split(|byte| *byte == b',').collect();
            let plain: Option<u64> = cells.iter().map(|cell| whole(cell)).sum();
            prop_assert_eq!(sum(&bytes, 21).ok(), plain.filter(|_| cells.len() == 21));
        }
    }
}
