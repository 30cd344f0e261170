//! Reads histories, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::header::{FORMAT, Header, Preamble, VERSION};
use crate::{Error, Kind, Origin, Problem, Record};

/// The longest line, in bytes; the longest that is written is some 1 KiB.
const MAX_LINE: usize = 1 << 20;

/// A file whose header has been read. It keeps one line in memory.
#[derive(Debug)]
pub struct Source<B = BufReader<File>> {
    file: PathBuf,
    input: B,
    line: Vec<u8>,
    /// Lines read so far.
    read: u64,
    kind: Kind,
    origin: Origin,
}

impl Source {
    /// Opens the file at `path` and reads its header.
    ///
    /// # Errors
    /// When it cannot be read, or is no history of this version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error {
            file: path.into(),
            line: None,
            problem: error.into(),
        })?;
        Source::new(path, BufReader::new(file))
    }
}

impl<B: BufRead> Source<B> {
    /// Reads the header from `input`, which errors call `file`.
    ///
    /// # Errors
    /// When it cannot be read, or is no history of this version.
    pub fn new(file: &Path, mut input: B) -> Result<Self, Error> {
        let mut line = Vec::new();
        let failed = |line, problem| Error {
            file: file.into(),
            line,
            problem,
        };
        match read_line(&mut input, &mut line) {
            Ok(true) => {}
            Ok(false) => return Err(failed(None, Problem::Empty)),
            Err(problem) => return Err(failed(Some(1), problem)),
        }
        let header = parse_header(&line).map_err(|problem| failed(Some(1), problem))?;
        Ok(Self {
            file: file.into(),
            input,
            line,
            read: 1,
            kind: header.kind,
            origin: header.origin,
        })
    }

    /// What its lines are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where they come from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// An error at the line read last.
    pub(crate) fn error(&self, problem: Problem) -> Error {
        Error {
            file: self.file.clone(),
            line: Some(self.read),
            problem,
        }
    }

    /// Its lines.
    ///
    /// # Errors
    /// When they are of another kind.
    pub fn records<R: Record>(self) -> Result<Records<R, B>, Error> {
        if self.kind == R::KIND {
            Ok(Records {
                source: self,
                failed: false,
                records: PhantomData,
            })
        } else {
            Err(Error {
                problem: Problem::Kind {
                    found: self.kind,
                    wanted: R::KIND,
                },
                file: self.file,
                line: Some(1),
            })
        }
    }

    fn next<R: Record>(&mut self) -> Result<Option<R>, Problem> {
        // An error of what follows is one of the next line.
        self.read += 1;
        if !read_line(&mut self.input, &mut self.line)? {
            self.read -= 1;
            return Ok(None);
        }
        parse(&self.line, R::KIND).map(Some)
    }
}

/// The lines of a file, with their numbers. It ends with the first error.
#[derive(Debug)]
pub struct Records<R, B = BufReader<File>> {
    source: Source<B>,
    failed: bool,
    records: PhantomData<fn() -> R>,
}

impl<R, B> Records<R, B> {
    /// The file.
    pub fn source(&self) -> &Source<B> {
        &self.source
    }
}

impl<R: Record, B: BufRead> Iterator for Records<R, B> {
    type Item = Result<(u64, R), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.source.next() {
            Ok(record) => record.map(|record| Ok((self.source.read, record))),
            Err(problem) => {
                self.failed = true;
                Some(Err(self.source.error(problem)))
            }
        }
    }
}

/// Reads a line, without its end, into `line`; false when there is none.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, Problem> {
    line.clear();
    let limit = MAX_LINE as u64 + 1;
    if input.by_ref().take(limit).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.pop() == Some(b'\n') {
        Ok(true)
    } else if line.len() >= MAX_LINE {
        Err(Problem::TooLong(MAX_LINE))
    } else {
        Err(Problem::CutShort)
    }
}

fn parse_header(line: &[u8]) -> Result<Header, Problem> {
    // Valid JSON that is no header is the other thing.
    let _any: serde::de::IgnoredAny = parse(line, Kind::Client)?;
    match serde_json::from_slice(line) {
        Ok(Preamble { format, .. }) if format != FORMAT => return Err(Problem::NoHeader),
        Ok(Preamble { version, .. }) if version != VERSION => {
            return Err(Problem::Version(version));
        }
        Ok(_) => {}
        Err(_) => return Err(Problem::NoHeader),
    }
    let header: Header = serde_json::from_slice(line).map_err(|_other| Problem::NoHeader)?;
    let is_timed = match header.kind {
        Kind::Client | Kind::Faults | Kind::Consensus => true,
        Kind::Orders | Kind::Stock => false,
    };
    if is_timed && header.origin.clock.is_none() {
        return Err(Problem::NoClock(header.kind));
    }
    Ok(header)
}

fn parse<T: DeserializeOwned>(line: &[u8], kind: Kind) -> Result<T, Problem> {
    serde_json::from_slice(line).map_err(|error| {
        // Every line is a line of its own, so its number in the message would mislead.
        let reason = error.to_string();
        let reason = match reason.rsplit_once(" at line 1 column ") {
            Some((reason, column)) => format!("{reason} at column {column}"),
            None => reason,
        };
        match error.classify() {
            Category::Data => Problem::Malformed { kind, reason },
            Category::Syntax | Category::Eof | Category::Io => Problem::NotJson(reason),
        }
    })
}

#[cfg(test)]
mod tests;
