//! One capture's thread: takes records from the workers' rings, makes pcapng of them, and hands it on in bounded chunks.
//!
//! When whoever reads is slow, this thread waits, the rings fill, and the workers count what they have no room for; nobody
//! else waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rigswitch_dataplane::bell::Bell;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::GsoKind;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::sys::poll::{Interest, PollSet};
use rigswitch_dataplane::watch::{CaptureReader, Place, Record, Stage};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::pcapng::{self, Crossing, Packet, Statistics};

/// What devices are called, with how often that changed: control writes, sessions read.
pub(crate) type Names = Arc<Mutex<(u64, Named)>>;

/// What devices are called, by number.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Named {
    /// Those that have names.
    pub(crate) names: BTreeMap<DeviceId, String>,
    /// The insides of bridges' own devices, and those: what crosses one is seen there already, what ends in one is shown there.
    pub(crate) insides: BTreeMap<DeviceId, DeviceId>,
}

/// A chunk is handed on when it has this many bytes, or when there is no more for now.
const CHUNK: usize = 64 << 10;

/// Chunks that may wait for whoever reads.
const CHUNKS: usize = 16;

/// How often it is told what was missed, and looked whether anybody reads.
const LOOK: Duration = Duration::from_millis(250);

/// The way from a session to whoever reads.
pub(crate) fn chunks() -> (Sender<Vec<u8>>, Receiver<Vec<u8>>) {
    channel(CHUNKS)
}

/// What a session works with.
pub(crate) struct Session {
    sources: Vec<Source>,
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>, // control sets it
    names: Names,
    named: (u64, Named), // as of the last look
    interfaces: BTreeMap<(DeviceId, Place), Interface>,
    numbers: u32, // of interfaces
    snaplen: u32,
    left: Option<u64>,
    chunk: Vec<u8>,
    out: Sender<Vec<u8>>,
}

/// One worker's ring, and the record that is next.
struct Source {
    reader: CaptureReader,
    next: Option<Record>,
    bytes: Vec<u8>,
}

/// One interface of the stream.
struct Interface {
    number: u32,
    name: String,
    packets: u64,
    told: Statistics,
}

/// Nobody reads any more.
struct Unread;

impl Session {
    /// A session that reads from `readers`, which ring `bell`, until `stop` is set or nobody reads `out`.
    pub(crate) fn new(
        readers: Vec<CaptureReader>,
        bell: Arc<Bell>,
        stop: Arc<AtomicBool>,
        names: Names,
        out: Sender<Vec<u8>>,
    ) -> Self {
        let source = |reader| Source { reader, next: None, bytes: Vec::new() };
        Self {
            sources: readers.into_iter().map(source).collect(),
            bell,
            stop,
            names,
            named: Default::default(),
            interfaces: BTreeMap::new(),
            numbers: 0,
            snaplen: super::SNAPLEN,
            left: None,
            chunk: Vec::with_capacity(2 * CHUNK),
            out,
        }
    }

    /// The same, which says that it keeps so much of a frame, and ends after so many.
    pub(crate) fn bounded(self, snaplen: u32, count: Option<u64>) -> Self {
        Self { snaplen, left: count, ..self }
    }

    /// Carries what there is, until it is told to stop, has carried as much as was asked for, or nobody reads. It starts with
    /// the interfaces of `devices` at `places`.
    pub(crate) fn run(mut self, devices: &[DeviceId], places: &[Place]) {
        pcapng::section(&mut self.chunk);
        self.look_up_names();
        for &device in devices {
            for &place in places {
                self.interface(device, place);
            }
        }
        // That nobody reads is an end like any other.
        let _ = self.carry();
    }

    fn carry(&mut self) -> Result<(), Unread> {
        let mut sleeper = PollSet::new();
        sleeper.add(&self.bell, Interest::Read);
        let mut looked = Instant::now();
        loop {
            // Before the last look at the rings: what came before it was set is carried.
            let stop = self.stop.load(Ordering::Acquire);
            self.look_up_names();
            self.take_all()?;
            if stop || self.left == Some(0) {
                self.tell();
                return self.hand_on();
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.tell();
            }
            self.hand_on()?;
            self.bell.prepare_to_sleep();
            if self.sources.iter_mut().all(|source| source.look().is_none())
                && !self.stop.load(Ordering::Acquire)
            {
                // An error would be a bug in the set; the next look finds whatever there is.
                let _ = sleeper.wait(Some(LOOK));
            }
            self.bell.awake();
            if self.out.is_closed() {
                return Err(Unread);
            }
        }
    }

