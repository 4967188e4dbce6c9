//! The socket's place in the file system: where it is, that one switch owns it, and that a dead one's is replaced.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Where sockets are made unless the configuration says otherwise.
const DIRECTORY: &str = "/run/rigswitch";

/// Owner and group may connect; who may change what is asked of each connection.
const MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another switch runs.
    #[error(
        "another rigswitch is running on {0}: stop it, or give this one a socket of its own with --socket"
    )]
    Taken(PathBuf),
    /// Something else is there.
    #[error("{0} is in use by another program: give the switch a socket of its own with --socket")]
    Foreign(PathBuf),
    /// Something that is no socket is there.
    #[error("{0} is there and is not a socket: take it away, or name another path with --socket")]
    NotASocket(PathBuf),
    /// The file system refused.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// The socket of the switch that serves the calling thread's network namespace, unless told otherwise.
pub fn default_path() -> PathBuf {
    let directory = Path::new(DIRECTORY);
    let main = directory.join("rig.sock");
    let inode = |path: &str| fs::metadata(path).map(|metadata| metadata.ino());
    let Ok(own) = inode("/proc/thread-self/ns/net") else { return main };
    let other = directory.join(format!("netns-{own}.sock"));
    let is_other = match inode("/proc/1/ns/net") {
        Ok(first) => own != first,
        // Only root may ask; whoever may not takes the one that is there.
        Err(_) => other.exists(),
    };
    if is_other { other } else { main }
}

/// A bound socket. Its file and its lock go when it does.
pub struct Socket {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Socket {
    /// Binds `path`. A lock beside it, which ends with its process however that ends, says whether a socket that is
    /// there already is alive.
    ///
    /// # Errors
    /// [`SocketError`]
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |error| SocketError::Io(path.to_owned(), error);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let lock_path = lock_path(path);
        let lock = lock(&lock_path).map_err(failed)?.ok_or_else(|| SocketError::Taken(path.to_owned()))?;
        // From here on `socket` cleans up.
        let socket = Self { path: path.to_owned(), lock_path, _lock: lock };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(socket.give_up(SocketError::Io(path.to_owned(), error))),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(socket.give_up(SocketError::NotASocket(path.to_owned())));
            }
            Ok(_) if is_alive(path) => return Err(socket.give_up(SocketError::Foreign(path.to_owned()))),
            // Left by a switch that was killed: the lock was free, and nobody listens.
            Ok(_) => fs::remove_file(path).map_err(failed)?,
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok((socket, listener))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets go of the lock alone: what is at the path is not ours.
    fn give_up(mut self, error: SocketError) -> SocketError {
        self.path = PathBuf::new();
        error
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What cannot be removed was removed by somebody else; the lock goes last, with the file open.
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Whether somebody listens, or may.
fn is_alive(path: &Path) -> bool {
    !matches!(UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// The lock at `path`; `None` if somebody holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever held it before may have removed the file since it was opened: then this is a lock on nothing.
        let is_current =
            fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|ours| now.ino() == ours.ino()));
        if is_current {
            return Ok(Some(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rigswitch-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_switch_owns_a_socket_and_takes_it_along_when_it_goes() {
        let folder = Folder::new("own");
        let path = folder.0.join("deep/rig.sock");
        let (socket, _listener) = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(Socket::bind(&path), Err(SocketError::Taken(_))));
        assert!(UnixStream::connect(&path).is_ok(), "the second one did no harm");
        drop(socket);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_switchs_socket_is_replaced_and_nobody_elses() {
        let folder = Folder::new("stale");
        let path = folder.0.join("rig.sock");
        drop(UnixListener::bind(&path).unwrap());
        drop(Socket::bind(&path).unwrap());
        assert!(!path.exists());

        let foreign = UnixListener::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::Foreign(_))));
        assert!(path.exists());
        drop(foreign);
        fs::remove_file(&path).unwrap();

        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no lock stays behind");
    }
}
