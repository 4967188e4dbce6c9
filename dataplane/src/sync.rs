//! std's synchronisation primitives, or loom's when its models run; shared memory is imported from here only.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p rigswitch-dataplane --lib --release loom` runs the models: every
//! interleaving of a few threads that the memory model allows.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
