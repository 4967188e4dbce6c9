//! pcapng: the four kinds of block that a capture is made of, written; and any block, told from the next.
//!
//! The format is that of draft-ietf-opsawg-pcapng. The pcap-file crate, which reads captures for ports, writes the words of
//! a statistics block's time in the wrong order on little-endian machines, and allocates a list for each packet's options.

/// How a packet crossed its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crossing {
    Inbound,
    Outbound,
}

/// A packet as it is written.
pub(crate) struct Packet<'a> {
    /// The number of its interface: the first of the section is 0.
    pub(crate) interface: u32,
    /// Nanoseconds since 1970.
    pub(crate) unix_ns: u64,
    pub(crate) crossing: Crossing,
    /// How long it was.
    pub(crate) length: u32,
    /// What was kept of it.
    pub(crate) bytes: &'a [u8],
    /// What is to be said of it, each on its own.
    pub(crate) comments: [Option<&'a str>; 2],
}

/// What an interface has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) received: u64,
    /// Those of them that the capture had no room for.
    pub(crate) missed: u64,
}

pub(crate) const SECTION: u32 = 0x0a0d_0d0a;
pub(crate) const INTERFACE: u32 = 1;
pub(crate) const STATISTICS: u32 = 5;
pub(crate) const PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;
const NANOSECONDS: u8 = 9;

const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4; // shb_userappl
const NAME: u16 = 2; // if_name
const DESCRIPTION: u16 = 3; // if_description
const RESOLUTION: u16 = 9; // if_tsresol
const FLAGS: u16 = 2; // epb_flags
const RECEIVED: u16 = 4; // isb_ifrecv
const DROPPED: u16 = 5; // isb_ifdrop

/// Writes the header of a section, which comes first.
pub(crate) fn section(out: &mut Vec<u8>) {
    block(out, SECTION, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend([1, 0, 0, 0]); // version 1.0
        out.extend(u64::MAX.to_le_bytes()); // of a length that is not known yet
        option(out, USER_APPLICATION, concat!("rigswitch ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_of_options(out);
    });
}

/// Writes what an interface is, before its first packet.
pub(crate) fn interface(out: &mut Vec<u8>, name: &str, description: &str, snaplen: u32) {
    block(out, INTERFACE, |out| {
        out.extend(ETHERNET.to_le_bytes());
        out.extend([0; 2]);
        out.extend(snaplen.to_le_bytes());
        option(out, NAME, name.as_bytes());
        option(out, DESCRIPTION, description.as_bytes());
        option(out, RESOLUTION, &[NANOSECONDS]);
        end_of_options(out);
    });
}

/// Writes a packet.
pub(crate) fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    block(out, PACKET, |out| {
        out.extend(packet.interface.to_le_bytes());
        time(out, packet.unix_ns);
        out.extend(length(packet.bytes.len()));
        out.extend(packet.length.to_le_bytes());
        padded(out, packet.bytes);
        let direction: u32 = match packet.crossing {
            Crossing::Inbound => 1,
            Crossing::Outbound => 2,
        };
        option(out, FLAGS, &direction.to_le_bytes());
        for comment in packet.comments.into_iter().flatten() {
            option(out, COMMENT, comment.as_bytes());
        }
        end_of_options(out);
    });
}

/// Writes what an interface has seen by now.
pub(crate) fn statistics(out: &mut Vec<u8>, interface: u32, unix_ns: u64, statistics: Statistics) {
    block(out, STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        time(out, unix_ns);
        option(out, RECEIVED, &statistics.received.to_le_bytes());
        option(out, DROPPED, &statistics.missed.to_le_bytes());
        end_of_options(out);
    });
}

/// Kind and length, what `body` writes, and the length again.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let total = length(out.len() - start + 4);
    out[start + 4..start + 8].copy_from_slice(&total);
    out.extend(total);
}

/// The high half first, each half as the machine has it.
fn time(out: &mut Vec<u8>, unix_ns: u64) {
    let [low, high] = halves(unix_ns);
    out.extend(high);
    out.extend(low);
}

