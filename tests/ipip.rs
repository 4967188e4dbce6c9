//! The example of two nodes with an IPIP tunnel between them, its README run word for word on a machine of its own: namespaces with nothing in them,
//! and an empty /run.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::path::Path;
use std::process::Command;

use command::{Folder, is_machine_root, said, skipped};

const README: &str = include_str!("../control/examples/ipip/README.md");

#[test]
fn the_example_of_two_nodes_does_what_it_says() {
    const NAME: &str = "the_example_of_two_nodes_does_what_it_says";
    if !is_machine_root() {
        return skipped(NAME, "AF_XDP needs root");
    }
    for tool in ["ip", "ping", "python3", "curl"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return skipped(NAME, &format!("{tool} is not installed"));
        }
    }
    let blocks = README.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0);
    let commands: Vec<_> = blocks.collect();
    assert_eq!(commands.len(), 5, "blocks of commands in the README");
    let folder = Folder::new("ipip");
    folder.write("a.toml", include_str!("../control/examples/ipip/a.toml"));
    folder.write("b.toml", include_str!("../control/examples/ipip/b.toml"));
    // The first process of its namespace: with it, the switches end too.
    folder.write("example.sh", &format!("mount -t tmpfs none /run\nset -ex\n{}", commands.concat()));
    let binaries = Path::new(env!("CARGO_BIN_EXE_rigswitch")).parent().unwrap().to_owned();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("unshare");
    shell.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "timeout", "100", "sh", "example.sh"]);
    let said = said(shell.current_dir(folder.path("")).env("PATH", path).env_remove("RIGSWITCH_SOCKET"));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    for words in [
        "reachable",
        "mtu = 1480",
        "3008 bytes from 172.246.0.2",
        "4 MiB from container-a to container-b",
        "4 MiB from container-b to container-a",
        "tun245 puts it in a packet from 192.168.32.245 to 192.168.32.246, by eth0",
        "every frame and every copy is accounted for",
    ] {
        assert!(said.out.contains(words), "no {words} in what it said:\n{}\n{}", said.out, said.err);
    }
    assert_eq!(said.out.matches(" 0% packet loss").count(), 3, "{}", said.out);
}
