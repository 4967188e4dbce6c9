//! How many addresses each domain has learned, exactly, and how many it may.

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
        Self(
            self.0.iter().map(|one| Quota { learned: copy(&one.learned), limit: copy(&one.limit) }).collect(),
        )
    }

    fn of(&self, domain: DomainId) -> Option<&Quota> {
        self.0.get(usize::from(domain.number()) - 1)
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
