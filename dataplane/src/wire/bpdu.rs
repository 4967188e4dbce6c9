//! Bridge protocol data units of the spanning tree (IEEE 802.1D-2004 §9), behind the LLC header that carries them.

use std::time::Duration;

use super::ethernet::{self, EtherType, Ethernet};
use super::{Malformed, u16_at};
use crate::ids::MacAddr;

/// Where they are sent: the bridge group address (IEEE 802.1D-2004 table 7-9).
pub const GROUP: MacAddr = MacAddr::from_bits(0x0180_c200_0000);

/// Bytes of the longest frame that [`emit`] writes, FCS and padding left out.
pub const LONGEST: usize = ethernet::HEADER_LEN + LLC.len() + CONFIG_LEN;

/// The LLC header: the bridge spanning tree protocol's SAP, both ways, unnumbered information (§7.12.3).
const LLC: [u8; 3] = [0x42, 0x42, 0x03];

/// Protocol identifier and version of the spanning tree protocol (§9.3.1).
const SPANNING_TREE: [u8; 3] = [0, 0, 0];
const CONFIG: u8 = 0x00;
const TOPOLOGY_CHANGE: u8 = 0x80;
const CONFIG_LEN: usize = 35;
const FLAG_CHANGE: u8 = 0x01;
const FLAG_ACKNOWLEDGE: u8 = 0x80;

/// Who a bridge is: its priority in the upper 16 bits, its address below; the lower is the better (§9.2.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BridgeId(u64);

impl BridgeId {
    /// The bridge of this priority and address.
    pub const fn new(priority: u16, address: MacAddr) -> Self {
        Self(((priority as u64) << 48) | address.bits())
    }

    /// Priority, 0 to 65,535.
    pub const fn priority(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The bridge's address.
    pub const fn address(self) -> MacAddr {
        MacAddr::from_bits(self.0)
    }
}

/// Which port of a bridge: its priority in the upper 6 bits and its number below, as the kernel divides them; the lower
/// is the better (§9.2.7 has 4 and 12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PortId(pub u16);

impl PortId {
    /// The highest port number, and priority, that there is room for.
    pub const MAX_NUMBER: u16 = 1023;
    /// See [`PortId::MAX_NUMBER`].
    pub const MAX_PRIORITY: u8 = 63;

    /// The port of this priority, 0 to 63, and this number, 1 to 1023; what is beyond is cut off.
    pub const fn new(priority: u8, number: u16) -> Self {
        Self(((priority as u16) << 10) | (number & Self::MAX_NUMBER))
    }

    /// The port's number.
    pub const fn number(self) -> u16 {
        self.0 & Self::MAX_NUMBER
    }
}

/// A time, in 1/256 s (§9.2.8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(pub u16);

impl Time {
    /// Nanoseconds in a unit.
    const UNIT: u64 = 1_000_000_000 / 256;

    /// The whole units in `duration`, as far as there is room.
    pub fn from_duration(duration: Duration) -> Self {
        Self(u16::try_from(duration.as_nanos() / u128::from(Self::UNIT)).unwrap_or(u16::MAX))
    }

    /// As a span of time.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0 as u64 * Self::UNIT)
    }
}

/// A configuration message (§9.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigBpdu {
    /// The topology is changing: addresses are to be forgotten soon.
    pub topology_change: bool,
    /// A notification of a change has come up to the sender.
    pub topology_change_ack: bool,
    /// Who the sender takes for the root.
    pub root: BridgeId,
    /// What the way from the sender to the root costs.
    pub root_path_cost: u32,
    /// The sender.
    pub bridge: BridgeId,
    /// The port it was sent by.
    pub port: PortId,
    /// How old what the root said is.
    pub message_age: Time,
    /// How old it may become.
    pub max_age: Time,
    /// How often the root says it.
    pub hello_time: Time,
    /// How long a port listens, and learns, before it forwards.
    pub forward_delay: Time,
}

