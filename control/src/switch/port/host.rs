//! What only the host's port of a bridge has: addresses of the host's, and an address, an MTU and a carrier that follow the bridge.

use std::io;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{HostAddress, HostLink, HostPortConfig, PortConfig, PortKind, Tap};
use rigswitch_dataplane::sys::addresses;
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::Netns;

use super::{OpenResult, Port, Source, Standing};
use crate::events::{Event, Events};
use crate::switch::watch::Watch;

/// What a bridge would have its own device be like, or what it would be like for what it stands on.
#[derive(Clone, Copy)]
pub(in crate::switch) struct Likeness {
    /// The address and the MTU that the configuration says, if it does.
    pub(in crate::switch) said: (Option<MacAddr>, Option<u32>),
    /// Those that follow from what is below.
    pub(in crate::switch) follows: (Option<MacAddr>, u32),
}

impl Likeness {
    /// A device of this name that is like that, and that the host does not have.
    pub(in crate::switch) fn standing(self, name: &str, is_running: bool) -> Standing {
        let mac = self.said.0.or(self.follows.0).unwrap_or_else(|| MacAddr::of_name(name));
        Standing { is_running, mac, mtu: self.said.1.unwrap_or(self.follows.1) }
    }
}

/// What the device was given last. It is another by now if somebody has chosen it by hand.
#[derive(Clone, Copy)]
pub(super) struct Given {
    mac: MacAddr,
    mtu: u32,
    said: (Option<MacAddr>, Option<u32>),
    carrier: bool,
}

impl Port {
    /// Whether it is the host's.
    pub(in crate::switch) fn is_host(&self) -> bool {
        matches!(self.config.kind, PortKind::Host(_))
    }

    /// Whether it is the inside of a bridge's own device.
    pub(in crate::switch) fn is_inside(&self) -> bool {
        self.config.kind == PortKind::Inside
    }

    /// Whether frames may come in and go out: a host's port takes them while it is up, and is told of a carrier when there is
    /// somebody to send to.
    pub(in crate::switch) fn is_usable(&self) -> bool {
        match &self.link {
            Some(link) if self.is_host() => self.device.is_some() && link.up,
            _ => self.is_running(),
        }
    }

    /// The address of the switch's own end of the wire. A TAP's is that of whoever is behind it.
    pub(in crate::switch) fn own_address(&self) -> Option<MacAddr> {
        let is_far = matches!(self.kind(), PortKind::Tap(_));
        Some(self.address()).filter(|address| !is_far && !address.is_zero())
    }

    /// Gives the device of the host's the address and the MTU that follow from what is below, unless somebody has chosen others
    /// by hand.
    pub(in crate::switch) fn follow_below(
        &mut self,
        wanted: Likeness,
        watch: &mut Watch,
        events: &mut Events,
    ) -> io::Result<()> {
        let Some(device) = &mut self.device else { return Ok(()) };
        let Some(place) = device.place else { return Ok(()) };
        let Some(now) = watch.link(place) else { return Ok(()) };
        let (said, follows) = (wanted.said, wanted.follows);
        let first = Given { mac: now.mac, mtu: now.mtu, said, carrier: false };
        let given = device.given.get_or_insert(first);
        let mac = choose((given.said.0, said.0), follows.0, (given.mac, now.mac));
        let mtu = choose((given.said.1, said.1), Some(follows.1), (given.mtu, now.mtu));
        given.said = said;
        if (mac, mtu) == (now.mac, now.mtu) {
            return Ok(());
        }
        let netdev = Netdev::new(&now.name, watch.netns(place.namespace))?;
        if mac != now.mac {
            netdev.set_mac(mac)?;
            given.mac = mac;
        }
        if mtu != now.mtu {
            netdev.set_mtu(mtu)?;
            given.mtu = mtu;
        }
        watch.catch_up();
        let ifname = &self.config.name;
        if let Some(link) = self.link.as_mut().filter(|link| link.mac != mac) {
            link.mac = mac;
            events.tell(Event::Address { ifname: ifname.clone(), address: mac.to_string() });
        }
        if std::mem::replace(&mut self.mtu, mtu) != mtu {
            events.tell(Event::Mtu { ifname: ifname.clone(), mtu });
        }
        Ok(())
    }

    /// Says whether there is anybody to send to.
    pub(in crate::switch) fn set_carrier(&mut self, carrier: bool) {
        let Some(device) = &mut self.device else { return };
        if let (Some(given), Source::Tap(queues)) = (&mut device.given, &device.source)
            && given.carrier != carrier
            // One that is gone needs none.
            && queues[0].set_carrier(carrier).is_ok()
        {
            given.carrier = carrier;
        }
    }

    /// Gives a host's port its addresses, and takes those from it that only `before` has.
    pub(super) fn readdress(&mut self, before: &PortConfig, watch: &Watch) -> OpenResult<()> {
        let (PortKind::Host(from), PortKind::Host(to)) = (&before.kind, &self.config.kind) else {
            return Ok(());
        };
        let place = self.device.as_ref().and_then(|device| device.place);
        let (Some(place), Some(link)) = (place, self.link.as_ref().filter(|_| from != to)) else {
            return Ok(());
        };
        let netns = watch.netns(place.namespace);
        for gone in from.addresses.iter().filter(|address| !to.addresses.contains(address)) {
            addresses::remove(&link.name, netns, gone.address, gone.prefix_length)?;
        }
        // The kernel takes the others of a network away with its first.
        Ok(prepare(&link.name, to, netns)?)
    }
}

/// What is said if that is news, what was chosen by hand, what is said, what follows, or what it is.
fn choose<T: Copy + PartialEq>(
    (said_before, said): (Option<T>, Option<T>),
    follows: Option<T>,
    (given, now): (T, T),
) -> T {
    let news = said.filter(|_| said != said_before);
    let by_hand = (given != now).then_some(now);
    news.or(by_hand).or(said).or(follows).unwrap_or(now)
}

/// Makes the TAP or TUN.
pub(super) fn create_host(host: &HostPortConfig, netns: Option<&Netns>) -> io::Result<Tap> {
    Tap::create(&host.device, netns, host.link).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let remedy =
                "delete that one (`ip link del`) if this one takes its place, or give this one another name";
            io::Error::new(error.kind(), format!("{error}: {remedy}"))
        }
        _ => error,
    })
}

/// Puts its addresses on a device, whatever that is called by now, once it is to have neighbours or none.
pub(super) fn prepare(name: &str, host: &HostPortConfig, netns: Option<&Netns>) -> io::Result<()> {
    if host.link != HostLink::Packets {
        Netdev::new(name, netns)?.set_arp(host.link == HostLink::Ethernet)?;
    }
    let give = |it: &HostAddress| addresses::add(name, netns, it.address, it.prefix_length);
    host.addresses.iter().try_for_each(give)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_by_hand_stays_until_something_else_is_said() {
        assert_eq!(choose((None, None), None, (1, 1)), 1);
        assert_eq!(choose((None, None), Some(2), (1, 1)), 2, "the ports' follows");
        assert_eq!(choose((None, None), Some(2), (1, 3)), 3, "by hand");
        assert_eq!(choose((Some(4), Some(4)), Some(2), (1, 1)), 4, "said");
        assert_eq!(choose((Some(4), Some(4)), Some(2), (4, 3)), 3, "said, and then by hand");
        assert_eq!(choose((Some(4), Some(5)), Some(2), (4, 3)), 5, "said anew");
    }
}
