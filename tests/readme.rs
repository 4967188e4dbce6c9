//! The README's worked example, run word for word on a machine of its own: namespaces with nothing in them, and an empty /run.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::fs;
use std::path::Path;
use std::process::Command;

use command::{Folder, is_machine_root, said, skipped};

/// The text of the next block of `language` at or after `from`, and where it ends.
fn block<'t>(text: &'t str, from: usize, language: &str) -> (&'t str, usize) {
    let fence = format!("```{language}\n");
    let start = from + text[from..].find(&fence).expect("the README has the block") + fence.len();
    let end = start + text[start..].find("```").unwrap();
    (&text[start..end], end)
}

#[test]
fn the_example_of_the_readme_does_what_it_says() {
    if !is_machine_root() {
        return skipped("the_example_of_the_readme_does_what_it_says", "AF_XDP needs root");
    }
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let from = readme.find("This is `rig.toml`").unwrap();
    let (config, end) = block(&readme, from, "toml");
    let (commands, _) = block(&readme, end, "sh");

    let folder = Folder::new("readme");
    folder.write("rig.toml", config);
    // The first process of its namespace: with it, the switch ends too.
    folder.write("example.sh", &format!("mount -t tmpfs none /run\nset -e\n{commands}"));
    let binaries = Path::new(env!("CARGO_BIN_EXE_rigswitch")).parent().unwrap().to_owned();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("unshare");
    shell.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "timeout", "60", "sh", "example.sh"]);
    let said = said(shell.current_dir(folder.path("")).env("PATH", path).env_remove("RIGSWITCH_SOCKET"));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    for word in ["h1", "vm0", "02:00:00:00:00:01", "static", "rigswitch_fdb_entries"] {
        assert!(said.out.contains(word), "no {word} in what it said:\n{}", said.out);
    }
}
