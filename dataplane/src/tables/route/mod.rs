//! Routes: the next hop of the longest prefix that an address begins with, for IPv4 and IPv6. Compiled by control, read by
//! workers, never changed. `notes/routes.md` says why it is made as it is.

mod compile;
mod prefix;
mod table;
#[cfg(test)]
mod tests;

pub use prefix::{Address, BadPrefix, Prefix};
pub use table::{Place, Routes};
