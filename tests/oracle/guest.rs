//! A Debian kernel under qemu, an ordinary process: frames go in and out of its devices as datagrams, commands by its console.

use std::io::{Read, Write, pipe};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rigswitch::lab;

use crate::command::{Folder, Process};
use crate::initramfs::Parts;
use crate::rigs::{Outputs, PORTS, Rig, Step};

/// How long it may take to boot, or to answer: on an idle machine that is 5 seconds, and a millisecond.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a frame that is to come may be on its way.
const DEFERRED: Duration = Duration::from_secs(20);
/// What every rig is made of.
const MODULES: [&str; 13] = [
    "virtio_pci",
    "virtio_net",
    "8021q",
    "bridge",
    "macvlan",
    "ipvlan",
    "ipip",
    "ip6_tunnel",
    "vxlan",
    "sch_ingress",
    "cls_matchall",
    "act_mirred",
    "act_gact",
];
/// An EtherType for local experiments, which no case has.
const MARKER: [u8; 2] = [0x88, 0xb6];

/// A kernel that runs, ended with this.
pub(crate) struct Guest {
    qemu: Process,
    console: Receiver<Vec<u8>>,
    said: String,
    ports: Vec<UnixDatagram>,
    markers: u64,
    untold: Vec<String>, // of what nothing comes by itself
    /// What it calls itself.
    pub(crate) version: String,
    folder: Folder,
}

