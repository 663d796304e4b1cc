//! The journal's segments: numbered files, each written once and deleted when nothing in it counts
//! any more. Also locks the folder for one process.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::frame::HEADER;

/// A segment of this size is followed by the next one.
const FULL: u64 = 8 << 20;

/// How much of a segment is filled with zeros in advance, where each write has to reach the disk.
/// Writing into existing space reaches the disk sooner, because nothing else about the file
/// changes.
const READY: usize = 1 << 20;

/// The unit that a disk reads completely or not at all, as far as a file shows.
const BLOCK: usize = 4096;

/// Replaces a byte that the disk cannot read.
const UNREADABLE: u8 = 0xff;

static ZEROS: [u8; READY] = [0; READY];

/// The segments of a folder. Only the newest one is written.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    /// Numbers and sizes of the segments that are no longer written, ascending.
    old: Vec<(u64, u64)>,
    /// The number of the current segment, or of the last one if there is no current one.
    number: u64,
    /// `None` before the first operation: a folder that cannot be written can still be read.
    file: Option<File>,
    size: u64,
    /// The file has content up to here, even if it is only zeros.
    ready: u64,
    /// A part of the file may not have reached the disk.
    unsynced: bool,
    /// A write failed, so the content of the file is unknown.
    broken: bool,
    /// The system failed to bring data to the disk that it had accepted.
    unsound: bool,
    /// Segments that no longer count but are not deleted yet, ascending.
    doomed: VecDeque<u64>,
    /// The size at which a segment is full.
    pub(super) full_at: u64,
    /// The disk is full.
    #[cfg(test)]
    pub(super) full: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// Syncs fail.
    #[cfg(test)]
    pub(super) unsyncable: bool,
    /// The disk has space for frames only, not for zeros in advance.
    #[cfg(test)]
    pub(super) tight: bool,
}

/// How often a folder that is in use is tried again, and the pause between two attempts. A process
/// that this one starts holds all open files until its program runs, which takes time on a busy
/// machine. The folder of an engine that was just dropped may therefore look as if it were in use.
const TRIES: u32 = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// Locks the folder for this process, as long as the file is open.
///
/// # Errors
///
/// `WouldBlock` if another process, or another engine of this one, has locked it.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    private_folder(folder)?;
    let path = folder.join("lock");
    // If nothing can be written, the file already exists, and can be locked anyway.
    let file = private_file().truncate(false).open(&path).or_else(|error| File::open(path).map_err(|_| error))?;
    for _ in 1..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(RETRY_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    file.try_lock()?;
    Ok(file)
}

/// Truncates a segment to the part that counts.
pub(super) fn cut(path: &Path, size: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(size)?;
    file.sync_all()
}

/// Lists the entries of a folder that are named as segments: their numbers, ascending, and their
/// paths.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".journal")).and_then(|name| name.parse().ok());
        // Only names in canonical form, so that the file that is read is also the file that is
        // deleted.
        if let Some(number) = number.filter(|number| *number < u64::MAX && name == *file_name(*number)) {
            found.push((number, folder.join(name)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads a whole segment. Blocks that the disk cannot read are filled with a byte that no frame
/// begins with.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    Ok(read_from(&mut file, length))
}

fn read_from(file: &mut (impl Read + Seek), length: usize) -> Vec<u8> {
    let mut bytes = vec![UNREADABLE; length];
    if file.read_exact(&mut bytes).is_ok() {
        return bytes;
    }
    for (block, at) in bytes.chunks_mut(BLOCK).zip((0..).step_by(BLOCK)) {
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(block));
        if read.is_err() {
            block.fill(UNREADABLE);
        }
    }
    bytes
}

/// Creates the folder, readable only by its owner, because it contains session ids and all
/// messages.
fn private_folder(folder: &Path) -> io::Result<()> {
    let new: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).filter_map(Path::parent).collect();
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)?;
    for parent in new {
        // This process may not be allowed to read the parent. Then the entry is as safe as the
        // system makes it.
        let _ = sync_names(if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    }
    Ok(())
}

/// Makes the names in a folder as durable as the contents of its files.
fn sync_names(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create(true).write(true);
    options
}

fn file_name(number: u64) -> String {
    format!("{number:010}.journal")
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(file_name(number))
}

