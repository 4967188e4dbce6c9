//! What sets a member of a bridge apart from a plain one, compiled: what the kernel has as port flags and port state, and
//! those knobs of the bridge that bear on what a port receives.

/// What a port may do: the kernel's `BR_STATE_*` (IEEE 802.1Q §8.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum PortState {
    /// Nothing. Also that of a port without carrier.
    Disabled,
    /// Nothing yet: spanning tree is finding out.
    Listening,
    /// Learn, and not forward.
    Learning,
    /// All.
    #[default]
    Forwarding,
    /// Nothing: it would close a loop.
    Blocking,
}

impl PortState {
    /// Every state, in the order of the kernel's numbers.
    pub const ALL: [Self; 5] =
        [Self::Disabled, Self::Listening, Self::Learning, Self::Forwarding, Self::Blocking];

    /// The kernel's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        }
    }

    /// Whether a port in this state learns (`nbp_state_should_learn`).
    pub fn learns(self) -> bool {
        matches!(self, Self::Learning | Self::Forwarding)
    }
}

/// The knobs of one member. Those of flooding are not here: they are compiled into the lists of the
/// [`Domain`](super::Domain).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knobs {
    /// What it may do.
    pub state: PortState,
    /// Whether it learns who is behind it.
    pub learning: bool,
    /// Whether it does so from frames that end here too, which only the reserved addresses do.
    pub linklocal_learn: bool,
    /// Whether a frame may leave by the port that it came from.
    pub hairpin: bool,
    /// Whether it is kept from the other isolated ones.
    pub isolated: bool,
    /// Whether only those may send through it of whom an entry says that they are behind it.
    pub locked: bool,
    /// Whether others that send through it are noted all the same, in locked entries.
    pub mab: bool,
    /// Whether it is spared questions about neighbours that the bridge can answer.
    pub neigh_suppress: bool,
    /// Whether the bridge answers such questions that come from it: another member is spared them.
    pub answers: bool,
    /// The reserved addresses that pass: bit X stands for 01:80:C2:00:00:0X.
    pub passes: u16,
    /// Those of the others that go to control instead of ending here.
    pub punts: u16,
}

impl Knobs {
    /// A plain member's: the kernel's defaults. Without spanning tree, BPDUs pass like any other group.
    pub const PLAIN: Self = Self {
        state: PortState::Forwarding,
        learning: true,
        linklocal_learn: true,
        hairpin: false,
        isolated: false,
        locked: false,
        mab: false,
        neigh_suppress: false,
        answers: false,
        passes: 1,
        punts: 0,
    };
}

impl Default for Knobs {
    fn default() -> Self {
        Self::PLAIN
    }
}
