//! What a guest boots from: a Debian kernel, and an archive of a shell, programs, their libraries, and the kernel's modules.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Folder, said};

const QEMU: &str = "qemu-system-x86_64";

/// Where the parts of a guest are.
pub(crate) struct Parts {
    programs: Vec<PathBuf>,
    image: PathBuf,
    modules: PathBuf,
}

impl Parts {
    /// Those of the kernel that was unpacked here, or what is missing. busybox and iproute2's `ip` are always among the programs.
    pub(crate) fn find(kernel: &str, others: &[&str]) -> Result<Self, String> {
        let folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        let program = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        if program(QEMU).is_none() {
            return Err("install qemu-system-x86".into());
        }
        let find =
            |name: &&str| program(name).ok_or(format!("install busybox-static and iproute2: no {name}"));
        let programs = ["busybox", "ip"].iter().chain(others).map(find).collect::<Result<_, _>>()?;
        let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(kernel);
        let below = |place: &str, prefix: &str| {
            let mut paths = fs::read_dir(kernel.join(place)).ok()?.map(|entry| entry.unwrap().path());
            paths.find(|path| path.file_name().unwrap().to_str().is_some_and(|name| name.starts_with(prefix)))
        };
        match (below("boot", "vmlinuz-"), below("lib/modules", "")) {
            (Some(image), Some(modules)) => Ok(Self { programs, image, modules }),
            _ => {
                Err("run tests/oracle/kernel.sh, which unpacks Debian's kernels for virtual machines".into())
            }
        }
    }

    /// qemu with a guest that has these modules, and those that they need, and starts `init`. Its devices are for others to add.
    pub(crate) fn qemu(&self, folder: &Folder, init: &[u8], modules: &[&str], parameters: &str) -> Command {
        let initramfs = folder.path("initramfs");
        fs::write(&initramfs, build(&self.modules, &self.programs, init, modules)).unwrap();
        let mut command = Command::new(QEMU);
        command
            .args("-accel tcg -machine q35 -nodefaults -no-user-config -display none -no-reboot".split(' '));
        command.args(["-serial", "stdio", "-kernel"]).arg(&self.image).arg("-initrd").arg(initramfs);
        // On a busy host the check of the timer may see no tick in time, and the kernel panics.
        command.args(["-append", &format!("console=ttyS0 quiet panic=-1 no_timer_check {parameters}")]);
        command
    }
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// The archive, of programs that are here and of modules below `modules`.
fn build(modules: &Path, programs: &[PathBuf], init: &[u8], names: &[&str]) -> Vec<u8> {
    let mut archive = Archive::default();
    for place in ["proc", "sys", "dev", "sbin", "modules"] {
        archive.add(place, DIRECTORY, &[]);
    }
    archive.add("init", PROGRAM, init);
    for program in programs {
        let name = program.file_name().unwrap().to_str().unwrap();
        let place = if name == "busybox" { "bin/busybox".into() } else { format!("sbin/{name}") };
        archive.add_with_folders(&place, &fs::read(program).unwrap());
        // Of a static one it says that there are none.
        for library in said(Command::new("ldd").arg(program)).out.split_whitespace() {
            if library.starts_with('/') && library != program.to_str().unwrap() {
                archive.add_with_folders(&library[1..], &fs::read(library).unwrap());
            }
        }
    }
    let mut loaded = Vec::new();
    names.iter().for_each(|name| load(modules, name, &mut loaded));
    for (number, (_, bytes)) in loaded.iter().enumerate() {
        archive.add(&format!("modules/{number:02}.ko"), PROGRAM, bytes);
    }
    archive.add("TRAILER!!!", 0, &[]);
    archive.bytes
}

/// Appends a module to those that are loaded, behind those it needs.
fn load(modules: &Path, name: &str, loaded: &mut Vec<(String, Vec<u8>)>) {
    if loaded.iter().any(|(other, _)| other == name) {
        return;
    }
    let bytes = fs::read(find(modules, name).unwrap_or_else(|| panic!("the kernel has no {name}"))).unwrap();
    let key = b"\0depends=";
    let at = bytes.windows(key.len()).position(|window| window == key).expect("a module says what it needs");
    let rest = &bytes[at + key.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap();
    let needs = String::from_utf8(rest[..end].to_vec()).unwrap();
    needs.split(',').filter(|need| !need.is_empty()).for_each(|need| load(modules, need, loaded));
    loaded.push((name.to_owned(), bytes));
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let is_it = |path: &Path| {
        let file = path.file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| file.replace('-', "_") == format!("{name}.ko"))
    };
    let mut paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.find_map(|path| if path.is_dir() { find(&path, name) } else { is_it(&path).then_some(path) })
}

/// In cpio's format "newc", which is all that the kernel reads.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    places: BTreeSet<String>,
}

impl Archive {
    fn add_with_folders(&mut self, place: &str, content: &[u8]) {
        for (slash, _) in place.match_indices('/') {
            self.add(&place[..slash], DIRECTORY, &[]);
        }
        self.add(place, PROGRAM, content);
    }

    fn add(&mut self, place: &str, mode: u32, content: &[u8]) {
        if !self.places.insert(place.to_owned()) {
            return;
        }
        let mut fields = [0; 13];
        fields[0] = self.places.len(); // inode
        fields[1] = usize::try_from(mode).unwrap();
        fields[4] = 1; // links
        fields[6] = content.len();
        fields[11] = place.len() + 1;
        self.bytes.extend(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").bytes()));
        for part in [[place.as_bytes(), &[0]].concat().as_slice(), content] {
            self.bytes.extend(part);
            self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        }
    }
}
