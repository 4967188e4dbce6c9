//! Where a capture is written: one file or pipe, or one file after the other, under tcpdump's names.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Failure;
use crate::civil::utc;

/// When another file begins.
#[derive(Clone, Copy, Default)]
pub(super) struct Rotation {
    /// When one has more millions of bytes than this.
    pub(super) bytes: Option<u64>,
    /// When it is this old.
    pub(super) seconds: Option<u64>,
    /// How many there are.
    pub(super) files: Option<u32>,
}

/// The files of a capture.
pub(super) struct Files {
    path: PathBuf,
    rotation: Rotation,
    file: Box<dyn Target>,
    name: PathBuf,
    begun: Instant,
    count: u32,    // of files begun, this one left out
    number: u32,   // in this one's name
    written: u64,  // bytes of this one that are whole blocks
    head: Vec<u8>, // what every file starts with
    buffer: Vec<u8>,
}

/// Something to write to that may be a file.
trait Target: Write + AsFd {
    /// Takes back what is behind `length`, if that can be done.
    fn cut(&mut self, length: u64);
}

impl Target for File {
    fn cut(&mut self, length: u64) {
        // A pipe cannot be cut; its reader sees a block that is not all there.
        if self.set_len(length).is_ok() {
            let _ = self.seek(SeekFrom::Start(length));
        }
    }
}

impl Target for io::Stdout {
    fn cut(&mut self, _length: u64) {}
}

impl Files {
    /// Opens the first.
    pub(super) fn open(path: &Path, rotation: Rotation) -> Result<Self, Failure> {
        let mut files = Self {
            path: path.to_owned(),
            rotation,
            file: Box::new(io::stdout()),
            name: "standard output".into(),
            begun: Instant::now(),
            count: 0,
            number: 0,
            written: 0,
            head: Vec::new(),
            buffer: Vec::new(),
        };
        if path.as_os_str() != "-" {
            files.create()?;
        }
        Ok(files)
    }

    /// What is written to now.
    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Takes a block that every file has.
    pub(super) fn head(&mut self, block: &[u8]) {
        self.head.extend_from_slice(block);
        self.buffer.extend_from_slice(block);
    }

    /// Takes a block that ends the last file.
    pub(super) fn tail(&mut self, block: &[u8]) {
        self.buffer.extend_from_slice(block);
    }

    /// Takes a packet; `false` when nobody reads, or there are as many files as there may be.
    pub(super) fn packet(&mut self, block: &[u8]) -> Result<bool, Failure> {
        const MILLION: u64 = 1_000_000;
        let length = self.written + self.buffer.len() as u64;
        let is_full = self.rotation.bytes.is_some_and(|millions| length > millions.saturating_mul(MILLION));
        let is_old =
            self.rotation.seconds.is_some_and(|seconds| self.begun.elapsed() >= Duration::from_secs(seconds));
        if (is_full || is_old) && !(self.flush()? && self.rotate(is_old)?) {
            return Ok(false);
        }
        self.buffer.extend_from_slice(block);
        Ok(true)
    }

    /// Writes what was taken; `false` when nobody reads.
    pub(super) fn flush(&mut self) -> Result<bool, Failure> {
        let written = self.file.write_all(&self.buffer).and_then(|()| self.file.flush());
        let length = self.buffer.len() as u64;
        self.buffer.clear();
        match written {
            Ok(()) => {
                self.written += length;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                self.file.cut(self.written);
                let whole = "what is whole is there";
                Err(Failure::Refused(format!("{}: {error}: {whole}", self.name.display())))
            }
        }
    }

    /// Begins another file; `false` when there are as many as there may be.
    fn rotate(&mut self, by_time: bool) -> Result<bool, Failure> {
        self.count += 1;
        match (self.rotation.bytes, self.rotation.files) {
            (None, Some(files)) if self.count >= files => return Ok(false),
            (Some(_), Some(files)) => self.number = (self.number + 1) % files,
            // A new time makes a new name.
            _ if by_time && self.is_timed() => self.number = 0,
            _ => self.number += 1,
        }
        self.create()?;
        self.buffer.extend_from_slice(&self.head);
        Ok(true)
    }

    fn is_timed(&self) -> bool {
        self.rotation.seconds.is_some() && self.path.to_string_lossy().contains('%')
    }

    fn create(&mut self) -> Result<(), Failure> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.name = self.name_at(since.as_secs());
        let refused = |error| Failure::Refused(format!("{}: {error}", self.name.display()));
        self.file = Box::new(File::create(&self.name).map_err(refused)?);
        self.begun = Instant::now();
        self.written = 0;
        Ok(())
    }

    /// tcpdump's names: FILE, FILE1, FILE2 …, or as many digits as the last of a ring has, from 0.
    fn name_at(&self, unix_seconds: u64) -> PathBuf {
        let digits = match (self.rotation.bytes, self.rotation.files) {
            (Some(_), Some(files)) if files > 1 => (files - 1).to_string().len(),
            _ => 0,
        };
        let name = match self.is_timed() {
            true => utc(&self.path.to_string_lossy(), unix_seconds),
            false => self.path.to_string_lossy().into_owned(),
        };
        match (self.number, digits) {
            (0, 0) => name.into(),
            (number, digits) => format!("{name}{number:0digits$}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_tcpdump_names_them() {
        let names = |rotation: Rotation, numbers: [u32; 3]| {
            let mut files = Files::open(Path::new("-"), rotation).unwrap_or_else(|_| unreachable!());
            files.path = "f".into();
            numbers.map(|number| {
                files.number = number;
                files.name_at(0).to_str().unwrap().to_owned()
            })
        };
        let by_size = Rotation { bytes: Some(1), ..Rotation::default() };
        assert_eq!(names(by_size, [0, 1, 10]), ["f", "f1", "f10"]);
        assert_eq!(names(Rotation { files: Some(10), ..by_size }, [0, 1, 9]), ["f0", "f1", "f9"]);
        assert_eq!(names(Rotation { files: Some(11), ..by_size }, [0, 1, 10]), ["f00", "f01", "f10"]);
    }
}
