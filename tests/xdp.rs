//! AF_XDP ports on real veths: what is sent arrives byte for byte, whole, once, and with its tag.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[path = "support/veth.rs"]
mod veth;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rigswitch_dataplane::counters::{DeviceCounters, Volume};
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::frames::{Burst, Checksum, Pool, PoolConfig};
use rigswitch_dataplane::ports::{
    Now, PortGone, PortIo, PortQueue, XdpConfig, XdpDevice, XdpError, XdpMode, XdpQueue,
};
use rigswitch_dataplane::sys::bpf::Attach;
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::Netns;
use rigswitch_dataplane::sys::packet::PacketSocket;
use veth::{Rig, run, up, wait_for};

/// A device's queues with a worker's belongings around them.
struct Port {
    device: XdpDevice,
    queues: Vec<XdpQueue>,
    pool: Pool,
    counters: DeviceCounters,
}

impl Port {
    fn open(rig: &Rig, mode: XdpMode) -> Self {
        let pool = PoolConfig { frames: 8192, runs: 32, run_chunks: PoolConfig::SUPER_FRAME_CHUNKS };
        Self::try_open(&rig.near, "near0", mode, pool).unwrap()
    }

    fn try_open(netns: &Netns, device: &str, mode: XdpMode, pool: PoolConfig) -> Result<Self, XdpError> {
        let config = XdpConfig { mode, ..XdpConfig::new(device) };
        let mut device = XdpDevice::open(&config, Some(netns), None)?;
        let pool = Pool::new(pool);
        let numbers = 0..device.queues();
        let queues =
            numbers.map(|number| device.open_queue(number, pool.area())).collect::<Result<_, _>>()?;
        let mut port = Self { device, queues, pool, counters: DeviceCounters::default() };
        // The first turn gives the kernel memory to receive into.
        assert_eq!(port.receive().unwrap(), Vec::<Received>::new());
        Ok(port)
    }

    /// One turn of every queue.
    fn receive(&mut self) -> Result<Vec<Received>, PortGone> {
        let mut all = vec![];
        for (number, queue) in self.queues.iter_mut().enumerate() {
            let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
            let mut burst = Burst::new();
            let result = queue.rx_burst(&mut io, &mut burst);
            for frame in burst.drain() {
                assert_eq!(frame.checksum(), Checksum::Unknown);
                all.push(Received { queue: number, bytes: frame.bytes().to_vec() });
                io.pool.free(frame);
            }
            result?;
            queue.complete(&mut io)?;
        }
        Ok(all)
    }

    /// The next `count` frames, in order.
    fn await_frames(&mut self, count: usize) -> Vec<Received> {
        let mut all = vec![];
        wait_for(&format!("{count} frames"), || {
            all.extend(self.receive().unwrap());
            (all.len() >= count).then_some(())
        });
        all
    }

    /// Sends on queue `queue`; answers how many frames it did not take.
    fn send(&mut self, queue: usize, frames: &[Vec<u8>]) -> Result<usize, PortGone> {
        let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
        let mut burst = Burst::new();
        for bytes in frames {
            let mut frame = io.pool.alloc(bytes.len()).unwrap();
            assert!(frame.fill(bytes));
            assert!(burst.push(frame).is_ok());
        }
        let result = self.queues[queue].tx_burst(&mut io, &mut burst);
        let left = burst.len();
        burst.drain().for_each(|frame| io.pool.free(frame));
        result.map(|()| left)
    }

    /// Closes every queue and checks that all memory came home.
    fn close(mut self) -> DeviceCounters {
        let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
        self.queues.drain(..).for_each(|queue| Box::new(queue).close(&mut io));
        assert_eq!(self.pool.outstanding(), 0, "every frame came home");
        self.counters
    }
}

#[derive(PartialEq, Eq, Debug)]
struct Received {
    queue: usize,
    bytes: Vec<u8>,
}

/// A frame of `len` bytes that no other number's frame equals.
fn frame(number: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xb5];
    bytes.extend((bytes.len()..len).map(|at| u8::try_from((number * 31 + at * 7) % 251).unwrap()));
    bytes
}

fn far_receive(socket: &PacketSocket) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 17];
    let len = wait_for("a frame at the far end", || socket.receive(&mut buffer).ok());
    buffer.truncate(len);
    buffer
}

