//! Decides how the journal lies in a folder: segments one after the other, each written once, the
//! oldest deleted when nothing in them counts any more; and that one process uses it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::frame::HEADER;

/// A segment this large is followed by the next one.
const FULL: u64 = 8 << 20;

/// How much of a segment is made ready at a time, where each write has to reach the disk: it does so sooner
/// where the file already is, because nothing else about the file changes then.
const READY: usize = 1 << 20;

static ZEROS: [u8; READY] = [0; READY];

/// The segments of a folder, the newest of which is written.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    /// Numbers and sizes of those that are written no more, ascending.
    old: Vec<(u64, u64)>,
    number: u64,
    file: File,
    size: u64,
    /// Up to here the file has something, if only zeros.
    ready: u64,
    /// Something in it may not have reached the disk.
    unsynced: bool,
    /// A write failed: nobody knows what the file has.
    broken: bool,
    /// The system could not bring to the disk what it had taken.
    unsound: bool,
    /// Those that count no more, ascending, but could not be deleted yet.
    doomed: VecDeque<u64>,
    /// How large one gets.
    pub(super) full_at: u64,
    /// There is no room.
    #[cfg(test)]
    pub(super) full: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// The disk keeps nothing.
    #[cfg(test)]
    pub(super) unsyncable: bool,
    /// There is room for frames, and for nothing else.
    #[cfg(test)]
    pub(super) tight: bool,
}

/// Takes the folder for this process, as long as the file is open.
///
/// # Errors
///
/// `WouldBlock` when another process, or another engine of this one, has it.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    private_folder(folder)?;
    let file = private_file().truncate(false).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes a segment end where what counts of it does.
pub(super) fn cut(path: &Path, size: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(size)?;
    file.sync_all()
}

/// The numbers of the segments of a folder, ascending, and their files.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(".journal").and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Nobody else's business: ids of sessions stand in it, and whatever was said.
fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create(true).write(true);
    options
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.journal"))
}

impl Segments {
    /// Begins a segment after those that are there; none of them is ever written again.
    pub(super) fn begin(folder: &Path, old: Vec<(u64, u64)>) -> io::Result<Self> {
        let number = old.last().map_or(1, |(number, _)| number + 1);
        let file = create(folder, number)?;
        let size = HEADER.len() as u64;
        Ok(Self {
            folder: folder.to_owned(),
            old,
            number,
            file,
            size,
            ready: size,
            unsynced: true,
            broken: false,
            unsound: false,
            doomed: VecDeque::new(),
            full_at: FULL,
            #[cfg(test)]
            full: std::sync::Arc::default(),
            #[cfg(test)]
            unsyncable: false,
            #[cfg(test)]
            tight: false,
        })
    }

    /// Adds whole frames; with `sync` they have reached the disk afterwards. After a failure the
    /// same frames are to be added again; they come into another segment.
    pub(super) fn append(&mut self, frames: &[u8], sync: bool) -> io::Result<()> {
        if self.broken || self.size >= self.full_at {
            self.roll()?;
        }
        let added = self.add(frames, sync);
        if added.is_err() {
            self.broken = true;
            // A part of a frame would look like damage to whoever reads it.
            let _ = self.trim();
        } else {
            self.size += frames.len() as u64;
            self.ready = self.ready.max(self.size);
        }
        added
    }

    fn add(&mut self, frames: &[u8], sync: bool) -> io::Result<()> {
        #[cfg(test)]
        self.fill(frames)?;
        self.unsynced = true;
        if sync && self.size + frames.len() as u64 > self.ready && self.make_ready(frames.len()).is_err() {
            // There may be room for the frames all the same.
            self.trim()?;
        }
        self.file.write_all(frames)?;
        if sync { self.sync() } else { Ok(()) }
    }