fn halves(number: u64) -> [[u8; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [[a, b, c, d], [e, f, g, h]]
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    let [low, high, ..] = length(value.len());
    out.extend([low, high]);
    padded(out, value);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0); // every block starts at a multiple of 4
}

/// Nothing that is written is longer than a frame, its names and its comment.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

/// One block as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) kind: u32,
    /// All of it, with its head and its tail.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block that `bytes` starts with: `None` if it is not all there, `Err` if there is none.
    pub(crate) fn first(bytes: &'a [u8]) -> Result<Option<Self>, NoBlock> {
        const LONGEST: u32 = 1 << 20;
        let (Some(kind), Some(length)) = (word(bytes, 0), word(bytes, 4)) else { return Ok(None) };
        if !(12..=LONGEST).contains(&length) || !length.is_multiple_of(4) {
            return Err(NoBlock);
        }
        let length = usize::try_from(length).map_err(|_| NoBlock)?;
        Ok(bytes.get(..length).map(|bytes| Self { kind, bytes }))
    }

    /// The interface that a packet or statistics are of.
    pub(crate) fn interface(&self) -> Option<u32> {
        word(self.bytes, 8)
    }

    /// The name in the description of an interface.
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.options(16).find(|(code, _)| *code == NAME);
        name.map(|(_, name)| String::from_utf8_lossy(name).into_owned())
    }

    /// What is in a block of statistics.
    pub(crate) fn statistics(&self) -> Statistics {
        let number = |wanted| {
            let value = self.options(20).find(|(code, _)| *code == wanted).map(|(_, value)| value);
            value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        Statistics { received: number(RECEIVED), missed: number(DROPPED) }
    }

    /// The options behind the first `fixed` bytes.
    fn options(&self, fixed: usize) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.bytes.get(fixed..self.bytes.len() - 4).unwrap_or_default();
        std::iter::from_fn(move || {
            let head: [u8; 4] = rest.get(..4)?.try_into().ok()?;
            let code = u16::from_le_bytes([head[0], head[1]]);
            let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
            let value = rest.get(4..4 + length)?;
            rest = rest.get(4 + length.next_multiple_of(4)..)?;
            Some((code, value)).filter(|(code, _)| *code != 0)
        })
    }
}

/// Where a block should start there is something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoBlock;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart_and_say_what_was_written() {
        let mut all = Vec::new();
        section(&mut all);
        interface(&mut all, "p0 rx", "what p0 received", 100);
        let mut frame = Packet {
            interface: 0,
            unix_ns: 1_234_567_890_123_456_789,
            crossing: Crossing::Inbound,
            length: 61,
            bytes: &[7; 61],
            comments: [None; 2],
        };
        packet(&mut all, &frame);
        frame.comments = [Some("isolated"), Some("checksum partial")];
        packet(&mut all, &frame);
        let seen = Statistics { received: 7, missed: 1 << 40 };
        statistics(&mut all, 0, 5, seen);

        let mut blocks = Vec::new();
        let mut rest = &all[..];
        while let Some(block) = Block::first(rest).unwrap() {
            assert_eq!(Block::first(&rest[..block.bytes.len() - 1]), Ok(None));
            rest = &rest[block.bytes.len()..];
            blocks.push(block);
        }
        let kinds: Vec<_> = blocks.iter().map(|block| block.kind).collect();
        assert_eq!((kinds, rest.len()), (vec![SECTION, INTERFACE, PACKET, PACKET, STATISTICS], 0));
        assert_eq!(blocks[1].name().as_deref(), Some("p0 rx"));
        assert_eq!((blocks[3].interface(), blocks[4].interface()), (Some(0), Some(0)));
        assert_eq!(blocks[4].statistics(), seen);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for length in [0u32, 8, 13, u32::MAX - 3] {
            assert_eq!(Block::first(&[[6, 0, 0, 0], length.to_le_bytes()].concat()), Err(NoBlock));
        }
    }
}