/// Frames of every size up to `longest`, both ways.
fn carries_frames(test: &str, mode: XdpMode, mtu: u32, lengths: &[usize]) {
    let Some(rig) = Rig::veth(test, 1, mtu) else { return };
    let mut port = Port::open(&rig, mode);
    let far = rig.far_socket("far0");

    let frames: Vec<_> = lengths.iter().enumerate().map(|(number, &len)| frame(number, len)).collect();
    for bytes in &frames {
        far.send(bytes).unwrap();
        assert_eq!(
            port.await_frames(1),
            [Received { queue: 0, bytes: bytes.clone() }],
            "{} bytes in",
            bytes.len()
        );
    }
    assert_eq!(port.send(0, &frames).unwrap(), 0);
    for bytes in &frames {
        assert!(&far_receive(&far) == bytes, "{} bytes out", bytes.len());
    }
    wait_for("completions", || {
        port.receive().unwrap();
        (port.queues[0].held() == 0).then_some(())
    });
    let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
    assert_eq!(port.counters.sent.volume(), Volume { packets: frames.len() as u64, bytes });
    let lost = port.queues[0].lost_before_us();
    assert!(lost.iter().all(|&(name, count)| count == 0 || name == "rx_fill_ring_empty"), "{lost:?}");
    port.close();
}

#[test]
fn native_mode_carries_frames_byte_for_byte() {
    carries_frames("native mode", XdpMode::Native, 1500, &[14, 60, 61, 1000, 1514]);
}

#[test]
fn generic_mode_carries_frames_byte_for_byte() {
    carries_frames("generic mode", XdpMode::Generic, 1500, &[14, 60, 1514]);
}

#[test]
fn the_largest_frame_that_fits_a_chunk_is_carried() {
    carries_frames("MTU 3506", XdpMode::Auto, 3506, &[60, 3520]);
}

#[test]
fn jumbo_frames_are_carried_in_pieces() {
    carries_frames(
        "jumbo frames",
        XdpMode::Auto,
        9000,
        &[60, 3400, 3520, 3840, 3841, 4096, 7680, 7681, 9014],
    );
}

#[test]
fn the_longest_frames_a_veth_takes_are_carried() {
    carries_frames("MTU 65535", XdpMode::Auto, 65_535, &[60, 32_000, 61_440, 65_549]);
}

#[test]
fn a_frame_too_long_for_the_pool_is_dropped_by_name_and_the_next_one_is_not() {
    let Some(rig) = Rig::veth("too long", 1, 9000) else { return };
    let mut port = Port::try_open(&rig.near, "near0", XdpMode::Auto, PoolConfig::singles(256)).unwrap();
    let far = rig.far_socket("far0");
    for number in 0..200 {
        far.send(&frame(number, 9014)).unwrap();
        far.send(&frame(number, 60)).unwrap();
        assert_eq!(port.await_frames(1), [Received { queue: 0, bytes: frame(number, 60) }]);
    }
    let dropped = port.counters.drops(Direction::Rx, DropReason::Truncated).volume();
    assert_eq!(dropped, Volume { packets: 200, bytes: 200 * 9014 });
    port.close();
}

#[test]
fn a_thousand_frames_each_way_arrive_in_order() {
    let Some(rig) = Rig::veth("a thousand frames", 1, 1500) else { return };
    let mut port = Port::open(&rig, XdpMode::Auto);
    let far = rig.far_socket("far0");
    for group in 0..20 {
        let frames: Vec<_> = (group * 50..group * 50 + 50).map(|number| frame(number, 60 + number)).collect();
        frames.iter().for_each(|bytes| far.send(bytes).unwrap());
        let received: Vec<_> = port.await_frames(50).into_iter().map(|frame| frame.bytes).collect();
        assert_eq!(received, frames);
        assert_eq!(port.send(0, &frames).unwrap(), 0);
        frames.iter().for_each(|bytes| assert_eq!(&far_receive(&far), bytes));
    }
    port.close();
}

#[test]
fn every_queue_receives_and_sends() {
    let Some(rig) = Rig::veth("several queues", 4, 1500) else { return };
    let mut port = Port::open(&rig, XdpMode::Auto);
    assert_eq!(port.queues.len(), 4);
    let far = rig.far_socket("far0");
    for queue in 0..4 {
        assert_eq!(port.send(queue, &[frame(queue, 100)]).unwrap(), 0);
        assert_eq!(far_receive(&far), frame(queue, 100));
    }
    // Which queue a frame comes by is the far end's choice: by the flow, where a flow is to be seen. None may be lost.
    let mut queues = BTreeSet::new();
    for port_number in 0..64 {
        let bytes = udp(port_number);
        far.send(&bytes).unwrap();
        let received = port.await_frames(1).remove(0);
        assert_eq!(received.bytes, bytes);
        queues.insert(received.queue);
    }
    assert!(queues.len() > 1 || std::thread::available_parallelism().unwrap().get() == 1, "{queues:?}");
    port.close();
}

