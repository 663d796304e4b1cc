//! Decides how a folder becomes an engine again: what of it is read, what is said about what cannot
//! be, and when it is not opened at all.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Frame, Piece, Reader};
use super::image::Image;
use super::segment::{self, Segments};

/// Why a folder could not be opened as an engine. What is damaged is no reason.
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

    /// Whether another process, or another engine of this one, has the folder.
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
    /// Sessions that go on.
    pub sessions: usize,
    /// Tasks that are still there.
    pub tasks: usize,
    /// Bytes that could not be read. After a crash a few at the very end are nothing to worry
    /// about: steps that were being written, and were acknowledged to nobody.
    pub unreadable_bytes: u64,
    /// Steps that were written and are gone, as far as what follows them tells.
    pub missing_steps: u64,
    /// Changes that were read and belong to nothing that is there, because what they belong to is gone.
    pub unexplained_changes: u64,
}

/// What a folder holds.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) segments: Segments,
    pub(super) image: Image,
    /// The number of the newest step.
    pub(super) newest: u64,
    /// That of the oldest one that counts.
    pub(super) first: u64,
    pub(super) recovery: Recovery,
    /// Something was there that could not be read, made no sense, or has an earlier format.
    pub(super) renew: bool,
}

pub(super) fn open(folder: &Path) -> Result<Opened, OpenError> {
    let refused = |why| OpenError { path: folder.to_owned(), why };
    let lock = segment::lock(folder).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => refused(Why::InUse),
        _ => refused(Why::Io(error)),
    })?;
    let found = segment::list(folder).map_err(|error| refused(Why::Io(error)))?;
    let (files, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, path)| path.is_file());
    for (_, path) in &others {
        tracing::warn!(path = %path.display(), "what is named as a segment of the journal is no file");
    }
    let taken = others.last().map_or(0, |(number, _)| *number);
    let (settled, first) = promised(&files).map_err(|error| refused(Why::Io(error)))?;
    let mut reading = Reading { settled, first, ..Reading::default() };
    let mut renew = false;
    let mut old = Vec::new();
    for (number, path) in files {
        let bytes = segment::read(&path).map_err(|error| refused(Why::Io(error)))?;
        let mut pieces = Reader::new(&bytes);
        if let Some(format) = pieces.foreign_format() {
            return Err(refused(Why::Foreign(path, format)));
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
            "the journal has holes: sessions and tasks are what the rest of it tells"
        );
    }
    tracing::info!(?recovery, folder = %folder.display(), "sessions and tasks were brought back");
    if unreadable_bytes + missing_steps + unexplained_changes > 0 {
        image.skip_lost_streams();
        renew = true;
    }
    Ok(Opened { lock, segments, image, newest, first, recovery, renew })
}

/// Which steps were safe when the last one was written, and which is the oldest that counts: the newest
/// segment that has any frame says so.
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
    /// None before this one is missing.
    whole_to: u64,
    /// What is missing behind this one was promised to nobody.
    settled: u64,
    /// What is missing before this one counted no more.
    first: u64,
    recovery: Recovery,
}

impl Reading {
    /// Reads a segment; where what counts of it ends.
    fn segment(&mut self, path: &Path, pieces: &mut Reader<'_>) -> u64 {
        // Where the last step ends that counts, and how much was unreadable up to there.
        let (mut end, mut unreadable) = (pieces.at(), self.recovery.unreadable_bytes);
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Hole { at, bytes } => {
                    self.recovery.unreadable_bytes += bytes as u64;
                    tracing::warn!(segment = %path.display(), at, bytes, "a part of the journal cannot be read");
                }
                Piece::Frame(frame) if self.is_unsettled(&frame) => {
                    // One portion reaches a disk in any order. What comes before this one did not, and
                    // so all of it is given up, and its numbers are given out again.
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

    /// Whether a step is missing before this one that was promised to nobody.
    fn is_unsettled(&self, frame: &Frame) -> bool {
        let before = self.before();
        frame.number > before + 1 && before >= self.settled
    }

    /// The step that the next one follows; before any was read, that before the oldest that counts.
    fn before(&self) -> u64 {
        if self.newest == 0 { self.first.saturating_sub(1) } else { self.newest }
    }

    fn step(&mut self, frame: Frame) {
        // A portion that failed was written again: its numbers come twice.
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
