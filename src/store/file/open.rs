//! Opening a folder: turns its segments into an engine's state, reports what cannot be read, and
//! rejects folders that must not be opened.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Frame, Piece, Reader};
use super::segment::{self, Segments};
use crate::store::journal::image::Image;

/// The error of opening a folder as an engine. Damaged files are not an error.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    InUse,
    Foreign(PathBuf, u64),
    Io(io::Error),
}

impl OpenError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self { path: path.to_owned(), why: Why::Io(error) }
    }

    /// Returns `true` if another process, or another engine of this process, uses the folder.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(self.why, Why::InUse)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::InUse => write!(f, "{path} is in use by another process"),
            Why::Foreign(file, format) => {
                let (file, reads) = (file.display(), frame::READ);
                write!(f, "{file} was written in format {format}; this version of mcp-http reads formats {reads}")
            }
            Why::Io(error) => write!(f, "{path} cannot be opened: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Io(error) => Some(error),
            Why::InUse | Why::Foreign(..) => None,
        }
    }
}

/// What was found when a folder was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Sessions that continue.
    pub sessions: usize,
    /// Tasks that were restored.
    pub tasks: usize,
    /// Bytes that could not be read. A few at the very end are normal after a crash: operations
    /// that were being written, and that were never acknowledged.
    pub unreadable_bytes: u64,
    /// Operations that were written and are lost, as far as the operations that follow them show.
    pub missing_steps: u64,
    /// Changes that were read but could not be applied, because the session or stream that they
    /// belong to is lost.
    pub unexplained_changes: u64,
}

/// The contents of a folder.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) segments: Segments,
    pub(super) image: Image,
    /// The number of the newest operation.
    pub(super) newest: u64,
    /// The number of the oldest operation that counts.
    pub(super) first: u64,
    pub(super) recovery: Recovery,
    /// The journal must be rewritten: a part of it could not be read, could not be applied, or has
    /// an earlier format.
    pub(super) renew: bool,
}

pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    let rejected = |why| OpenError { path: folder.to_owned(), why };
    let lock = segment::lock(folder).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => rejected(Why::InUse),
        _ => rejected(Why::Io(error)),
    })?;
    let found = segment::list(folder).map_err(|error| rejected(Why::Io(error)))?;
    let (files, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, path)| path.is_file());
    for (_, path) in &others {
        tracing::warn!(path = %path.display(), "what is named as a segment of the journal is no file");
    }
    let taken = others.last().map_or(0, |(number, _)| *number);
    let (settled, first) = promised(&files).map_err(|error| rejected(Why::Io(error)))?;
    let mut reading = Reading { settled, first, ..Reading::default() };
    let mut renew = false;
    let mut old = Vec::new();
    for (number, path) in files {
        let bytes = segment::read(&path).map_err(|error| rejected(Why::Io(error)))?;
        let mut pieces = Reader::new(&bytes);
        if let Some(format) = pieces.foreign_format() {
            return Err(rejected(Why::Foreign(path, format)));
        }
        renew |= pieces.is_earlier();
        let end = reading.segment(&path, &mut pieces);
        if end < bytes.len() as u64
            && let Err(error) = segment::cut(&path, end)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, segment = %path.display(), "what does not count could not be cut off");
            renew = true;
        }
        old.push((number, end));
    }
    let segments = Segments::after(folder, old, taken);
    let Reading { mut image, newest, mut recovery, .. } = reading;
    (recovery.sessions, recovery.tasks) = (image.sessions.len(), image.tasks.len());
    recovery.unexplained_changes = image.unexplained();
    let Recovery { unreadable_bytes, missing_steps, unexplained_changes, .. } = recovery;
    if missing_steps > 0 || unexplained_changes > 0 {
        tracing::error!(
            missing_steps,
            unexplained_changes,
            "the journal has holes: sessions and tasks are restored from the rest"
        );
    }
    tracing::info!(?recovery, folder = %folder.display(), "sessions and tasks were brought back");
    if unreadable_bytes + missing_steps + unexplained_changes > 0 {
        image.skip_lost_streams();
        renew = true;
    }
    Ok(Opened { lock, segments, image, newest, first, recovery, renew })
}

/// Returns up to which operation everything was safe when the last one was written, and the oldest
/// operation that counts. The newest segment that has any frame states both.
fn promised(files: &[(u64, PathBuf)]) -> io::Result<(u64, u64)> {
    for (_, path) in files.iter().rev() {
        let bytes = segment::read(path)?;
        let frames = Reader::new(&bytes).filter_map(|piece| match piece {
            Piece::Frame(frame) => Some((frame.settled, frame.first)),
            Piece::Hole { .. } => None,
        });
        if let Some(promised) = frames.reduce(|(settled, first), next| (settled.max(next.0), first.max(next.1))) {
            return Ok(promised);
        }
    }
    Ok((0, 1))
}

#[derive(Default)]
struct Reading {
    image: Image,
    newest: u64,
    /// No operation up to this one is missing.
    whole_to: u64,
    /// Operations missing after this one were never acknowledged.
    settled: u64,
    /// Operations missing before this one no longer count.
    first: u64,
    recovery: Recovery,
}

impl Reading {
    /// Reads a segment, and returns where the part of it that counts ends.
    fn segment(&mut self, path: &Path, pieces: &mut Reader<'_>) -> u64 {
        // Where the last operation that counts ends, and how many bytes were unreadable up to
        // there.
        let (mut end, mut unreadable) = (pieces.at(), self.recovery.unreadable_bytes);
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Hole { at, bytes } => {
                    self.recovery.unreadable_bytes += bytes as u64;
                    tracing::warn!(segment = %path.display(), at, bytes, "a part of the journal cannot be read");
                }
                Piece::Frame(frame) if self.is_unsettled(&frame) => {
                    // A batch reaches a disk in any order. What comes before this operation did not
                    // reach it, so the rest of the batch is given up, and its numbers are used
                    // again.
                    while pieces.next().is_some() {}
                    tracing::warn!(segment = %path.display(), at = end, "the last steps were not whole");
                    self.recovery.unreadable_bytes = unreadable + (pieces.at() - end) as u64;
                    return end as u64;
                }
                Piece::Frame(frame) => {
                    self.step(frame);
                    (end, unreadable) = (pieces.at(), self.recovery.unreadable_bytes);
                }
            }
        }
        pieces.at() as u64
    }

    /// Returns `true` if a missing operation before this one was never acknowledged.
    fn is_unsettled(&self, frame: &Frame) -> bool {
        let before = self.before();
        frame.number > before + 1 && before >= self.settled
    }

    /// Returns the number of the last operation read. If none was read yet, returns the number
    /// before the oldest that counts.
    fn before(&self) -> u64 {
        if self.newest == 0 { self.first.saturating_sub(1) } else { self.newest }
    }

    fn step(&mut self, frame: Frame) {
        // A batch that failed was written again, so its numbers occur twice.
        if frame.number <= self.whole_to {
            return;
        }
        let missing = frame.number.saturating_sub(self.before() + 1);
        self.recovery.missing_steps += missing;
        if self.newest == self.whole_to && missing == 0 {
            self.whole_to = frame.number;
        }
        self.newest = self.newest.max(frame.number);
        for change in frame.changes {
            self.image.apply(frame.session, change);
        }
    }
}