impl Segments {
    /// Creates the successor of existing segments, none of which is ever written again. `taken` is
    /// a number that another kind of entry uses. Nothing is written before the first operation.
    pub(super) fn after(folder: &Path, mut old: Vec<(u64, u64)>, taken: u64) -> Self {
        // An empty segment is begun again. Otherwise starts that fail would leave more and more of
        // them.
        while old.pop_if(|(number, size)| *number > taken && *size <= HEADER.len() as u64).is_some() {}
        let number = old.last().map_or(0, |(number, _)| *number).max(taken);
        Self {
            folder: folder.to_owned(),
            old,
            number,
            file: None,
            size: 0,
            ready: 0,
            unsynced: false,
            broken: true,
            unsound: false,
            doomed: VecDeque::new(),
            full_at: FULL,
            #[cfg(test)]
            full: std::sync::Arc::default(),
            #[cfg(test)]
            unsyncable: false,
            #[cfg(test)]
            tight: false,
        }
    }

    /// Brings to the disk what an earlier process wrote, which may not have waited for that.
    pub(super) fn sync_old(&mut self) {
        let written = self.old.iter().filter(|(_, size)| *size > HEADER.len() as u64);
        let mut paths = written.map(|(number, _)| path(&self.folder, *number));
        let synced = paths.try_for_each(|path| OpenOptions::new().write(true).open(path)?.sync_all());
        let synced = synced.and_then(|()| sync_names(&self.folder));
        #[cfg(test)]
        let synced = if self.unsyncable { Err(io::ErrorKind::Other.into()) } else { synced };
        if let Err(error) = synced {
            tracing::warn!(error = &error as &dyn std::error::Error, "the journal could not be synced");
            self.unsound = true;
        }
    }

    /// Appends whole frames. With `sync`, they have reached the disk when this returns. After a
    /// failure, the same frames must be appended again; they then go into another segment.
    pub(super) fn append(&mut self, frames: &[u8], sync: bool) -> io::Result<()> {
        // If the next segment cannot be created, a full one can still be written.
        let rolled = if self.broken || self.size >= self.full_at { self.roll() } else { Ok(self.number) };
        if self.broken {
            rolled?;
        }
        let added = self.add(frames, sync);
        if added.is_err() {
            self.broken = true;
            // A partial frame would look like damage to a reader.
            self.unsound |= self.trim().and_then(|()| self.sync()).is_err();
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
            // There may be space for the frames anyway.
            self.trim()?;
        }
        self.file()?.write_all(frames)?;
        if sync { self.sync() } else { Ok(()) }
    }

    /// Writes zeros for the given number of bytes, and some more. A sync must follow.
    fn make_ready(&mut self, bytes: usize) -> io::Result<()> {
        let end = self.size + bytes as u64 + READY as u64;
        let ready = SeekFrom::Start(self.ready);
        self.file()?.seek(ready)?;
        while self.ready < end {
            #[cfg(test)]
            if self.tight {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let zeros = &ZEROS[..usize::try_from(end - self.ready).unwrap_or(READY).min(READY)];
            self.file()?.write_all(zeros)?;
            self.ready += zeros.len() as u64;
        }
        let size = SeekFrom::Start(self.size);
        self.file()?.seek(size).map(drop)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Cuts off everything after the last frame.
    fn trim(&mut self) -> io::Result<()> {
        let size = self.size;
        self.file()?.set_len(size)?;
        self.ready = size;
        self.file()?.seek(SeekFrom::Start(size)).map(drop)
    }

    /// Completes the segment: cuts off unused space, and syncs it.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.ready > self.size {
            self.unsynced = true;
            self.trim()?;
        }
        self.sync()
    }

