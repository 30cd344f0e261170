//! Writes histories.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::marker::PhantomData;
use std::path::Path;

use crate::header::{FORMAT, Header, VERSION};
use crate::{Origin, Record};

/// What is gathered before it is handed to the kernel, in bytes.
const BUFFER: usize = 1 << 16;

/// Writes one history, line by line. It keeps 64 KiB and a line in memory.
///
/// Dropped, it writes what it has and hides what goes wrong with that: end it with
/// [`Writer::finish`].
#[derive(Debug)]
pub struct Writer<R, W: Write = File> {
    out: BufWriter<W>,
    line: Vec<u8>,
    records: PhantomData<fn(R)>,
}

impl<R: Record> Writer<R> {
    /// Creates the file at `path`, which must be new, with the directories that lead to it.
    ///
    /// # Errors
    /// When it is there already, or cannot be written.
    pub fn create(path: &Path, origin: &Origin) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // Evidence is not overwritten.
        Self::new(File::create_new(path)?, origin)
    }
}

impl<R: Record, W: Write> Writer<R, W> {
    /// Writes the header to `out`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: W, origin: &Origin) -> io::Result<Self> {
        let mut writer = Self {
            out: BufWriter::with_capacity(BUFFER, out),
            line: Vec::new(),
            records: PhantomData,
        };
        let header = Header {
            format: FORMAT.into(),
            version: VERSION,
            kind: R::KIND,
            origin: origin.clone(),
        };
        writer.write_line(&header)?;
        Ok(writer)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, record: &R) -> io::Result<()> {
        self.write_line(record)
    }

    fn write_line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    /// Hands everything to the kernel, where it survives this process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }
}