    /// Takes what the rings hold, what came first first.
    fn take_all(&mut self) -> Result<(), Unread> {
        while self.left != Some(0) {
            let earliest = |(_, source): &(usize, &mut Source)| source.next.map(|record| record.at.unix_ns);
            self.sources.iter_mut().for_each(|source| _ = source.look());
            let waiting = self.sources.iter_mut().enumerate().filter(|(_, source)| source.next.is_some());
            let Some((index, _)) = waiting.min_by_key(earliest) else { break };
            self.take(index);
            if self.chunk.len() >= CHUNK {
                self.hand_on()?;
            }
        }
        Ok(())
    }

    /// Takes the next record of a ring.
    fn take(&mut self, index: usize) {
        let Some(record) = self.sources[index].next.take() else { return };
        let Some(device) = self.device(record.device, record.stage.place()) else { return };
        let interface = self.interface(device, record.stage.place());
        interface.packets += 1;
        let (crossing, reason) = match record.stage {
            Stage::Rx => (Crossing::Inbound, None),
            Stage::Tx => (Crossing::Outbound, None),
            Stage::Drop(Direction::Rx, reason) => (Crossing::Inbound, Some(reason)),
            Stage::Drop(Direction::Tx, reason) => (Crossing::Outbound, Some(reason)),
        };
        let offload = offload(&record);
        let packet = Packet {
            interface: interface.number,
            unix_ns: record.at.unix_ns,
            crossing,
            length: record.length,
            bytes: &self.sources[index].bytes,
            comments: [reason.map(DropReason::name), offload.as_deref()],
        };
        pcapng::packet(&mut self.chunk, &packet);
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
    }

    /// The device that something is shown at; `None` if it is not to be.
    fn device(&self, device: DeviceId, place: Place) -> Option<DeviceId> {
        match self.named.1.insides.get(&device) {
            Some(outside) => (place == Place::Drop).then_some(*outside),
            None => Some(device),
        }
    }

    /// The interface of a device and a place, which is written when it is first needed: a number may have become another
    /// device's.
    fn interface(&mut self, device: DeviceId, place: Place) -> &mut Interface {
        let name = match self.named.1.names.get(&device) {
            Some(name) => format!("{name} {}", place.name()),
            None => format!("device {} {}", device.0, place.name()),
        };
        let known = self.interfaces.get(&(device, place));
        if known.is_none_or(|known| known.name != name) {
            let description = match place {
                Place::Rx => "frames as they came in",
                Place::Tx => "frames as they left",
                Place::Drop => "frames that were discarded, and why",
            };
            pcapng::interface(&mut self.chunk, &name, description, self.snaplen);
            let fresh = Interface { number: self.numbers, name, packets: 0, told: Statistics::default() };
            self.numbers += 1;
            self.interfaces.insert((device, place), fresh);
        }
        self.interfaces.get_mut(&(device, place)).expect("it was there or was put there")
    }

    fn look_up_names(&mut self) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.0 != self.named.0 {
            self.named = names.clone();
        }
    }

    /// Writes what every interface has seen and missed, where there is news.
    fn tell(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let missed = |source: &Source| source.reader.missed().collect::<Vec<_>>();
        let mut all = BTreeMap::<_, u64>::new();
        for (device, place, missed) in self.sources.iter().flat_map(missed) {
            let device = self.device(device, place);
            device.into_iter().for_each(|device| *all.entry((device, place)).or_default() += missed);
        }
        for &(device, place) in all.keys() {
            self.interface(device, place);
        }
        for (key, interface) in &mut self.interfaces {
            let missed = all.get(key).copied().unwrap_or(0);
            let statistics = Statistics { received: interface.packets + missed, missed };
            if statistics != interface.told {
                interface.told = statistics;
                pcapng::statistics(&mut self.chunk, interface.number, unix_ns, statistics);
            }
        }
    }

    /// Hands on what was written; waits for whoever reads.
    fn hand_on(&mut self) -> Result<(), Unread> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(2 * CHUNK));
        self.out.blocking_send(chunk).map_err(|_| Unread)
    }
}

/// What a frame's sender left to be done, in a few words: nothing is said of one that is as on a wire.
fn offload(record: &Record) -> Option<String> {
    let gso = record.gso.map(|(kind, size)| match kind {
        GsoKind::TcpV4 => format!("gso tcp4 mss {size}"),
        GsoKind::TcpV6 => format!("gso tcp6 mss {size}"),
        GsoKind::UdpL4 => format!("gso udp size {size}"),
    });
    let words: Vec<_> = gso.into_iter().chain(record.is_partial.then(|| "checksum partial".into())).collect();
    Some(words.join(", ")).filter(|text| !text.is_empty())
}

impl Source {
    /// The next record, its bytes in `bytes`.
    fn look(&mut self) -> Option<Record> {
        if self.next.is_none() {
            self.next = self.reader.receive(&mut self.bytes);
        }
        self.next
    }
}