impl Guest {
    /// Boots one, or says what is missing for that.
    pub(crate) fn boot() -> Result<Self, String> {
        let parts = Parts::find("kernel", &["bridge", "tc"])?;
        let folder = Folder::new("oracle");
        let parameters = "fb_tunnels=none rcupdate.rcu_expedited=1";
        let mut command = parts.qemu(&folder, include_bytes!("init.sh"), &MODULES, parameters);
        // One processor: what came in first is done first.
        command.args(["-m", "256", "-smp", "1"]);
        let mut ports = Vec::new();
        for port in 0..PORTS {
            let [ours, theirs] = ["ours", "theirs"].map(|side| folder.path(&format!("{side}{port}")));
            ports.push(UnixDatagram::bind(&ours).unwrap());
            let [ours, theirs] = [ours, theirs].map(|path| path.to_str().unwrap().to_owned());
            let netdev = format!("dgram,id=n{port},local.type=unix,local.path={theirs},remote.type=unix");
            // It takes every frame, and leaves all of it to the kernel.
            let off = ["csum", "guest_csum", "gso", "guest_tso4", "guest_tso6", "ctrl_rx", "ctrl_vlan"];
            let off: String = off.map(|feature| format!(",{feature}=off")).concat();
            let device = format!("virtio-net-pci,netdev=n{port},mac=02:00:00:00:aa:0{port},romfile={off}");
            command.args(["-netdev", &format!("{netdev},remote.path={ours}"), "-device", &device]);
        }
        let (mut reader, writer) = pipe().unwrap();
        command.stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let qemu = Process::start(&mut command);
        drop(command); // and with it our ends of the pipe
        let (heard, console) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let _ = heard.send(buffer[..length].to_vec());
            }
        });
        let said = String::new();
        let mut guest = Self {
            qemu,
            console,
            said,
            ports,
            markers: 0,
            untold: Vec::new(),
            version: String::new(),
            folder,
        };
        let boot = guest.read_until("ready\n");
        guest.version = boot.lines().last().expect("it says who it is").trim().to_owned();
        for (port, socket) in guest.ports.iter().enumerate() {
            socket.connect(guest.folder.path(&format!("theirs{port}"))).unwrap();
            socket.set_write_timeout(Some(PATIENCE)).unwrap();
        }
        Ok(guest)
    }

    /// Builds the rig in place of any other.
    pub(crate) fn build(&mut self, rig: &Rig) {
        self.tell();
        self.run(["reset"]);
        self.run(rig.kernel.lines().chain(["settle"]));
        // What devices say as they come and go is no answer.
        self.mark(0, &mut Outputs::default());
    }

    /// Does it, and answers what came of it. If it is known how many frames are to come out of each port, they are waited for.
    pub(crate) fn step(&mut self, step: &Step, wanted: Option<[usize; PORTS]>) -> Outputs {
        let mut outputs = Outputs::default();
        let (port, frame) = match step {
            Step::Send(port, frame) => (*port, frame),
            Step::Fdb(words) => {
                self.untold.push(format!("bridge fdb {words}"));
                return outputs;
            }
            Step::Mdb(words) => {
                self.untold.push(format!("bridge mdb {words}"));
                return outputs;
            }
            Step::Wait(ms) => {
                self.tell();
                self.run([&*format!("busybox usleep {ms}000")]);
                return outputs;
            }
        };
        self.tell();
        self.ports[port].send(frame).unwrap();
        match wanted {
            Some(wanted) => {
                for (port, wanted) in wanted.into_iter().enumerate() {
                    let missing = std::iter::from_fn(|| self.receive(port, DEFERRED)).take(wanted);
                    outputs[port].extend(missing);
                }
            }
            // The kernel may put a frame off; it gets to that before it answers.
            None => {
                self.mark(port, &mut outputs);
                self.run([]);
            }
        }
        // What has been put off until the interrupt's end is out before the second has come in.
        (0..2).for_each(|_| self.mark(port, &mut outputs));
        outputs
    }

    /// Says what has not been said yet.
    fn tell(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if !untold.is_empty() {
            self.run(untold.iter().map(String::as_str));
        }
    }

    /// Sends a marker into a port, and collects what comes out of all of them before it.
    fn mark(&mut self, port: usize, outputs: &mut Outputs) {
        self.markers += 1;
        let mut marker =
            [&[0xff; 6][..], &[2, 0xfe, 0, 0, 0, 0], &MARKER, &self.markers.to_be_bytes()].concat();
        marker.resize(60, 0);
        self.ports[port].send(&marker).unwrap();
        for (port, output) in outputs.iter_mut().enumerate() {
            let mut next = || {
                let frame = self.receive(port, PATIENCE);
                frame.unwrap_or_else(|| panic!("p{port} of the guest is silent; its console:\n{}", self.said))
            };
            output.extend(std::iter::repeat_with(&mut next).take_while(|frame| *frame != marker));
        }
    }

    fn receive(&self, port: usize, patience: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        self.ports[port].set_read_timeout(Some(patience)).unwrap();
        let length = lab::uninterrupted(|| self.ports[port].recv(&mut buffer)).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// Runs commands that must go well, neighbours of one tool by one process.
    fn run<'l>(&mut self, lines: impl IntoIterator<Item = &'l str>) {
        self.markers += 1;
        let mut script = String::new();
        let mut tool = "";
        for line in lines {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            let is_batch = ["ip", "bridge", "tc"].contains(&first);
            if !tool.is_empty() && first != tool {
                script += &format!(" | {tool} -b -\n");
            }
            if is_batch {
                script += if first == tool { "" } else { "printf '%s\\n'" };
                script += &format!(" '{rest}'");
            } else {
                script += &format!("{line}\n");
            }
            tool = if is_batch { first } else { "" };
        }
        if !tool.is_empty() {
            script += &format!(" | {tool} -b -\n");
        }
        let end = format!("done {}\n", self.markers);
        let console = self.qemu.stdin.as_mut().unwrap();
        console.write_all(format!("{script}echo {end}").as_bytes()).unwrap();
        let answer = self.read_until(&end);
        assert!(!answer.contains("refused:"), "the guest was told\n{script}and said\n{answer}");
    }

    /// What is said up to this, which is taken away with it.
    fn read_until(&mut self, end: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((before, after)) = self.said.split_once(end) {
                let before = before.to_owned();
                self.said = after.to_owned();
                return before;
            }
            match self.console.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.said += &String::from_utf8_lossy(&bytes).replace('\r', ""),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the guest takes too long; its console:\n{}", self.said)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the guest has ended; its console:\n{}", self.said)
                }
            }
        }
    }
}
