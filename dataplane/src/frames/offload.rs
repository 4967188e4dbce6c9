//! What is still to be done to a frame's checksums and size: the state that travels with it.

pub use crate::wire::segment::Kind as GsoKind;

/// How a frame's transport checksum stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// As it must be on the wire, or not our business.
    Complete,
    /// The port cannot tell: an offloading sender may have left any of the frame's checksums partial.
    Unknown,
    /// To be completed: sum from `start` to the end of the frame, store the complement at `start + offset`
    /// (virtio 1.2 §5.1.6.2, `VIRTIO_NET_HDR_F_NEEDS_CSUM`). Bytes from the start of the frame.
    Partial {
        /// First byte summed.
        start: u16,
        /// Where the checksum lies, from `start`.
        offset: u16,
    },
}

/// A super-frame: one frame standing for many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// How to cut it.
    pub kind: GsoKind,
    /// Payload bytes in each segment but the last, never zero.
    pub size: u16,
    /// Whether the sender sets CWR on the first segment only (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
}

/// Both, packed into eight bytes.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    start: u16,
    offset: u16,
    gso_size: u16,
    todo: Todo,
}

/// What is to be done, in one aligned half-word, so that "nothing" is one comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(2))]
struct Todo {
    checksum: u8, // 0 complete, 1 unknown, 2 partial
    gso_kind: u8, // 0 none, 1 tcp4, 2 tcp6, 3 udp; 0x80 ecn
}

const ECN: u8 = 0x80;
const NOTHING: Todo = Todo { checksum: 0, gso_kind: 0 };
const ONLY_UNKNOWN: Todo = Todo { checksum: 1, gso_kind: 0 };

impl Packed {
    pub(super) const NONE: Self = Self { start: 0, offset: 0, gso_size: 0, todo: NOTHING };
    pub(super) const UNKNOWN: Self = Self { todo: ONLY_UNKNOWN, ..Self::NONE };

    #[inline]
    pub(super) fn checksum(&self) -> Checksum {
        match self.todo.checksum {
            0 => Checksum::Complete,
            1 => Checksum::Unknown,
            _ => Checksum::Partial { start: self.start, offset: self.offset },
        }
    }

    #[inline]
    pub(super) fn set_checksum(&mut self, checksum: Checksum) {
        (self.todo.checksum, self.start, self.offset) = match checksum {
            Checksum::Complete => (0, 0, 0),
            Checksum::Unknown => (1, 0, 0),
            Checksum::Partial { start, offset } => (2, start, offset),
        };
    }

    pub(super) fn gso(&self) -> Option<Gso> {
        let kind = match self.todo.gso_kind & !ECN {
            0 => return None,
            1 => GsoKind::TcpV4,
            2 => GsoKind::TcpV6,
            _ => GsoKind::UdpL4,
        };
        Some(Gso { kind, size: self.gso_size, ecn: self.todo.gso_kind & ECN != 0 })
    }

    pub(super) fn set_gso(&mut self, gso: Option<Gso>) {
        (self.todo.gso_kind, self.gso_size) = gso.map_or((0, 0), |gso| {
            let kind = match gso.kind {
                GsoKind::TcpV4 => 1,
                GsoKind::TcpV6 => 2,
                GsoKind::UdpL4 => 3,
            };
            (kind | if gso.ecn { ECN } else { 0 }, gso.size)
        });
    }

    /// As one word, for a ring between workers.
    pub(super) fn to_word(self) -> u64 {
        let [a, b] = self.start.to_le_bytes();
        let [c, d] = self.offset.to_le_bytes();
        let [e, f] = self.gso_size.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, self.todo.checksum, self.todo.gso_kind])
    }

    /// What [`Packed::to_word`] made a word of.
    pub(super) fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, checksum, gso_kind] = word.to_le_bytes();
        let half = |low, high| u16::from_le_bytes([low, high]);
        Self {
            start: half(a, b),
            offset: half(c, d),
            gso_size: half(e, f),
            todo: Todo { checksum, gso_kind },
        }
    }

    /// Whether all that is to be done is to find out about the checksum.
    #[inline]
    pub(super) fn is_unknown(&self) -> bool {
        self.todo == ONLY_UNKNOWN
    }

    /// Whether nothing is left to do.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.todo == NOTHING
    }

    /// Keeps `start` pointing at the same byte when the frame's first byte moves by `by` (back is positive).
    pub(super) fn shift(&mut self, by: i32) {
        if self.todo.checksum == 2 {
            match u16::try_from(i32::from(self.start) + by) {
                Ok(start) => self.start = start,
                Err(_) => *self = Self::NONE,
            }
        }
    }
}
