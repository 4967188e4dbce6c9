//! Who is connected, and who has to go when there are as many as there may be.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Connections at a time.
const CONNECTIONS: usize = 64;

/// Everybody who is connected.
#[derive(Default)]
pub(super) struct Guests(RefCell<Vec<(Rc<Guest>, AbortHandle)>>);

/// One who is.
pub(super) struct Guest {
    /// The user at the other end.
    pub(super) uid: Option<u32>,
    /// Whether anything was asked and answered yet.
    answered: Cell<bool>,
    /// Whether it is sent events, for as long as it likes.
    pub(super) listens: Cell<bool>,
    /// When it came, or was last sent something.
    last: Cell<Instant>,
}

impl Guests {
    /// Makes room for one more: of the user who has the most connections, one goes that has asked nothing yet, or else the
    /// one that was silent longest. So nobody is locked out by somebody else, nor by what he has left hanging himself.
    pub(super) fn make_room(&self) {
        let mut guests = self.0.borrow_mut();
        guests.retain(|(_, task)| !task.is_finished());
        if guests.len() < CONNECTIONS {
            return;
        }
        let share = |guest: &Guest| guests.iter().filter(|(other, _)| other.uid == guest.uid).count();
        let order = |guest: &Guest| (usize::MAX - share(guest), guest.answered.get(), guest.last.get());
        let first =
            guests.iter().enumerate().min_by_key(|(_, (guest, _))| order(guest)).map(|(place, _)| place);
        if let Some(place) = first {
            let (_, task) = guests.swap_remove(place);
            task.abort();
        }
    }

    /// Takes one in.
    pub(super) fn admit(&self, guest: Rc<Guest>, task: AbortHandle) {
        self.0.borrow_mut().push((guest, task));
    }
}

impl Guest {
    /// A user who has just connected.
    pub(super) fn new(uid: Option<u32>) -> Rc<Self> {
        let (answered, listens, last) = (Cell::new(false), Cell::new(false), Cell::new(Instant::now()));
        Rc::new(Self { uid, answered, listens, last })
    }

    /// Notes that something was sent.
    pub(super) fn served(&self) {
        self.answered.set(true);
        self.last.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_hangs_goes_before_who_asks_and_the_crowd_before_the_single() {
        let guests = Guests::default();
        let admit = |uid| {
            let (guest, task) = (Guest::new(Some(uid)), tokio::spawn(std::future::pending::<()>()));
            guests.admit(Rc::clone(&guest), task.abort_handle());
            (guest, task)
        };
        let (single, task) = admit(7);
        single.served();
        let crowd: Vec<_> = (1..CONNECTIONS).map(|_| admit(8)).collect();
        crowd.iter().skip(2).for_each(|(guest, _)| guest.served());
        let gone = || crowd.iter().filter(|(_, task)| task.is_finished()).count();
        for expected in 1..5 {
            guests.make_room();
            while gone() < expected {
                tokio::task::yield_now().await;
            }
            assert!(crowd[..expected].iter().all(|(_, task)| task.is_finished()), "{expected}");
            let (newest, _) = admit(8);
            newest.served();
        }
        assert!(!task.is_finished());
    }
}
