//! What the tests of the `rigswitch` command share: a folder with its socket and its files, and switches that run.
#![allow(dead_code, clippy::unwrap_used)] // each test uses its part; all of it is test code

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) mod listener;
#[path = "../patience/mod.rs"]
mod patience;
mod process;

#[allow(unused_imports)] // as above
pub(crate) use patience::{PATIENCE, wait_for, wait_within};
#[allow(unused_imports)] // as above
pub(crate) use process::Process;

/// Two ports in memory, one bridge, one entry.
pub(crate) const TWO_PORTS: &str = r#"
[switch]
mac_table = 1024
[[port]]
name = "p0"
memory = true
[[port]]
name = "p1"
memory = true
[[bridge]]
name = "br0"
port = [{ device = "p0" }, { device = "p1" }]
fdb = [{ mac = "02:00:00:00:00:01", device = "p0" }]
"#;

/// A folder of a test's own.
pub(crate) struct Folder(PathBuf);

/// What a command said.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Folder {
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rsw-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("rig.sock")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// What is in the folder besides what was written into it.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let names =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("rig.sock")).collect()
    }

    /// The command, in this folder and with its socket.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rigswitch"));
        command.args(words).current_dir(&self.0).env("RIGSWITCH_SOCKET", self.socket());
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn say(&self, words: &str) -> Said {
        let words: Vec<&str> = words.split(' ').collect();
        said(&mut self.command(&words))
    }

    /// Runs the command to its end, which must be a good one.
    pub(crate) fn ask(&self, words: &str) -> String {
        let said = self.say(words);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{words}");
        said.out
    }

    /// Starts a switch with this configuration, and waits until it says that it forwards.
    pub(crate) fn start(&self, config: &str) -> Running {
        self.start_with(config, |_| {})
    }

    /// As [`Folder::start`], after a change to the command.
    pub(crate) fn start_with(&self, config: &str, change: impl FnOnce(&mut Command)) -> Running {
        let config = self.write("rig.toml", config);
        let notify = self.path("notify");
        let _ = fs::remove_file(&notify);
        let news = UnixDatagram::bind(&notify).unwrap();
        news.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = self.command(&["run", "-c", config.to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", &notify).stderr(Stdio::piped());
        change(&mut command);
        let mut running = Running { process: Process::start(&mut command), news };
        let first = running.news();
        assert_eq!(first, "READY=1", "it said: {}", running.kill());
        running
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command to its end.
pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A switch that runs, killed with this.
pub(crate) struct Running {
    process: Process,
    news: UnixDatagram,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The next thing it tells its service manager; nothing if it ends or takes too long.
    pub(crate) fn news(&mut self) -> String {
        let mut datagram = [0; 256];
        let deadline = Instant::now() + PATIENCE;
        self.news.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        loop {
            // What it said last may be there when it is gone.
            let is_over = Instant::now() >= deadline || self.process.try_wait().unwrap().is_some();
            if let Ok(length) = self.news.recv(&mut datagram) {
                return String::from_utf8_lossy(&datagram[..length]).into_owned();
            }
            if is_over {
                return String::new();
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.end()
    }

    /// Kills it, and answers what it said on standard error.
    pub(crate) fn kill(&mut self) -> String {
        self.process.kill()
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, process: u32) {
    let line = format!("kill -{name} {process}");
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

/// Sends `request` to the socket, and answers everything that comes back.
pub(crate) fn http(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A switch that has refused already may have closed.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Whether this process is root of the machine or of a user namespace.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Says on the terminal why a test was left out.
pub(crate) fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
}

/// Whether this process is root of the machine, which AF_XDP takes.
pub(crate) fn is_machine_root() -> bool {
    let everybody = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    is_root() && fs::read_to_string("/proc/self/uid_map").is_ok_and(everybody)
}
