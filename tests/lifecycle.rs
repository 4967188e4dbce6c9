//! A switch's life: one at a time, ended by a signal or killed, and refused with one clear line and nothing left behind.

mod command;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;

use command::{Folder, TWO_PORTS, is_root, said};

#[test]
fn a_second_switch_is_refused_and_the_first_one_unharmed() {
    let folder = Folder::new("second");
    let _switch = folder.start(TWO_PORTS);
    let second = folder.say("run -c rig.toml");
    let line = format!(
        "rigswitch: another rigswitch is running on {}: stop it, or give this one a socket of its own with --socket\n",
        folder.socket().display()
    );
    assert_eq!((second.code, second.err), (Some(1), line));
    assert!(folder.ask("show ports -j").contains("p0"));
}

#[test]
fn a_socket_path_in_use_is_refused_and_left_alone() {
    let folder = Folder::new("inuse");
    folder.write("rig.toml", TWO_PORTS);
    let path = folder.socket();
    let foreign = UnixListener::bind(&path).unwrap();
    let refused = folder.say("run -c rig.toml");
    let line = format!(
        "rigswitch: {} is in use by another program: give the switch a socket of its own with --socket\n",
        path.display()
    );
    assert_eq!((refused.code, refused.err), (Some(1), line));
    drop(foreign);
    fs::remove_file(&path).unwrap();

    fs::write(&path, "precious").unwrap();
    let refused = folder.say("run -c rig.toml");
    let line = format!(
        "rigswitch: {} is there and is not a socket: take it away, or name another path with --socket\n",
        path.display()
    );
    assert_eq!((refused.code, refused.err), (Some(1), line));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_signal_ends_it_in_order() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::new("signal");
        let mut switch = folder.start(TWO_PORTS);
        assert_eq!(folder.left_behind().len(), 2, "the socket and its lock");
        switch.signal(signal);
        assert_eq!(switch.news(), "STOPPING=1");
        assert_eq!(switch.wait().code(), Some(0));
        assert!(folder.left_behind().is_empty());
    }
}

#[test]
fn a_hang_up_is_answered_and_survived() {
    let folder = Folder::new("hup");
    let mut switch = folder.start(TWO_PORTS);
    switch.signal("HUP");
    assert!(folder.ask("show ports -j").contains("p0"));
    switch.signal("TERM");
    assert_eq!(switch.wait().code(), Some(0));
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let folder = Folder::new("full");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut switch = folder.start_with(TWO_PORTS, |command| {
        command.stdout(full()).stderr(full());
    });
    switch.signal("HUP");
    assert!(folder.ask("show ports -j").contains("p0"));
    switch.signal("TERM");
    assert_eq!(switch.wait().code(), Some(0));
    assert!(folder.left_behind().is_empty());
}

#[test]
fn after_a_kill_the_next_one_starts_as_if_nothing_had_been() {
    let folder = Folder::new("kill");
    for _ in 0..3 {
        let mut switch = folder.start(TWO_PORTS);
        assert!(folder.ask("show fdb -j").contains("02:00:00:00:00:01"));
        switch.kill();
        assert_eq!(folder.left_behind().len(), 2, "a killed switch cannot tidy up");
        assert_eq!(folder.say("show ports").code, Some(1));
    }
    let switch = folder.start(TWO_PORTS);
    switch.signal("TERM");
    drop(switch);
}

#[test]
fn a_port_that_does_not_open_is_one_clear_line() {
    let folder = Folder::new("noport");
    folder.write("rig.toml", "[[port]]\nname = \"p0\"\nxdp = \"rsw-none0\"\n");
    let refused = folder.say("run -c rig.toml");
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
    assert!(refused.err.starts_with("rigswitch: port p0: "), "{}", refused.err);
    assert!(refused.err.ends_with(": make it first, or name another\n"), "{}", refused.err);

    folder.write("rig.toml", "[[port]]\nname = \"p0\"\nxdp = \"eth0\"\nnetns = \"rsw-none\"\n");
    let refused = folder.say("run -c rig.toml");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.starts_with("rigswitch: port p0: network namespace rsw-none: "), "{}", refused.err);

    folder.write("rig.toml", "[[port]]\nname = \"p0\"\npcap = \"none.pcap\"\n");
    let refused = folder.say("run -c rig.toml");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("none.pcap") && refused.err.contains("No such file"), "{}", refused.err);
    assert!(folder.left_behind().is_empty());
}

#[test]
fn a_cpu_that_is_not_there_is_refused() {
    let folder = Folder::new("cpu");
    folder.write("rig.toml", "[switch]\nworkers = [1023]\n");
    let refused = folder.say("run -c rig.toml");
    assert_eq!(refused.code, Some(1));
    let start = "rigswitch: worker 0: CPU 1023 is not one this process may use: choose among ";
    assert!(refused.err.starts_with(start), "{}", refused.err);
    assert!(folder.left_behind().is_empty());
}

#[test]
fn without_privilege_it_says_what_it_needs() {
    const NOBODY: u32 = 65_534;
    let folder = Folder::new("unprivileged");
    fs::set_permissions(folder.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let program = folder.path("rigswitch");
    fs::copy(env!("CARGO_BIN_EXE_rigswitch"), &program).unwrap();
    for port in ["tap = \"rsw-nobody0\"", "xdp = \"lo\""] {
        let config = folder.write("rig.toml", &format!("[[port]]\nname = \"p0\"\n{port}\n"));
        let mut command = std::process::Command::new(&program);
        command.arg("--socket").arg(folder.socket()).arg("run").arg("-c").arg(config).current_dir("/");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let refused = said(&mut command);
        assert_eq!((refused.code, refused.err.lines().count()), (Some(1), 1), "{}", refused.err);
        assert!(refused.err.starts_with("rigswitch: port p0: "), "{}", refused.err);
        assert!(refused.err.contains("CAP_NET_ADMIN"), "{}", refused.err);
        assert!(folder.left_behind().is_empty());
    }
}