    /// Writes zeros to where so many bytes will come, and some more; a sync is to follow.
    fn make_ready(&mut self, bytes: usize) -> io::Result<()> {
        let end = self.size + bytes as u64 + READY as u64;
        self.file.seek(SeekFrom::Start(self.ready))?;
        while self.ready < end {
            #[cfg(test)]
            if self.tight {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let zeros = &ZEROS[..usize::try_from(end - self.ready).unwrap_or(READY).min(READY)];
            self.file.write_all(zeros)?;
            self.ready += zeros.len() as u64;
        }
        self.file.seek(SeekFrom::Start(self.size)).map(drop)
    }

    /// Cuts off what is no frame.
    fn trim(&mut self) -> io::Result<()> {
        self.file.set_len(self.size)?;
        self.ready = self.size;
        self.file.seek(SeekFrom::Start(self.size)).map(drop)
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.ready > self.size {
            self.unsynced = true;
            self.trim()?;
        }
        self.sync()
    }

    /// Makes everything so far survive a loss of power.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            #[cfg(test)]
            self.fill(&[])?;
            #[cfg(test)]
            if self.unsyncable {
                return Err(io::ErrorKind::Other.into());
            }
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Begins the next segment; its number.
    pub(super) fn roll(&mut self) -> io::Result<u64> {
        // Asked a second time, a system says that all is well.
        self.unsound |= self.end().is_err();
        let next = self.number + 1;
        #[cfg(test)]
        self.fill(&[])?;
        let file = create(&self.folder, next)?;
        self.old.push((self.number, self.size));
        (self.number, self.file, self.size) = (next, file, HEADER.len() as u64);
        self.ready = self.size;
        (self.unsynced, self.broken) = (true, false);
        Ok(next)
    }

    /// Whether something that was written may be lost, as far as was not asked before.
    pub(super) fn take_unsound(&mut self) -> bool {
        std::mem::take(&mut self.unsound)
    }

    /// Those before a number count no more.
    pub(super) fn give_up_before(&mut self, number: u64) {
        let old = self.old.partition_point(|(old, _)| *old < number);
        self.doomed.extend(self.old.drain(..old).map(|(old, _)| old));
    }

    /// Deletes what counts no more, the oldest first, because what is newer says what became of it.
    pub(super) fn delete(&mut self) -> io::Result<()> {
        while let Some(oldest) = self.doomed.front() {
            match fs::remove_file(path(&self.folder, *oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.doomed.pop_front()),
            }
        }
        Ok(())
    }

    /// As a disk that has room for half of it.
    #[cfg(test)]
    fn fill(&mut self, frames: &[u8]) -> io::Result<()> {
        if !self.full.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        self.file.write_all(&frames[..frames.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Which one is written.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of all segments that count.
    pub(super) fn size(&self) -> u64 {
        self.size + self.old.iter().map(|(_, size)| size).sum::<u64>()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.old.len() + 1
    }

    /// How many came to their end before they were full.
    pub(super) fn small(&self) -> usize {
        self.old.iter().filter(|(_, size)| *size < self.full_at).count()
    }
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    // One that a failure left behind half made has nothing that was promised to anybody.
    let mut file = private_file().truncate(true).open(path(folder, number))?;
    file.write_all(HEADER)?;
    // The name, too, must survive what its content survives.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_deleted_counts_no_more_and_goes_later() {
        let folder = tempfile::TempDir::new().unwrap();
        let stubborn = path(folder.path(), 1);
        fs::create_dir(&stubborn).unwrap();
        let mut segments = Segments::begin(folder.path(), vec![(1, 1000)]).unwrap();
        let next = segments.roll().unwrap();
        segments.give_up_before(next);
        assert!(segments.delete().is_err());
        assert_eq!((segments.size(), segments.count()), (HEADER.len() as u64, 1));
        assert!(path(folder.path(), 2).exists(), "what is newer says what became of what is older");
        fs::remove_dir(&stubborn).unwrap();
        segments.delete().unwrap();
        assert_eq!(list(folder.path()).unwrap().len(), 1);
    }
}