/// What bridges tell one another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bpdu {
    /// The sender's view of the tree.
    Config(ConfigBpdu),
    /// The topology below the sender has changed (§9.3.2).
    TopologyChange,
}

impl Bpdu {
    /// The BPDU in the whole frame `frame`. As the kernel's, a spanning tree bridge hears version 0 only.
    ///
    /// # Errors
    /// [`Malformed::Ethernet`], or [`Malformed::Bpdu`] if the length, the LLC header or the BPDU behind it is not right, or
    /// the message is older than it may be.
    pub fn view(frame: &[u8]) -> Result<Self, Malformed> {
        let ethernet = Ethernet::view(frame)?;
        let pdu = ethernet.payload().get(..usize::from(ethernet.ether_type().0)).ok_or(Malformed::Bpdu)?;
        let pdu = pdu.strip_prefix(&LLC).and_then(|pdu| pdu.strip_prefix(&SPANNING_TREE));
        match pdu.ok_or(Malformed::Bpdu)? {
            [TOPOLOGY_CHANGE, ..] => Ok(Self::TopologyChange),
            [CONFIG, config @ ..] => {
                let config = parse_config(config).filter(|config| config.message_age <= config.max_age);
                config.map(Self::Config).ok_or(Malformed::Bpdu)
            }
            _ => Err(Malformed::Bpdu),
        }
    }
}

/// What follows the type.
fn parse_config(bytes: &[u8]) -> Option<ConfigBpdu> {
    let (&flags, rest) = bytes.split_first()?;
    let (root, rest) = rest.split_first_chunk()?;
    let (cost, rest) = rest.split_first_chunk()?;
    let (bridge, rest) = rest.split_first_chunk()?;
    let time = |offset| u16_at(rest, offset).map(Time);
    Some(ConfigBpdu {
        topology_change: flags & FLAG_CHANGE != 0,
        topology_change_ack: flags & FLAG_ACKNOWLEDGE != 0,
        root: BridgeId(u64::from_be_bytes(*root)),
        root_path_cost: u32::from_be_bytes(*cost),
        bridge: BridgeId(u64::from_be_bytes(*bridge)),
        port: PortId(u16_at(rest, 0)?),
        message_age: time(2)?,
        max_age: time(4)?,
        hello_time: time(6)?,
        forward_delay: time(8)?,
    })
}

/// Writes the frame that carries `bpdu` from the port of address `source`, and says how long it is.
pub fn emit(frame: &mut [u8; LONGEST], source: MacAddr, bpdu: &Bpdu) -> usize {
    let mut config = [0; CONFIG_LEN];
    let pdu_len = match bpdu {
        Bpdu::TopologyChange => {
            config[3] = TOPOLOGY_CHANGE;
            4
        }
        Bpdu::Config(said) => {
            emit_config(&mut config, said);
            CONFIG_LEN
        }
    };
    let (header, rest) = frame.split_first_chunk_mut().expect("there is room for a header");
    let length = u16::try_from(LLC.len() + pdu_len).unwrap_or(u16::MAX);
    ethernet::emit(header, GROUP, source, EtherType(length));
    let (llc, pdu) = rest.split_at_mut(LLC.len());
    llc.copy_from_slice(&LLC);
    pdu.copy_from_slice(&config);
    ethernet::HEADER_LEN + LLC.len() + pdu_len
}

