//! Files of traces: found in folders, opened whether compressed or not, and how much of them has been read.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::protobuf::{self, Requests};
use super::unwrap::Elements;
use crate::read::source::{self, UnknownFormat};

/// The names that a file of traces has in the folder of an invocation, the preferred one first.
pub const TRACE_FILES: [&str; 3] = ["traces.json", "traces.json.gz", "traces.json.zst"];

/// The path that stands for the standard input.
pub(crate) const STANDARD_INPUT: &str = "-";

/// Bytes that show whether a file is a list of traces.
const START: u64 = 1 << 16;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An open file of traces, decompressed while it is read. Its first bytes, not its name, show the
/// compression.
pub(crate) struct Input {
    reader: Box<dyn Read + Send>,
    position: Position,
}

/// How many bytes of the file have been read, compressed as they lie there. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position(Arc<AtomicU64>);

impl Position {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counting<R> {
    inner: R,
    position: Position,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        self.position.0.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl Input {
    /// `-` is the standard input.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new(STANDARD_INPUT) {
            return Self::new(io::stdin());
        }
        let unreadable = |error| with_path(&error, "read", path);
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(with_path(&io::Error::from(io::ErrorKind::IsADirectory), "read", path));
        }
        Self::new(file).map_err(unreadable)
    }

    pub(crate) fn new(source: impl Read + Send + 'static) -> io::Result<Self> {
        let position = Position::default();
        let mut source = Counting { inner: source, position: position.clone() };
        let mut start = Vec::with_capacity(ZSTD.len());
        source.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
        let (is_gzip, is_zstd) = (start.starts_with(&GZIP), start == ZSTD);
        let source = Cursor::new(start).chain(source);
        let mut reader: Box<dyn Read + Send> = if is_gzip {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 17, source)))
        } else if is_zstd {
            Box::new(zstd::stream::read::Decoder::new(source)?)
        } else {
            Box::new(source)
        };
        let mut start = Vec::new();
        reader.by_ref().take(START).read_to_end(&mut start)?;
        let is_list = source::is_list_of_xray(&start);
        let framing = protobuf::framing(&start);
        let whole = Cursor::new(start).chain(reader);
        let reader: Box<dyn Read + Send> = match framing {
            Some(framing) => Box::new(Requests::new(whole, framing)),
            None if is_list => Box::new(Elements::new(whole)),
            None => Box::new(whole),
        };
        Ok(Self { reader, position })
    }

    pub(crate) fn position(&self) -> Position {
        self.position.clone()
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out)
    }
}

/// An input whose errors name its path.
pub(crate) struct Named<'a> {
    pub(crate) input: Input,
    pub(crate) path: &'a Path,
}

impl Read for Named<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.input.read(out).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => with_path(&error, "read", self.path),
        })
    }
}

/// The files of traces that are meant: a file stands for itself, a folder for the `traces.json` in it and below it
/// (also compressed; where several forms lie in one folder, the first of [`TRACE_FILES`]). In the order of the paths,
/// each once; hidden folders and symbolic links within folders are passed over.
///
/// A folder without traces is an error ([`io::ErrorKind::NotFound`]).
pub fn find_traces(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths {
        if path == Path::new(STANDARD_INPUT) {
            found.push(path.clone());
            continue;
        }
        let is_folder = fs::metadata(path).map_err(|error| with_path(&error, "read", path))?.is_dir();
        let before = found.len();
        if is_folder {
            search(path, &mut found)?;
        } else {
            found.push(path.clone());
        }
        if found.len() == before {
            let message = format!(
                "there is no {} in `{}` or below it; name a file of traces, or fetch them with `sb get-traces`",
                TRACE_FILES[0],
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
    }
    let mut known = std::collections::HashSet::new();
    found.retain(|path| known.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let unreadable = |error| with_path(&error, "read", folder);
    let mut folders = Vec::new();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if !name.to_string_lossy().starts_with('.') {
                folders.push(entry.path());
            }
        } else {
            names.push(name);
        }
    }
    found.extend(
        TRACE_FILES
            .into_iter()
            .find(|wanted| names.iter().any(|name| name == wanted))
            .map(|name| folder.join(name)),
    );
    folders.sort();
    folders.iter().try_for_each(|folder| search(folder, found))
}

/// Names the file that is of no known format.
pub(crate) fn with_format_of(error: io::Error, path: &Path) -> io::Error {
    match error.downcast::<UnknownFormat>() {
        Ok(unknown) => io::Error::new(io::ErrorKind::Unsupported, unknown.in_file(path)),
        Err(error) => error,
    }
}

/// The same kind of error, with the path that it is about and a way out.
pub(crate) fn with_path(error: &io::Error, verb: &str, path: &Path) -> io::Error {
    let way_out = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room and try again",
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            "it may be cut off or damaged: copy or compress it again"
        }
        io::ErrorKind::Other if verb == "read" => "it may be cut off or damaged: copy or compress it again",
        _ => "check the path and its permissions",
    };
    io::Error::new(error.kind(), format!("cannot {verb} `{}` ({error}); {way_out}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 1).unwrap()
    }

    #[test]
    fn compression_is_told_from_the_first_bytes() {
        let text = "a line\n".repeat(1000).into_bytes();
        let in_two = |compress: fn(&[u8]) -> Vec<u8>| [compress(&text[..70]), compress(&text[70..])].concat();
        for (what, bytes) in [("plain", text.clone()), ("gzip", in_two(gzip)), ("zstd", in_two(zstd))] {
            let length = bytes.len() as u64;
            let mut input = Input::new(Cursor::new(bytes)).unwrap();
            let mut read = Vec::new();
            input.read_to_end(&mut read).unwrap();
            assert!(read == text, "{what}");
            assert_eq!(input.position().bytes(), length, "{what}");
        }
        for short in ["", "{", "{}\n"] {
            let mut read = String::new();
            Input::new(short.as_bytes()).unwrap().read_to_string(&mut read).unwrap();
            assert_eq!(read, short);
        }
    }

    #[test]
    fn a_compressed_file_that_is_cut_off_is_an_error() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        for compressed in [gzip(&text), zstd(&text)] {
            let half = compressed[..compressed.len() / 2].to_vec();
            let read = |mut input: Input| input.read_to_end(&mut Vec::new());
            assert!(Input::new(Cursor::new(half)).and_then(read).is_err());
        }
    }

    #[test]
    fn folders_are_searched_and_each_file_is_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [
            "b/traces.json",
            "b/traces.json.gz",
            "a/c/traces.json.zst",
            ".hidden/traces.json",
            "a/other.json",
        ] {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "").unwrap();
        }
        let found =
            find_traces(&[folder.path().to_owned(), at("b/../b/traces.json"), at("a/other.json")]).unwrap();
        assert_eq!(found, [at("a/c/traces.json.zst"), at("b/traces.json"), at("a/other.json")]);

        fs::create_dir(at("empty")).unwrap();
        for (path, expected) in [("empty", "there is no traces.json in"), ("absent", "check the path")] {
            let message = find_traces(&[at(path)]).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(at(path).to_str().unwrap()), "{message}");
        }
    }
}
