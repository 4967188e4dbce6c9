//! What a bridge does about stations that move too often, as duplicate addresses and loops make them.

use std::time::Duration;

/// The keys `mac_move_*` of a `[[bridge]]`. As many moves within so long are too many (RFC 7432 §15.1, whose numbers they have).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacMoves {
    /// Moves of one address within the window that are too many; zero: there is no such number.
    pub limit: u32,
    /// The window, from the first of them on.
    pub window: Duration,
    /// What is done then.
    pub action: MacMoveAction,
    /// How long it lasts.
    pub time: Duration,
}

impl Default for MacMoves {
    fn default() -> Self {
        let (window, time) = (Duration::from_secs(180), Duration::from_secs(180));
        Self { limit: 0, window, action: MacMoveAction::Alarm, time }
    }
}

/// What is done when an address has moved too often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MacMoveAction {
    /// It is told.
    Alarm,
    /// The address stays where it was: its frames are forwarded wherever they come from, and teach nothing.
    Hold,
    /// The port that it moved to is disabled.
    Disable,
}

impl MacMoveAction {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Alarm, Self::Hold, Self::Disable];

    /// The file's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Hold => "hold",
            Self::Disable => "disable",
        }
    }
}
