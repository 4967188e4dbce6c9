//! `rigswitch demo`: every path works, and nothing stays behind, however it ends.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use command::{Folder, Process, is_machine_root, is_root, said, signal, skipped};
use rigswitch_dataplane::sys::netns::Netns;

#[test]
fn a_demo_removes_what_a_killed_one_left_passes_every_path_and_leaves_nothing() {
    if !is_machine_root() {
        return skipped(
            "a_demo_removes_what_a_killed_one_left_passes_every_path_and_leaves_nothing",
            "AF_XDP takes root",
        );
    }
    let _turn = turn();
    let folder = Folder::new("demo");
    let mut killed = Demo::start(&folder);
    killed.wait_for_a_path();
    killed.child.kill();
    killed.child.wait().unwrap();
    assert_eq!(namespaces(killed.child.id()).len(), 5, "nobody could clean up");
    assert!(!folder.left_behind().is_empty());

    let mut demo = Demo::start(&folder);
    let (code, out, err) = demo.end();
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("Removed 5 network namespaces that a killed demo had left."), "{out}");
    for from in 1..=4 {
        for to in (1..=4).filter(|to| *to != from) {
            let path = format!("pass  h{from} → h{to} ");
            let line = out.lines().find(|line| line.starts_with(&path)).expect(&out);
            assert!(line.contains(" 20/20 ") && line.ends_with(" Gbit/s"), "{line}");
            let role = |host: usize| ["access", "trunk", "access", "routed"][host - 1];
            assert!(line.contains(&format!(" {} → {} ", role(from), role(to))), "{line}");
            let kind = |host: usize| ["xdp", "xdp", "tap", "vxlan"][host - 1];
            assert!(line.contains(&format!(" {} → {} ", kind(from), kind(to))), "{line}");
        }
    }
    assert!(out.contains("every frame accounted for: received "), "{out}");
    assert!(!out.contains('\x1b'), "no terminal, no colour");
    assert!(namespaces(killed.child.id()).is_empty());
    assert!(namespaces(demo.child.id()).is_empty());
    assert!(folder.left_behind().is_empty());
}

#[test]
fn an_interrupted_demo_fails_and_leaves_nothing() {
    if !is_machine_root() {
        return skipped("an_interrupted_demo_fails_and_leaves_nothing", "AF_XDP takes root");
    }
    let _turn = turn();
    for name in ["INT", "TERM", "HUP"] {
        let folder = Folder::new("demo-interrupted");
        let mut demo = Demo::start(&folder);
        demo.wait_for_a_path();
        signal(name, demo.child.id());
        let (code, _, err) = demo.end();
        let line = "rigswitch: the demo was interrupted; all that it had made is removed\n";
        assert_eq!((code, err.as_str()), (Some(1), line), "{name}");
        assert!(namespaces(demo.child.id()).is_empty());
        assert!(folder.left_behind().is_empty());
    }
}

#[test]
fn without_root_one_line_says_so() {
    const NOBODY: u32 = 65_534;
    let folder = Folder::new("demo-nobody");
    fs::set_permissions(folder.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    // Somebody else may not be allowed to read the build's folder.
    let program = folder.path("rigswitch");
    fs::copy(env!("CARGO_BIN_EXE_rigswitch"), &program).unwrap();
    let mut command = Command::new(program);
    command.arg("demo").env_remove("RIGSWITCH_SOCKET").current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let refused = said(&mut command);
    let line = "rigswitch: the demo makes network namespaces and AF_XDP sockets, which takes root: run it with sudo\n";
    assert_eq!((refused.code, refused.out.as_str(), refused.err.as_str()), (Some(1), "", line));
}

#[test]
fn its_configuration_is_a_file_to_start_from() {
    let folder = Folder::new("demo-config");
    let config = folder.ask("demo --print-config");
    folder.write("rig.toml", &config);
    assert_eq!(
        folder.ask("check rig.toml"),
        "rig.toml: valid: 4 ports, 1 bridge, 0 cross-connects, 1 device on others, 1 tunnel, 3 addresses\n"
    );
}

/// A demo that runs, killed with this.
struct Demo {
    child: Process,
    lines: BufReader<ChildStdout>,
}

impl Demo {
    fn start(folder: &Folder) -> Self {
        let mut command = folder.command(&["demo"]);
        let mut child = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it is in the middle of its traffic.
    fn wait_for_a_path(&mut self) {
        let mut line = String::new();
        while !line.starts_with("pass") {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended early");
        }
    }

    /// Its exit code, and the rest of what it said on standard output and standard error.
    fn end(&mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.lines.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

/// The namespaces of a demo, by its process.
fn namespaces(demo: u32) -> Vec<String> {
    let mut names = Netns::names().unwrap();
    names.retain(|name| name.starts_with(&format!("rsw-demo-{demo}-")));
    names
}

/// One demo at a time: another would remove what a killed one has left.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