    /// Makes everything written so far survive a loss of power.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            #[cfg(test)]
            self.fill(&[])?;
            #[cfg(test)]
            if self.unsyncable {
                return Err(io::ErrorKind::Other.into());
            }
            self.file()?.sync_data()?;
        }
        Ok(())
    }

    /// Begins the next segment, and returns its number.
    pub(super) fn roll(&mut self) -> io::Result<u64> {
        let next = self.number + 1;
        #[cfg(test)]
        self.fill(&[])?;
        let file = create(&self.folder, next)?;
        // If a failed sync is repeated, a system reports success. The failure is therefore
        // recorded.
        self.unsound |= self.end().is_err();
        if self.file.replace(file).is_some() {
            self.old.push((self.number, self.size));
        }
        (self.number, self.size) = (next, HEADER.len() as u64);
        self.ready = self.size;
        (self.unsynced, self.broken) = (true, false);
        Ok(next)
    }

    /// Returns `true` if written data may be lost, unless that was already reported.
    pub(super) fn take_unsound(&mut self) -> bool {
        std::mem::take(&mut self.unsound)
    }

    /// Marks all segments before a number for deletion.
    pub(super) fn give_up_before(&mut self, number: u64) {
        let old = self.old.partition_point(|(old, _)| *old < number);
        self.doomed.extend(self.old.drain(..old).map(|(old, _)| old));
    }

    /// Deletes the marked segments, the oldest first, because newer segments state what became of
    /// older ones.
    pub(super) fn delete(&mut self) -> io::Result<()> {
        while let Some(oldest) = self.doomed.front() {
            match fs::remove_file(path(&self.folder, *oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.doomed.pop_front()),
            }
        }
        Ok(())
    }

    /// Acts as a disk that has space for half of the frames.
    #[cfg(test)]
    fn fill(&mut self, frames: &[u8]) -> io::Result<()> {
        if !self.full.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(file) = &mut self.file {
            file.write_all(&frames[..frames.len() / 2])?;
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Returns the number of the current segment.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the size of all segments that count, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size + self.old.iter().map(|(_, size)| size).sum::<u64>()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.old.len() + usize::from(self.file.is_some())
    }

    /// Returns how many segments ended before they were full.
    pub(super) fn small(&self) -> usize {
        self.old.iter().filter(|(_, size)| *size < self.full_at).count()
    }
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    // A file that a failure left half created contains nothing that was acknowledged.
    let mut file = private_file().truncate(true).open(path(folder, number))?;
    file.write_all(HEADER)?;
    sync_names(folder)?;
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
        let mut segments = Segments::after(folder.path(), vec![(1, 1000)], 0);
        segments.roll().unwrap();
        let next = segments.roll().unwrap();
        segments.give_up_before(next);
        assert!(segments.delete().is_err());
        assert_eq!((segments.size(), segments.count()), (HEADER.len() as u64, 1));
        assert!(path(folder.path(), 2).exists(), "what is newer says what became of what is older");
        fs::remove_dir(&stubborn).unwrap();
        segments.delete().unwrap();
        assert_eq!(list(folder.path()).unwrap().len(), 1);
    }

    /// A disk that cannot read one position.
    struct Torn(io::Cursor<Vec<u8>>, u64);

    impl Read for Torn {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let at = self.0.position();
            let reached = at..at + bytes.len() as u64;
            if reached.contains(&self.1) { Err(io::Error::other("unreadable")) } else { self.0.read(bytes) }
        }
    }

    impl Seek for Torn {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn what_a_disk_cannot_give_costs_its_block_and_nothing_else() {
        let whole: Vec<u8> = (0..10_000u32).map(|at| at as u8).collect();
        for torn in [0, 5_000, 9_999] {
            let read = read_from(&mut Torn(io::Cursor::new(whole.clone()), torn), whole.len());
            let block = torn as usize / BLOCK * BLOCK..(torn as usize / BLOCK + 1) * BLOCK;
            for (at, (is, was)) in read.into_iter().zip(&whole).enumerate() {
                assert_eq!(is, if block.contains(&at) { UNREADABLE } else { *was }, "{at}");
            }
        }
    }

    #[test]
    fn a_full_segment_is_written_on_where_the_next_cannot_be_begun() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut segments = Segments { full_at: 20, ..Segments::after(folder.path(), Vec::new(), 0) };
        segments.append(b"one", true).unwrap();
        let next = path(folder.path(), 2);
        fs::create_dir(&next).unwrap();
        for sync in [true, false] {
            segments.append(b"more", sync).unwrap();
        }
        fs::remove_dir(&next).unwrap();
        segments.append(b"new", true).unwrap();
        let read = |number| fs::read(path(folder.path(), number)).unwrap();
        assert_eq!(read(1), [HEADER, b"onemoremore"].concat());
        assert!(read(2).starts_with(&[HEADER, b"new"].concat()));
    }

    #[test]
    fn an_empty_segment_at_the_end_is_begun_again_and_what_is_none_is_passed_over() {
        let folder = tempfile::TempDir::new().unwrap();
        for name in ["0000000003.journal", "3.journal", "+000000005.journal", "18446744073709551615.journal"] {
            fs::write(folder.path().join(name), HEADER).unwrap();
        }
        assert_eq!(list(folder.path()).unwrap(), [(3, path(folder.path(), 3))]);
        let empty = HEADER.len() as u64;
        for (old, taken, next) in
            [(vec![(1, 100), (2, empty), (3, 0)], 0, 2), (vec![(1, 100), (2, empty)], 7, 8), (vec![(3, empty)], 0, 1)]
        {
            assert_eq!(Segments::after(folder.path(), old, taken).roll().unwrap(), next);
        }
    }
}
