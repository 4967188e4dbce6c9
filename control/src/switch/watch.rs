//! What the kernel tells of devices: one monitor a network namespace, and where a device has gone that moved.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rigswitch_dataplane::sys::epoll::Epoll;
use rigswitch_dataplane::sys::links::{Link, LinkNews, Links};
use rigswitch_dataplane::sys::netns::Netns;

/// Which monitor. Numbers are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Namespace(u32);

/// Where a device is: its number in its namespace, which stays whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) namespace: Namespace,
    pub(super) index: u32,
}

/// The namespaces that ports have devices in, and their devices as last told.
pub(super) struct Watch {
    monitors: BTreeMap<Namespace, Monitor>,
    downs: BTreeSet<Place>, // devices that were seen to go down since they were last asked for
    again: bool,
    entered: u32,
    readiness: Epoll,
}

/// What became of a device that is where it was no more.
pub(super) enum Whereabouts {
    Deleted,
    /// It moved here.
    Moved(Place),
    /// It moved to a namespace without a name, where it cannot be followed.
    Elsewhere,
}

struct Monitor {
    name: Option<String>,
    netns: Option<Netns>, // none: the switch's own
    links: Links,
    devices: BTreeMap<u32, Link>,
    moved: BTreeMap<u32, (u32, u32)>, // where a device that left is now: namespace, as this one numbers them, and index
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        let readiness = Epoll::new()?;
        Ok(Self { monitors: BTreeMap::new(), downs: BTreeSet::new(), again: false, entered: 0, readiness })
    }

    /// A descriptor that is readable when there is something to hear.
    pub(super) fn readiness(&self) -> io::Result<OwnedFd> {
        self.readiness.as_fd().try_clone_to_owned()
    }

    /// The namespace of this name, as `ip netns` names it, or the switch's own; watched from here on.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(super) fn enter(&mut self, name: Option<&str>) -> io::Result<Namespace> {
        match self.known(name) {
            Some(known) => Ok(known),
            None => self.insert(name.map(Netns::open).transpose()?, name),
        }
    }

    /// The same, if it is watched already.
    pub(super) fn known(&self, name: Option<&str>) -> Option<Namespace> {
        let is_it = |monitor: &Monitor| match name {
            Some(_) => monitor.name.as_deref() == name,
            None => monitor.netns.is_none(),
        };
        self.monitors.iter().find(|(_, monitor)| is_it(monitor)).map(|(&known, _)| known)
    }

    /// A namespace that was come by otherwise; watched from here on.
    pub(super) fn admit(&mut self, netns: Netns) -> io::Result<Namespace> {
        let is_it = |other: &Netns| other.is_same(&netns).unwrap_or(false);
        let known = self.monitors.iter().find(|(_, monitor)| monitor.netns.as_ref().is_some_and(is_it));
        if let Some((&known, _)) = known {
            return Ok(known);
        }
        let names = Netns::names().unwrap_or_default();
        let name = names.iter().find(|name| Netns::open(name).is_ok_and(|named| is_it(&named)));
        self.insert(Some(netns), name.map(String::as_str))
    }

    fn insert(&mut self, netns: Option<Netns>, name: Option<&str>) -> io::Result<Namespace> {
        let links = Links::open(netns.as_ref())?;
        let devices = links.all()?.into_iter().map(|link| (link.index, link)).collect();
        self.readiness.add(&links)?;
        self.entered += 1;
        let monitor =
            Monitor { name: name.map(str::to_owned), netns, links, devices, moved: BTreeMap::new() };
        self.monitors.insert(Namespace(self.entered), monitor);
        Ok(Namespace(self.entered))
    }

    /// Hears what there is to hear; whether there was anything since this was last called.
    pub(super) fn hear(&mut self) -> bool {
        self.catch_up();
        std::mem::take(&mut self.again)
    }

    /// Hears what there is to hear, for whoever must know now.
    pub(super) fn catch_up(&mut self) {
        for (&namespace, monitor) in &mut self.monitors {
            for news in monitor.links.news() {
                self.again = true;
                let down = monitor.note(news);
                self.downs.extend(down.map(|index| Place { namespace, index }));
            }
        }
    }

    /// Has [`Watch::hear`] say next time that there was something: what is known does not make sense yet.
    pub(super) fn look_again(&mut self) {
        self.again = true;
    }

    /// The device in this place.
    pub(super) fn link(&self, place: Place) -> Option<&Link> {
        self.monitors.get(&place.namespace)?.devices.get(&place.index)
    }

    /// Whether the device in this place has gone down since this was last asked, be it up again by now.
    pub(super) fn has_been_down(&mut self, place: Place) -> bool {
        self.downs.remove(&place)
    }

    /// The device of this name.
    pub(super) fn find(&self, namespace: Namespace, name: &str) -> Option<Place> {
        let devices = &self.monitors.get(&namespace)?.devices;
        let index = devices.values().find(|link| link.name == name)?.index;
        Some(Place { namespace, index })
    }

    /// The namespace, to do something in; none is the switch's own.
    pub(super) fn netns(&self, namespace: Namespace) -> Option<&Netns> {
        self.monitors.get(&namespace)?.netns.as_ref()
    }

    /// What `ip netns` calls the namespace, if anything.
    pub(super) fn name(&self, namespace: Namespace) -> Option<&str> {
        self.monitors.get(&namespace)?.name.as_deref()
    }

    /// Frames for the device in this place that it dropped.
    pub(super) fn tx_dropped(&self, place: Place) -> Option<u64> {
        self.monitors.get(&place.namespace)?.links.tx_dropped(place.index).ok()
    }

    /// What became of the device that was in this place.
    pub(super) fn whereabouts(&mut self, place: Place) -> Whereabouts {
        let from = self.monitors.get(&place.namespace);
        let Some((from, &(number, index))) =
            from.and_then(|from| Some((from, from.moved.get(&place.index)?)))
        else {
            return Whereabouts::Deleted;
        };
        let is_it = |netns: &Netns| from.links.number_of(netns).ok().flatten() == Some(number);
        let names = Netns::names().unwrap_or_default();
        let netns = names.iter().filter_map(|name| Netns::open(name).ok()).find(is_it);
        match netns.map(|netns| self.admit(netns)) {
            Some(Ok(namespace)) => Whereabouts::Moved(Place { namespace, index }),
            _ => Whereabouts::Elsewhere,
        }
    }

    /// Forgets what whoever had to know knows by now: who was down, and who moved where. Unless there is more to hear of.
    pub(super) fn settle(&mut self) {
        if !self.again {
            self.downs.clear();
            self.monitors.values_mut().for_each(|monitor| monitor.moved.clear());
        }
    }

    /// Takes their names from namespaces whose name stands for another one by now; which they are.
    pub(super) fn outdated(&mut self) -> Vec<Namespace> {
        let outdated = |(&namespace, monitor): (&Namespace, &mut Monitor)| {
            let (name, netns) = (monitor.name.as_ref()?, monitor.netns.as_ref()?);
            let now = Netns::open(name).ok()?;
            now.is_same(netns).is_ok_and(|same| !same).then(|| monitor.name = None)?;
            Some(namespace)
        };
        self.monitors.iter_mut().filter_map(outdated).collect()
    }

    /// Watches these namespaces and no others from here on: a handle keeps its namespace alive.
    pub(super) fn keep_only(&mut self, used: &BTreeSet<Namespace>) {
        self.monitors.retain(|namespace, _| used.contains(namespace));
    }
}

impl Monitor {
    /// Takes news in; the index of a device that has gone down.
    fn note(&mut self, news: LinkNews) -> Option<u32> {
        match news {
            LinkNews::Here(link) => {
                let (index, running) = (link.index, link.running);
                let before = self.devices.insert(index, link);
                (!running && before.is_some_and(|before| before.running)).then_some(index)
            }
            LinkNews::Left { index, moved_to } => {
                self.devices.remove(&index);
                self.moved.extend(moved_to.map(|to| (index, to)));
                None
            }
            LinkNews::Missed => {
                // If even this fails, the next news will bring it about again.
                if let Ok(all) = self.links.all() {
                    self.devices = all.into_iter().map(|link| (link.index, link)).collect();
                }
                None
            }
        }
    }
}
