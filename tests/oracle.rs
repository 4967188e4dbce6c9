//! The same frames through our switch and through a Debian kernel that has everything: the same output, byte for byte.
//!
//! What the kernel answered is kept in `tests/oracle/answers`, so that the switch is compared with it anywhere. Where qemu and a
//! kernel are at hand they are asked again. `RIGSWITCH_ORACLE=record cargo test --test oracle` writes down what they say.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
#[path = "oracle/guest.rs"]
mod guest;
#[path = "oracle/initramfs.rs"]
mod initramfs;
#[path = "oracle/ours.rs"]
mod ours;
mod rig;
#[path = "oracle/rigs.rs"]
mod rigs;
#[path = "oracle/transcript.rs"]
mod transcript;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use command::skipped;
use guest::Guest;
use rigs::Rig;
use rigswitch::config::Config;

/// What of a file the switch does not have yet is refused with these words.
const LATER: &str = ": this version does not have it yet";

/// Where the answers of this file of rigs are, or the list of those that the switch cannot run.
fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/oracle/answers/{file}.txt"))
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_default()
}

/// What the configuration of this rig asks for and the switch does not have; nothing if it can run.
fn missing(rig: &Rig) -> Vec<String> {
    let Err(refused) = Config::parse(&rig.config(), "rig.toml") else { return Vec::new() };
    let refused = refused.to_string();
    let later: Vec<_> = refused.lines().filter_map(|line| line.strip_suffix(LATER)).collect();
    assert!(!later.is_empty(), "{}: refused for another reason than what is missing:\n{refused}", rig.name);
    let mut words: Vec<_> = later.iter().map(|problem| problem.split('`').nth(1).unwrap().into()).collect();
    words.sort();
    words.dedup();
    words
}

#[test]
fn the_switch_answers_what_the_kernel_did() {
    let mut count = 0;
    for (file, rigs) in rigs::all() {
        let answers = read(file);
        for rig in rigs.iter().filter(|rig| missing(rig).is_empty()) {
            let kernels = transcript::steps(&answers, rig).unwrap_or_else(|| panic!("{}", not_recorded(rig)));
            let ours = ours::play(rig);
            assert_eq!(kernels.len(), ours.len(), "{}", not_recorded(rig));
            for (step, (kernels, ours)) in kernels.into_iter().zip(ours).enumerate() {
                assert!(
                    kernels == ours,
                    "{}, step {step}: the kernel's answer is\n{kernels}and ours is\n{ours}",
                    rig.name
                );
                count += 1;
            }
        }
    }
    assert!(count > 500, "{count} steps were compared");
}

#[test]
fn what_the_switch_cannot_run_yet_is_refused_by_name() {
    let waits = |file, rig: &Rig| {
        let missing = missing(rig).join(", ");
        (!missing.is_empty()).then(|| format!("{file}: {}: {missing}\n", rig.name))
    };
    let all = rigs::all();
    let waiting: String =
        all.iter().flat_map(|(file, rigs)| rigs.iter().filter_map(move |rig| waits(file, rig))).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/waiting.txt");
    let listed = fs::read_to_string(&path).unwrap_or_default();
    if is_to_record() {
        return fs::write(path, waiting).unwrap();
    }
    let ended = listed.lines().find(|line| !waiting.lines().any(|other| other == *line));
    assert_eq!(
        ended, None,
        "tests/oracle/waiting.txt: the switch runs this now, or lacks less: mend the line"
    );
    assert_eq!(listed, waiting, "tests/oracle/waiting.txt lacks what the switch cannot run");
}

#[test]
fn the_kernel_answers_what_it_did() {
    const NAME: &str = "the_kernel_answers_what_it_did";
    let mut guest = match Guest::boot() {
        Ok(guest) => guest,
        Err(what) => {
            assert!(env::var_os("CI").is_none() && !is_to_record(), "{NAME}: {what}");
            return skipped(NAME, &format!("a kernel that has everything is not at hand: {what}"));
        }
    };
    for (file, rigs) in rigs::all() {
        let committed = read(file);
        let mut answers = format!("# {}\n", guest.version);
        for rig in &rigs {
            answers += &play(&mut guest, rig, (!is_to_record()).then_some(&committed));
        }
        if is_to_record() {
            fs::write(path(file), answers).unwrap();
        } else {
            let same =
                answers.split_once('\n').unwrap().1 == committed.split_once('\n').unwrap_or_default().1;
            assert!(same, "{file} has answers to what is not asked any more: record anew");
        }
    }
}

/// The kernel's answers to a rig; if it has answered before, they must be the same.
fn play(guest: &mut Guest, rig: &Rig, committed: Option<&String>) -> String {
    let before =
        committed.map(|text| transcript::steps(text, rig).unwrap_or_else(|| panic!("{}", not_recorded(rig))));
    let mut before = before.map(Vec::into_iter);
    guest.build(rig);
    let mut answers = transcript::heading(rig);
    for (name, steps) in &rig.cases {
        answers += &format!("--- {name}\n");
        for step in steps {
            let expected = before.as_mut().map(|before| before.next().unwrap_or_default());
            let answer = transcript::step(step, guest.step(step, expected.map(transcript::counts)));
            if let Some(expected) = expected {
                let (rig, version) = (&rig.name, &guest.version);
                assert!(expected == answer, "{rig}, {name}: {version} answers\n{answer}and not\n{expected}");
            }
            answers += &answer;
        }
    }
    answers
}

fn is_to_record() -> bool {
    env::var("RIGSWITCH_ORACLE").is_ok_and(|word| word == "record")
}

fn not_recorded(rig: &Rig) -> String {
    format!("{}: changed since it was recorded: RIGSWITCH_ORACLE=record cargo test --test oracle", rig.name)
}
