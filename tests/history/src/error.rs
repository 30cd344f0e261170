//! What may be wrong with a history.

use std::io;
use std::path::PathBuf;

use crate::Kind;
use crate::header::{FORMAT, VERSION};

/// A history that cannot be used: which file, which line, and what is wrong there.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", place(.file, *.line))]
pub struct Error {
    /// The file, or whatever names the source.
    pub file: PathBuf,
    /// The line, from 1; none where it is the file as a whole.
    pub line: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

fn place(file: &std::path::Path, line: Option<u64>) -> String {
    match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}

/// What is wrong with a history.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read, or not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is nothing in it.
    #[error("empty, where a history begins with a header")]
    Empty,
    /// The last line has no end.
    #[error(
        "cut short: the last line has no end, so whoever wrote it was stopped; without that line the \
         rest can be read, if it is a client's"
    )]
    CutShort,
    /// The last line is there, and it is not the end.
    #[error("cut short: there is no `end` behind this line, so the replica held more than this")]
    NoEnd,
    /// There is something behind the end.
    #[error("there is more behind the `end`")]
    AfterEnd,
    /// A line that is no JSON.
    #[error("not NDJSON: {0}")]
    NotJson(String),
    /// A line too long to be one.
    #[error("not NDJSON: a line of more than {0} bytes")]
    TooLong(usize),
    /// A line with other content than its kind has.
    #[error("not what a line of kind `{}` says: {reason}", .kind.as_str())]
    Malformed {
        /// The kind.
        kind: Kind,
        /// What is unexpected.
        reason: String,
    },
    /// The first line is no header.
    #[error("not a history: its first line is no header with \"format\": \"{FORMAT}\"")]
    NoHeader,
    /// Another version.
    #[error("a history of version {0}, where this program knows version {VERSION}")]
    Version(u32),
    /// Another kind.
    #[error("a history of kind `{}`, where one of kind `{}` is wanted", .found.as_str(), .wanted.as_str())]
    Kind {
        /// What it is.
        found: Kind,
        /// What it should be.
        wanted: Kind,
    },
    /// Times without a clock.
    #[error("the header names no clock, and there are times in a history of kind `{}`", .0.as_str())]
    NoClock(Kind),
    /// Another clock than that of another file.
    #[error(
        "its clock is `{found}`, and that of {other} is `{expected}`: their times do not compare"
    )]
    Clock {
        /// Its own.
        found: String,
        /// The other file.
        other: PathBuf,
        /// The other file's.
        expected: String,
    },
    /// Another cluster than that of another file.
    #[error("it is about the cluster `{found}`, and {other} about `{expected}`")]
    Cluster {
        /// Its own.
        found: String,
        /// The other file.
        other: PathBuf,
        /// The other file's.
        expected: String,
    },
    /// Two files of one replica.
    #[error("it is of `{source_name}`, and so is {other}")]
    SameSource {
        /// The replica.
        source_name: String,
        /// The other file.
        other: PathBuf,
    },
    /// A completion of what was not invoked, or was completed before.
    #[error("operation {op} of process {process} is completed and is not under way")]
    NotInvoked {
        /// The process.
        process: u64,
        /// The operation.
        op: u64,
    },
    /// Operations of a process out of order.
    #[error("operation {op} of process {process} is invoked after operation {last}")]
    OutOfOrder {
        /// The process.
        process: u64,
        /// The operation.
        op: u64,
        /// The last one.
        last: u64,
    },
    /// An answer to another question.
    #[error(
        "operation {op} of process {process} is answered with something else than it asked for"
    )]
    WrongAnswer {
        /// The process.
        process: u64,
        /// The operation.
        op: u64,
    },
    /// Time goes back.
    #[error("time goes back within `{who}`, from {before} to {at}")]
    TimeWentBack {
        /// Whose time.
        who: String,
        /// The later line's.
        at: u64,
        /// The earlier line's.
        before: u64,
    },
    /// A fault begins twice, or ends without having begun.
    #[error("fault {0} begins twice, or ends before it has begun")]
    Fault(u64),
}
