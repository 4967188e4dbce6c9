//! What workers consult and do not own: the MAC table, and the snapshots that control compiles.

pub mod mac;
pub mod published;
