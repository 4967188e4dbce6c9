//! How many addresses each domain has learned, exactly, and how many it may. Domains may share a count: those of the VLANs of
//! a bridge do.

use crate::ids::DomainId;
use crate::sync::{AtomicU32, Ordering::Relaxed};

/// A count and a limit for every domain up to some number; those beyond are neither counted nor bounded.
///
/// What is counted are slots: one from the moment it is claimed, as long as it may hold a learned entry. So the count of
/// a domain is never below the number of its learned entries, and equal to it when no worker is learning.
#[derive(Debug, Default)]
pub(super) struct Quotas(Box<[Quota]>);

#[derive(Debug, Default)]
struct Quota {
    of: AtomicU32, // the domain whose count it is, zero: its own; control writes
    learned: AtomicU32,
    limit: AtomicU32, // zero: none; control writes
}

impl Quotas {
    pub(super) fn new(domains: u16) -> Self {
        Self((0..domains).map(|_| Quota::default()).collect())
    }

    /// The same counts and limits once more.
    pub(super) fn copy(&self) -> Self {
        let copy = |of: &AtomicU32| AtomicU32::new(of.load(Relaxed));
        let quota =
            |one: &Quota| Quota { of: copy(&one.of), learned: copy(&one.learned), limit: copy(&one.limit) };
        Self(self.0.iter().map(quota).collect())
    }

    fn of(&self, domain: DomainId) -> Option<&Quota> {
        let own = self.0.get(usize::from(domain.number()) - 1)?;
        match own.of.load(Relaxed) {
            0 => Some(own),
            other => self.0.get(other as usize - 1),
        }
    }

    /// Has `domain`, of which nothing is learned, count with `other`, which counts for itself.
    pub(super) fn share(&self, domain: DomainId, other: DomainId) {
        if let Some(quota) = self.0.get(usize::from(domain.number()) - 1) {
            quota.of.store(if domain == other { 0 } else { other.number().into() }, Relaxed);
        }
    }

    /// Counts one more; false if the domain has as many as it may.
    pub(super) fn reserve(&self, domain: DomainId) -> bool {
        let Some(quota) = self.of(domain) else { return true };
        let limit = quota.limit.load(Relaxed);
        let more = |learned| (limit == 0 || learned < limit).then_some(learned + 1);
        quota.learned.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// The same, whatever the limit.
    pub(super) fn add(&self, domain: DomainId) {
        if let Some(quota) = self.of(domain) {
            quota.learned.fetch_add(1, Relaxed);
        }
    }

    /// Counts one less.
    pub(super) fn release(&self, domain: DomainId) {
        if let Some(quota) = self.of(domain) {
            quota.learned.fetch_sub(1, Relaxed);
        }
    }

    pub(super) fn learned(&self, domain: DomainId) -> u32 {
        self.of(domain).map_or(0, |quota| quota.learned.load(Relaxed))
    }

    pub(super) fn set_limit(&self, domain: DomainId, limit: u32) {
        if let Some(quota) = self.of(domain) {
            quota.limit.store(limit, Relaxed);
        }
    }
}
