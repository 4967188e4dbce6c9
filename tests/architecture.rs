//! The house holds: imports run one way, unsafe stays behind its fence, files say what they are and stay short.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The data plane's modules, each line above those that may use it.
const LAYERS: [&[&str]; 11] = [
    &["ids", "sync"],
    &["drops"],
    &["counters"],
    &["sys", "wire", "ring", "filter"],
    &["frames", "bell"],
    &["ports"],
    &["tables", "rate"],
    &["clock", "punt"],
    &["pipeline", "bridge", "vlan", "ipvlan", "macvlan", "routing", "tunnels"],
    &["upper", "watch"],
    &["worker"],
];

#[test]
fn imports_of_the_data_plane_run_one_way() {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    for (file, text) in sources("dataplane/src") {
        let Some(own) = module(&file, "dataplane/src").filter(|own| own != "lib") else { continue };
        let own_layer = layer(&own).unwrap_or_else(|| panic!("{own} has no place in LAYERS"));
        for used in imports(&text) {
            let used_layer = layer(&used).unwrap_or_else(|| panic!("{used} has no place in LAYERS"));
            // The line calls the stages of the protocols, which are written in its terms.
            let beside = used_layer == own_layer && own_layer == layer("pipeline").unwrap();
            let allowed = used == own || used_layer < own_layer || beside;
            assert!(allowed, "{}: {own} uses {used}", file.display());
        }
    }
}

#[test]
fn the_data_plane_does_not_know_who_controls_it() {
    for (file, text) in sources("dataplane") {
        let text = text.replace("rigswitch_dataplane", "");
        assert!(!text.contains("rigswitch::"), "{} uses control", file.display());
    }
    let manifest = fs::read_to_string(root().join("dataplane/Cargo.toml")).unwrap();
    for foreign in ["tokio", "serde", "hyper", "clap", "toml"] {
        let is_named = manifest.lines().any(|line| line.split([' ', '.', '=']).next() == Some(foreign));
        assert!(!is_named, "the data plane depends on {foreign}");
    }
}

#[test]
fn unsafe_code_is_behind_its_fence() {
    let keyword = concat!("uns", "afe");
    let fence = ["dataplane/src/sys/", "dataplane/src/frames/", "tests/allocations.rs"];
    for (file, text) in all() {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        let uses = |code: &str| {
            let after = code.split(keyword).nth(1);
            after.is_some_and(|after| after.starts_with([' ', '{']))
        };
        let found = code.clone().any(uses);
        assert!(!found || fence.iter().any(|part| name.starts_with(part)), "{name} has {keyword} code");
    }
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    const LONGEST: usize = 500;
    for (file, text) in all() {
        assert!(text.starts_with("//! "), "{}: the first line says what it is", file.display());
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{}: {lines} lines", file.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ig", "nore")];
    for (file, text) in all() {
        let found = words.iter().find(|word| text.contains(**word));
        assert!(found.is_none(), "{} has {}", file.display(), found.unwrap());
    }
}

/// The top-level modules that a file uses of its own crate.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split("crate::").skip(1) {
        let names = match part.strip_prefix('{') {
            // use crate::{one::thing, two}
            Some(group) => group.split('}').next().unwrap().split(',').map(str::trim).collect(),
            None => vec![part],
        };
        let name =
            |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        found.extend(names.into_iter().map(name).filter(|name| !name.is_empty()));
    }
    found
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::ids::DeviceId;\nuse crate::{drops, wire::vlan};\nfn f(at: crate::sys::poll::PollSet) {}\n";
    assert_eq!(imports(text).iter().collect::<Vec<_>>(), ["drops", "ids", "sys", "wire"]);
}

/// The top-level module that a file belongs to.
fn module(file: &Path, source: &str) -> Option<String> {
    let inside = file.strip_prefix(root().join(source)).unwrap();
    let first = Path::new(inside.components().next()?.as_os_str());
    Some(first.file_stem()?.to_str()?.to_owned())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All of ours.
fn all() -> Vec<(PathBuf, String)> {
    ["dataplane", "control", "tests", "benches", "fuzz"].into_iter().flat_map(sources).collect()
}

/// The Rust files below a folder, builds left out.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}
