//! Decides how the journal lies in a folder: segments one after the other, each written once, the
//! oldest deleted when nothing in them counts any more; and that one process uses it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::frame::HEADER;

/// A segment this large is followed by the next one.
const FULL: u64 = 8 << 20;

/// The segments of a folder, the newest of which is written.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    /// Numbers and sizes of those that are written no more, ascending.
    old: Vec<(u64, u64)>,
    number: u64,
    file: File,
    size: u64,
    /// Something in it may not have reached the disk.
    unsynced: bool,
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
        Ok(Self { folder: folder.to_owned(), old, number, file, size, unsynced: true })
    }

    /// Adds whole frames; with `sync` they have reached the disk afterwards. After a failure nobody
    /// knows what the file has: go on in the [next](Self::roll) one, with the same frames.
    pub(super) fn append(&mut self, frames: &[u8], sync: bool) -> io::Result<()> {
        if self.size >= FULL {
            self.roll()?;
        }
        self.file.write_all(frames)?;
        self.size += frames.len() as u64;
        self.unsynced = true;
        if sync { self.sync() } else { Ok(()) }
    }

    /// Makes everything so far survive a loss of power.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Begins the next segment; its number.
    pub(super) fn roll(&mut self) -> io::Result<u64> {
        // What could not be synced is written again by whoever was told so.
        let _ = self.sync();
        let next = self.number + 1;
        let file = create(&self.folder, next)?;
        self.old.push((self.number, self.size));
        (self.number, self.file, self.size, self.unsynced) = (next, file, HEADER.len() as u64, true);
        Ok(next)
    }

    /// Deletes those before a number.
    pub(super) fn delete_before(&mut self, number: u64) -> io::Result<()> {
        while let Some((oldest, _)) = self.old.first().copied().filter(|(oldest, _)| *oldest < number) {
            match fs::remove_file(path(&self.folder, oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.old.remove(0)),
            }
        }
        Ok(())
    }

    /// From now on there is no room, until the next segment.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn fill_up(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().write(true).open("/dev/full")?;
        Ok(())
    }

    /// Bytes of all segments.
    pub(super) fn size(&self) -> u64 {
        self.size + self.old.iter().map(|(_, size)| size).sum::<u64>()
    }

    pub(super) fn count(&self) -> usize {
        self.old.len() + 1
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
