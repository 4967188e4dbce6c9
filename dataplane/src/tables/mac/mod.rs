//! The MAC table: where each station of each domain was seen last. Workers learn and look up without locks, in
//! [`MacTable`]; control keeps static entries, ageing and removal, in [`MacControl`]. `notes/mac-table.md` says why.

mod bucket;
mod control;
mod entry;
#[cfg(all(test, loom))]
mod models;
mod quota;
mod storage;
mod table;
#[cfg(all(test, not(loom)))]
mod tests;

pub use bucket::Bucket;
pub use control::{MacControl, TableFull};
pub use entry::{Egress, Entry, Flags, Key, Peer, Tick};
pub use storage::{BadStorage, Buckets};
pub use table::{Learned, MacTable, Spot};