fn emit_config(bytes: &mut [u8; CONFIG_LEN], said: &ConfigBpdu) {
    let flag = |set, flag| if set { flag } else { 0 };
    bytes[3] = CONFIG;
    bytes[4] = flag(said.topology_change, FLAG_CHANGE) | flag(said.topology_change_ack, FLAG_ACKNOWLEDGE);
    bytes[5..13].copy_from_slice(&said.root.0.to_be_bytes());
    bytes[13..17].copy_from_slice(&said.root_path_cost.to_be_bytes());
    bytes[17..25].copy_from_slice(&said.bridge.0.to_be_bytes());
    bytes[25..27].copy_from_slice(&said.port.0.to_be_bytes());
    let times = [said.message_age, said.max_age, said.hello_time, said.forward_delay];
    for (field, time) in bytes[27..].chunks_exact_mut(2).zip(times) {
        field.copy_from_slice(&time.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    /// What a kernel's bridge sent, two hops from the root: `tcpdump -xx`.
    const FROM_A_KERNEL: [u8; 52] = [
        0x01, 0x80, 0xc2, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x0a, 0x03, 0x00, 0x26, 0x42, 0x42, 0x03,
        0x00, 0x00, 0x00, 0x00, 0x01, 0x80, 0x00, 0x02, 0x00, 0x00, 0x00, 0x0a, 0x01, 0x00, 0x00, 0x00, 0x02,
        0x80, 0x00, 0x02, 0x00, 0x00, 0x00, 0x0a, 0x02, 0x80, 0x02, 0x00, 0xfe, 0x07, 0x00, 0x01, 0x00, 0x02,
        0x00,
    ];

    fn bpdu() -> impl Strategy<Value = Bpdu> {
        let config = any::<([bool; 2], [u64; 2], u32, u16, [u16; 4])>().prop_map(
            |(flags, [root, bridge], root_path_cost, port, times)| {
                let [mut message_age, mut max_age, hello_time, forward_delay] = times.map(Time);
                if message_age > max_age {
                    std::mem::swap(&mut message_age, &mut max_age);
                }
                Bpdu::Config(ConfigBpdu {
                    topology_change: flags[0],
                    topology_change_ack: flags[1],
                    root: BridgeId(root),
                    root_path_cost,
                    bridge: BridgeId(bridge),
                    port: PortId(port),
                    message_age,
                    max_age,
                    hello_time,
                    forward_delay,
                })
            },
        );
        prop_oneof![1 => Just(Bpdu::TopologyChange), 9 => config]
    }

    #[test]
    fn what_a_kernel_sends_is_read() {
        let Ok(Bpdu::Config(config)) = Bpdu::view(&FROM_A_KERNEL) else { panic!("a configuration message") };
        assert_eq!((config.topology_change, config.topology_change_ack), (true, false));
        assert_eq!(config.root, BridgeId::new(0x8000, "02:00:00:00:0a:01".parse().unwrap()));
        assert_eq!(config.bridge, BridgeId::new(0x8000, "02:00:00:00:0a:02".parse().unwrap()));
        assert_eq!((config.root_path_cost, config.port), (2, PortId::new(32, 2)));
        assert_eq!((config.message_age, config.max_age), (Time(254), Time(7 * 256)));
        assert_eq!((config.hello_time, config.forward_delay), (Time(256), Time(2 * 256)));
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn what_is_written_reads_back(said in bpdu(), source: [u8; 6], padding in 0..20usize) {
            let mut frame = [0; LONGEST];
            let length = emit(&mut frame, MacAddr::new(source), &said);
            let padded = [&frame[..length], &vec![0xaa; padding]].concat();
            prop_assert_eq!(Bpdu::view(&padded), Ok(said));
            for cut in 0..length {
                prop_assert!(Bpdu::view(&frame[..cut]).is_err());
            }
            let ethernet = Ethernet::view(&frame).unwrap();
            prop_assert_eq!((ethernet.destination(), ethernet.source().octets()), (GROUP, source));
        }

        #[test]
        fn times_round_trip(units: u16) {
            prop_assert_eq!(Time::from_duration(Time(units).duration()), Time(units));
        }

        #[test]
        fn noise_is_refused_or_read(
            said in bpdu(),
            flips in prop::collection::vec((0..LONGEST, any::<u8>()), 0..4),
            length in 0..LONGEST,
        ) {
            let mut frame = [0; LONGEST];
            emit(&mut frame, MacAddr::ZERO, &said);
            flips.into_iter().for_each(|(at, byte)| frame[at] = byte);
            if let Ok(Bpdu::Config(config)) = Bpdu::view(&frame[..length]) {
                prop_assert!(config.message_age <= config.max_age);
            }
        }
    }
}