/// A UDP datagram over IPv4 from this port.
fn udp(source: u8) -> Vec<u8> {
    let mut bytes = frame(0, 60);
    let header =
        [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x40, source, 0, 9, 0, 26, 0, 0];
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes[14..42].copy_from_slice(&header);
    bytes
}

#[test]
fn a_tag_that_the_far_end_left_in_metadata_is_seen() {
    let Some(rig) = Rig::new("tag in metadata") else { return };
    // A host's kernel bridge takes the tag of a frame it receives into metadata, and forwards it so.
    rig.add_veth("near0", "", "far0");
    run(&rig.far, "ip link add host0 type veth peer name host1");
    run(&rig.far, "ip link add bridge0 type bridge");
    for device in ["far0", "host1"] {
        run(&rig.far, &format!("ip link set {device} master bridge0"));
    }
    ["far0", "host0", "host1", "bridge0"].iter().for_each(|device| up(&rig.far, device));
    up(&rig.near, "near0");
    let features = run(&rig.far, "ethtool -k far0");
    assert!(features.contains("tx-vlan-offload: on"), "the far end is at its defaults");

    let mut port = Port::open(&rig, XdpMode::Auto);
    assert!(!port.device.may_lose_tags());
    let host = rig.far_socket("host0");
    for (number, tag) in
        [[0x81, 0, 0, 10], [0x81, 0, 0xef, 0xff], [0x88, 0xa8, 0x20, 1]].into_iter().enumerate()
    {
        let mut tagged = frame(number, 100);
        tagged.splice(12..12, tag);
        host.send(&tagged).unwrap();
        assert_eq!(port.await_frames(1), [Received { queue: 0, bytes: tagged }]);
        host.send(&frame(number, 80)).unwrap();
        assert_eq!(
            port.await_frames(1),
            [Received { queue: 0, bytes: frame(number, 80) }],
            "and none is made up"
        );
    }
    port.close();

    let generic = Port::open(&rig, XdpMode::Generic);
    assert!(generic.device.may_lose_tags() && generic.queues[0].capabilities().may_lose_tags);
    generic.close();
}

#[test]
fn the_mode_asked_for_is_the_mode_or_an_error() {
    let Some(rig) = Rig::veth("modes", 1, 1500) else { return };
    for (mode, hook, words) in [
        (XdpMode::Auto, Attach::Native, "native, copy"),
        (XdpMode::Native, Attach::Native, "native, copy"),
        (XdpMode::Copy, Attach::Native, "native, copy"),
        (XdpMode::Generic, Attach::Generic, "generic, copy"),
    ] {
        let port = Port::open(&rig, mode);
        assert_eq!((port.device.hook(), port.queues[0].mode()), (hook, words), "{mode:?}");
        port.close();
    }
    let pool = PoolConfig::singles(64);
    let refused = Port::try_open(&rig.near, "near0", XdpMode::ZeroCopy, pool).err().unwrap();
    assert!(matches!(refused, XdpError::Queue { queue: 0, .. }), "{refused}");
    run(&rig.near, "ip link set lo up");
    let refused = Port::try_open(&rig.near, "lo", XdpMode::Native, pool).err().unwrap();
    assert!(matches!(refused, XdpError::NotNative { .. }), "{refused}");
    let missing = Port::try_open(&rig.near, "nowhere", XdpMode::Auto, pool).err().unwrap();
    assert!(missing.to_string().contains("nowhere"), "{missing}");
}

#[test]
fn a_device_with_a_program_is_taken_until_its_owner_lets_go() {
    let Some(rig) = Rig::veth("taken device", 1, 1500) else { return };
    let port = Port::open(&rig, XdpMode::Auto);
    assert!(has_program(&rig));
    let pool = PoolConfig::singles(64);
    let refused = Port::try_open(&rig.near, "near0", XdpMode::Auto, pool).err().unwrap();
    assert!(matches!(refused, XdpError::Taken { .. }), "{refused}");
    port.close();
    assert!(!has_program(&rig));
    // The queue can be bound again at once, as often as wanted.
    for _ in 0..3 {
        Port::open(&rig, XdpMode::Auto).close();
    }
}

