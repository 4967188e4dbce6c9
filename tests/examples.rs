//! The examples, each one's README run word for word on a machine of its own: namespaces with nothing in them, and an empty /run.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::fs;
use std::path::Path;
use std::process::Command;

use command::{Folder, Said, is_machine_root, said, skipped};

/// Runs the commands of an example's README, so many blocks of them, which must go well; nothing, said aloud, where that cannot be.
fn walk_through(example: &str, blocks: usize) -> Option<Said> {
    if !is_machine_root() {
        skipped(example, "AF_XDP needs root");
        return None;
    }
    for tool in ["ip", "ping", "python3", "curl"] {
        if Command::new(tool).arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "{example} needs {tool}");
            skipped(example, &format!("{tool} is not installed"));
            return None;
        }
    }
    let folder = Folder::new(&format!("example-{example}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
    for file in fs::read_dir(&source).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), folder.path(file.file_name().to_str().unwrap())).unwrap();
    }
    let text = fs::read_to_string(source.join("README.md")).unwrap();
    let commands: Vec<_> =
        text.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect();
    assert_eq!(commands.len(), blocks, "blocks of commands in the README of {example}");
    // The first process of its namespace: with it, the switches end too.
    folder.write("example.sh", &format!("mount -t tmpfs none /run\nset -ex\n{}", commands.concat()));
    let binaries = Path::new(env!("CARGO_BIN_EXE_rigswitch")).parent().unwrap().to_owned();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("unshare");
    shell.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "timeout", "100", "sh", "example.sh"]);
    let said = said(shell.current_dir(folder.path("")).env("PATH", path).env_remove("RIGSWITCH_SOCKET"));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    Some(said)
}

/// It said all of these, and as often as that that no packet was lost.
fn has_said(said: &Said, words: &[&str], unharmed: usize) {
    for words in words {
        assert!(said.out.contains(words), "no {words} in what it said:\n{}\n{}", said.out, said.err);
    }
    assert_eq!(said.out.matches(" 0% packet loss").count(), unharmed, "{}", said.out);
}

#[test]
fn two_nodes_without_a_tunnel_do_what_their_readme_says() {
    let Some(said) = walk_through("host-gw", 5) else { return };
    let words = [
        "172.246.0.0/24",
        "reachable",
        "1480 bytes from 172.246.0.2",
        "3008 bytes from 172.246.0.2",
        "4 MiB from container-a to container-b",
        "4 MiB from container-b to container-a",
        "every frame and every copy is accounted for",
    ];
    has_said(&said, &words, 4);
}

#[test]
fn a_gateway_between_vlans_does_what_its_readme_says() {
    let Some(said) = walk_through("inter-vlan", 6) else { return };
    let words = [
        "3008 bytes from 198.51.100.1",
        "3008 bytes from 2001:db8::1",
        "4 MiB from server to desk, at 10.0.20.3",
        "4 MiB from desk to server, at 10.0.10.2",
        "4 MiB from server to desk, at [fd00:20::3]",
        "4 MiB from desk to server, at [fd00:10::2]",
        "4 MiB from world to desk, at 198.51.100.1",
        "4 MiB from desk to world, at 10.0.10.2",
        "4 MiB from world to desk, at [2001:db8::1]",
        "4 MiB from desk to world, at [fd00:10::2]",
        "10.0.20.0/24 is behind br0.20, which has 10.0.20.1",
        "decide    forward to server",
    ];
    for words in words {
        assert!(said.out.contains(words), "no {words} in what it said:\n{}\n{}", said.out, said.err);
    }
    let balanced = said.out.matches("every frame and every copy is accounted for").count();
    assert_eq!(balanced, 2, "{}", said.out);
}

#[test]
fn two_nodes_with_an_ipip_tunnel_do_what_their_readme_says() {
    let Some(said) = walk_through("ipip", 5) else { return };
    let words = [
        "reachable",
        "mtu = 1480",
        "3008 bytes from 172.246.0.2",
        "4 MiB from container-a to container-b",
        "4 MiB from container-b to container-a",
        "tun245 puts it in a packet from 192.168.32.245 to 192.168.32.246, by eth0",
        "every frame and every copy is accounted for",
    ];
    has_said(&said, &words, 3);
}

#[test]
fn two_nodes_with_a_vxlan_tunnel_do_what_their_readme_says() {
    let Some(said) = walk_through("vxlan", 8) else { return };
    let words = [
        "3 received",
        "02:38:4a:12:3b:43",
        "192.168.32.246",
        "172.246.0.0/24",
        "mtu = 1450",
        "02:38:4a:12:3b:43 is set to be behind 192.168.32.246",
        "in a packet from 192.168.32.245 to 192.168.32.246",
    ];
    has_said(&said, &words, 2);
}
