//! The checkers that need a build of their own: loom's models of the shared tables, and Miri on what it can run.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::cast_possible_truncation,
    clippy::unwrap_used
)] // tests say what they skip

use std::path::Path;
use std::process::Command;

/// Runs cargo in the workspace, with a target directory of its own, and answers whether it succeeded with its output.
fn cargo(words: &[&str], target: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new("cargo");
    command.args(words).current_dir(&root).env("CARGO_TARGET_DIR", root.join("target").join(target));
    // What the surrounding cargo has set would be taken for a wish of ours.
    for name in ["RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUSTC", "CARGO", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).output().expect("cargo starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Tests that a run reported as passed.
fn passed(output: &str) -> usize {
    let counts = output.lines().filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next());
    counts.filter_map(|count| count.parse::<usize>().ok()).sum()
}

#[test]
fn loom_finds_no_bad_interleaving() {
    // The models are worth optimising, the whole program as one is not.
    let quick = ["--config", "profile.release.lto=false", "--config", "profile.release.codegen-units=16"];
    let words =
        [&["test", "-p", "rigswitch-dataplane", "--lib", "--release"][..], &quick, &["loom"]].concat();
    let (ok, output) = cargo(&words, "loom", &[("RUSTFLAGS", "--cfg loom")]);
    assert!(ok && passed(&output) > 0, "{output}");
}

#[test]
fn miri_finds_no_undefined_behaviour() {
    let (there, _) = cargo(&["+nightly", "miri", "--version"], "miri", &[]);
    if !there {
        assert!(std::env::var_os("CI").is_none(), "CI must have Miri");
        println!("skipped: Miri is not installed (rustup component add miri rust-src --toolchain nightly)");
        return;
    }
    let words = ["+nightly", "miri", "test", "-p", "rigswitch-dataplane", "--lib", "--"];
    // `frames` has the unsafe code that needs no kernel, `wire` the arithmetic on it; the rest is safe, and loom's.
    let parts = ["frames::", "wire::", "ids::", "counters::", "--skip", "sys::"];
    let (ok, output) =
        cargo(&[&words[..], &parts[..]].concat(), "miri", &[("MIRIFLAGS", "-Zmiri-disable-isolation")]);
    assert!(ok && passed(&output) > 0, "{output}");
}