#[test]
fn generic_mode_leaves_the_device_as_it_was() {
    let Some(rig) = Rig::veth("GRO on a veth", 1, 1500) else { return };
    let gro = || Netdev::new("near0", Some(&rig.near)).unwrap().merges_received().unwrap();
    let before = gro();
    let port = Port::open(&rig, XdpMode::Generic);
    assert!(gro(), "a veth receives what XDP sends only with NAPI");
    port.close();
    assert_eq!(gro(), before);
}

#[test]
fn a_deleted_device_is_reported_gone_and_all_frames_come_home() {
    let Some(rig) = Rig::veth("deleted device", 1, 1500) else { return };
    for idle in [true, false] {
        let mut port = Port::open(&rig, XdpMode::Auto);
        run(&rig.near, "ip link del near0");
        let gone = |port: &mut Port| {
            if idle { port.receive().is_err() } else { port.send(0, &[frame(0, 60)]).is_err() }
        };
        wait_for("the device to be gone", || (0..64).any(|_| gone(&mut port)).then_some(()));
        let held = port.queues[0].held() as u64;
        let counters = port.close();
        assert_eq!(counters.drops(Direction::Tx, DropReason::PortGone).volume().packets, held);
        rig.add_veth("near0", "", "far0");
        up(&rig.near, "near0");
        up(&rig.far, "far0");
    }
}

#[test]
fn a_deleted_device_is_found_gone_by_a_worker_that_mostly_sleeps() {
    let Some(rig) = Rig::veth("deleted device, asleep", 1, 1500) else { return };
    let mut port = Port::open(&rig, XdpMode::Auto);
    run(&rig.near, "ip link del near0");
    let mut io = PortIo::new(&mut port.pool, &port.counters, Now { unix_ns: 1_000_000_000 });
    assert!(port.queues[0].rx_burst(&mut io, &mut Burst::new()).is_err(), "at the first call a second later");
    port.close();
}

#[test]
fn a_device_that_is_down_drops_by_that_name_and_works_again_when_up() {
    let Some(rig) = Rig::veth("device down", 1, 1500) else { return };
    let mut port = Port::open(&rig, XdpMode::Auto);
    run(&rig.near, "ip link set near0 down");
    assert_eq!(port.send(0, &[frame(0, 60)]).unwrap(), 0);
    assert_eq!(port.send(0, &[frame(1, 60)]).unwrap(), 0);
    assert_eq!(port.counters.drops(Direction::Tx, DropReason::PortDown).volume().packets, 1);
    run(&rig.near, "ip link set near0 up");
    let far = rig.far_socket("far0");
    wait_for("a frame to pass", || {
        assert_eq!(port.send(0, &[frame(2, 60)]).unwrap(), 0);
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| far.receive(&mut buffer).ok()).last().map(drop)
    });
    port.close();
}

#[test]
fn a_full_transmit_ring_refuses_and_recovers() {
    let Some(rig) = Rig::veth("full ring", 1, 1500) else { return };
    // Without a carrier the kernel accepts one frame a call and drops it, so the ring fills up.
    run(&rig.far, "ip link set far0 down");
    let mut port = Port::open(&rig, XdpMode::Auto);
    let burst: Vec<_> = (0..64).map(|number| frame(number, 60)).collect();
    wait_for("the ring to be full", || (port.send(0, &burst).unwrap() > 0).then_some(()));
    assert!(port.queues[0].held() > 0);
    up(&rig.far, "far0");
    wait_for("the ring to drain", || {
        port.receive().unwrap();
        (port.queues[0].held() == 0).then_some(())
    });
    port.close();
}

fn has_program(rig: &Rig) -> bool {
    run(&rig.near, "ip link show near0").contains("xdp")
}

#[test]
fn kill_9_leaves_no_program_behind() {
    const CHILD: &str = "RIGSWITCH_TEST_XDP_CHILD";
    if let Ok(path) = std::env::var(CHILD) {
        // We are the child: hold the port until killed.
        let netns = Netns::from(OwnedFd::from(File::open(path).unwrap()));
        let _port = Port::try_open(&netns, "near0", XdpMode::Auto, PoolConfig::singles(64)).unwrap();
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let Some(rig) = Rig::veth("kill -9", 1, 1500) else { return };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_9_leaves_no_program_behind", "--nocapture"])
        .env(CHILD, veth::path(&rig.near))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the child's program", || has_program(&rig).then_some(()));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    wait_for("the program to go", || (!has_program(&rig)).then_some(()));
    Port::open(&rig, XdpMode::Auto).close();
}
