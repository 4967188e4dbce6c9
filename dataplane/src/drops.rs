//! Every reason for which a frame or a copy can be discarded, in one list.

/// Which side of a device a counter or a drop belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The frame came from the device: a drop here ends the frame.
    Rx,
    /// A copy was on its way to the device: a drop here ends that copy.
    Tx,
}

impl Direction {
    /// Both, in the order counters are laid out.
    pub const ALL: [Self; 2] = [Self::Rx, Self::Tx];

    /// `rx` or `tx`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        }
    }
}

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $meaning:literal $cause:literal $remedy:literal)*) => {
        /// Why a frame or a copy was discarded. The name is what every counter, table and metric calls it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(
            #[doc = $meaning]
            ///
            #[doc = concat!("How it arises: ", $cause)]
            ///
            #[doc = concat!("What to do: ", $remedy)]
            $variant
        ),* }

        impl DropReason {
            /// Every reason, in the order counters are laid out.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name users see.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// One sentence: what happened.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// How it comes about.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause),* }
            }

            /// What to do if it should not be.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),* }
            }
        }
    };
}

drop_reasons! {
    Truncated "truncated"
        "The frame is shorter than the 14 bytes of an Ethernet header, or longer than a frame of the packet memory: it came cut off."
        "A sender or a capture cut the frame short, or a super-frame is longer than packet memory was made for."
        "Look at the frame with `rigswitch capture` at the port; a capture to be replayed needs a snapshot length of whole frames."
    SourceGroup "source_group"
        "The source address is a group address, which no station may send from (IEEE 802-2014 §8.2.2)."
        "A broken or hostile sender, or a frame whose first bytes were overwritten."
        "Find the sender behind that port and mend it; a cross-connect passes such frames."
    SourceZero "source_zero"
        "The source address is 00:00:00:00:00:00, which names no station."
        "A sender that does not know its own address yet, or a device without one."
        "Give the sender's device an address: `ip link set DEV address …`."
    NoHost "no_host"
        "The destination is the bridge's own address (a permanent entry), and the bridge has no host port to deliver it to."
        "The fdb has the address as permanent, which makes it the bridge's, and nothing above the bridge takes frames."
        "Give the bridge a host port if this host is to be reached there, or make the entry static: `rigswitch fdb replace MAC dev PORT master static`."
    ReservedAddress "reserved_address"
        "The destination is one of 01:80:C2:00:00:01 to 0F, which a bridge keeps to itself (IEEE 802.1Q §8.6.3) unless group_fwd_mask says otherwise."
        "Neighbours speak LLDP, LACP, 802.1X or PAUSE to each other, which is for the next device on the wire and not for those beyond a bridge."
        "To let it pass, set its bit in `group_fwd_mask` of the bridge or of the port, or make the port `transparent`; a cross-connect passes all."
    PortState "port_state"
        "The port it came from, or the one its station is behind, may not forward: it has no carrier, or its state says so."
        "The cable or the far end is down, the file gives the port another state than forwarding, or its spanning tree does."
        "See its state in `rigswitch show ports`; bring the device up, set `state = \"forwarding\"`, or wait until the spanning tree has settled."
    Locked "locked"
        "The port it came from is locked, and no entry says that its source is behind that port."
        "The port has `locked` and its station no entry of its own there: nobody has let it in yet."
        "Let the station in, `rigswitch fdb replace MAC dev PORT master static`, or turn `locked` off."
    Isolated "isolated"
        "Its station is behind a port that is isolated, as the one it came from is."
        "Both ports have `isolated`, which keeps their stations from each other."
        "Turn `isolated` off on one of the two."
    VlanMalformed "vlan_malformed"
        "The frame has a VLAN tag that is cut short: there are fewer than six bytes behind the EtherType that says so."
        "A sender or a capture cut the frame short, or its EtherType says by mistake that a tag follows."
        "Look at the frame with `rigswitch capture` at the port."
    VlanReserved "vlan_reserved"
        "The frame is tagged with VID 4095, which no VLAN has (IEEE 802.1Q §9.6)."
        "A sender with a wrong VLAN, or one that probes."
        "Give the sender a VLAN from 1 to 4094."
    VlanNoPvid "vlan_no_pvid"
        "The frame has no VLAN tag, or one without a VLAN, and the port it came from has no PVID to take instead."
        "The port is a trunk for tagged frames only, and the far end sends without a tag."
        "Have the far end tag its frames, or give the port a `pvid` (`native` of a trunk)."
    VlanNotMember "vlan_not_member"
        "The frame is of a VLAN that the port it came from is not in."
        "The far end uses a VLAN that the port was not given, or whoever is behind it tries to get into one."
        "See what the port is in with `rigswitch show vlans`; if the VLAN is to pass, `rigswitch vlan add dev PORT vid N`."
    VlanEgress "vlan_egress"
        "Its station is behind a port that is not in the frame's VLAN, or is this host, which is not."
        "An entry names a port that has left the VLAN, or the bridge itself was not given it."
        "`rigswitch vlan add dev PORT vid N`, with `self` for the bridge; or take the entry away, `rigswitch fdb del MAC dev PORT vlan N`."
    SamePort "same_port"
        "The destination is behind the very port that the frame came from."
        "The station is on the far side already (a hub, a bridge or several machines behind one port), or its entry says the wrong port."
        "Usually nothing: the station has the frame. For machines that only meet through this switch, set `hairpin` on the port; if the entry is wrong, `rigswitch fdb del MAC dev PORT`."
    NoEgress "no_egress"
        "The frame was to be flooded, and the bridge has no other port that takes it."
        "It is alone in its bridge, or the others do not forward, are isolated from it, or have floods of this kind turned off."
        "See who is left out and why with `rigswitch explain`; bring the other ports up, or turn `flood`, `mcast_flood` or `bcast_flood` on."
    GroupMalformed "group_malformed"
        "The frame is to a group, and its IP header or what it says about groups (IGMP, MLD) is cut short or wrong: a bridge that snoops lets none such pass."
        "A host with a broken stack, or a frame that was altered on its way."
        "Look at the frame with `rigswitch capture`; without `mcast_snooping` the bridge passes it."
    NoMember "no_member"
        "The frame is for a group that nobody behind another port is known to be in, and no router is known there."
        "No host has joined the group behind another port, and no router is known."
        "See `rigswitch show mdb`; have the host join, add an entry by hand, or make the port to the router a router port."
    MdbFull "mdb_full"
        "The frame says that its sender is in a group more than the bridge (mcast_hash_max) or the port (mcast_max_groups) may learn."
        "More groups are joined than the bridge keeps."
        "Raise `mcast_hash_max` of the bridge or `mcast_max_groups` of the port, or find out who joins so many."
    NoVlanDevice "no_vlan_device"
        "The frame has a VLAN tag, and on the device it came from stands no sub-interface of that VLAN."
        "A neighbour sends a VLAN that is configured there and not here, or with another kind of tag (802.1Q, 802.1ad)."
        "Add a `[[vlan]]` with that `id` and `protocol` on the device, or take the VLAN off the neighbour's trunk."
    NoMacvlan "no_macvlan"
        "The device it came from is there for its macvlans, and the frame is for none of them."
        "Its destination is no address of theirs, or it is to a group and those that hear groups are not meant by it."
        "See their addresses in `rigswitch show ports`; what is to reach this host itself needs a child with `host = true`."
    MacvlanPrivate "macvlan_private"
        "It went from one macvlan to another of the same device, and one of the two is private: a switch outside sent it back, or its source is borrowed."
        "A switch on the far side has hairpin on, and the children of this device know each other's addresses."
        "Nothing if they are to be kept from each other; else give them `mode = \"vepa\"`, or `compat = true`, which lets such frames in as the kernel does."
    BroadcastFull "broadcast_full"
        "It was to a group, and as many frames to groups of the same burst as `bcqueuelen` allows had gone to the macvlans of the device already."
        "Broadcasts or groups come in a storm, or `bcqueuelen` is 0, which keeps all of them from the children."
        "Find who sends so many with `rigswitch capture`, or raise `bcqueuelen`; at 64 and above nothing is dropped for this."
    NoIpvlan "no_ipvlan"
        "The frame is for none of the ipvlans on the device, which has no other use for it."
        "No `[[ipvlan]]` there has the address, the frame carries none to go by, it came back to its senders, or it is PAUSE, which is for the device alone."
        "See with `rigswitch explain` which address was looked for, and give it to a child: `rigswitch address add ADDRESS/LEN dev CHILD`."
    IpvlanMalformed "ipvlan_malformed"
        "The frame is IPv4, IPv6, ARP or a neighbour solicitation, and cut short or wrong before the address by which an ipvlan would get it."
        "A sender or a capture cut the frame short, or it was altered on its way."
        "Look at the frame with `rigswitch capture` at the port, and mend its sender."
    IpvlanPrivate "ipvlan_private"
        "An ipvlan sent it to another on the same device, and they are private."
        "`flag = \"private\"` keeps the children of a device from each other."
        "Nothing if they are to be kept apart; else give all of them `flag = \"bridge\"`."
    IpvlanNotRouted "ipvlan_not_routed"
        "An ipvlan of mode L3 sent it to a group or to all, or it is no IP packet: its device routes for it, and routes none of these."
        "A host behind it asks for its neighbours (ARP), or speaks to everybody on its link, where it has none."
        "Nothing, as a rule; a host's own device there is to have `arp off`, and a route by it. For groups and broadcasts there is `mode = \"l2\"`."
    OtherHost "other_host"
        "The frame is for another station than the routed device that it came to."
        "A switch floods what it does not know the way of, or a station has a wrong or old address for this router."
        "Usually nothing; if it goes on, look at the neighbour's ARP table, and at what stands between."
    UnknownProtocol "unknown_protocol"
        "The frame carries neither IPv4, IPv6 nor ARP, and a routed device takes nothing else."
        "Neighbours speak other protocols on that link."
        "Put the device in a bridge if they are to be passed on."
    IpMalformed "ip_malformed"
        "The IP header is cut short, of another version, or its lengths disagree with the frame."
        "A broken sender, or a frame that was altered on its way."
        "Look at the frame with `rigswitch capture` at the port."
    IpChecksum "ip_checksum"
        "The checksum of the IPv4 header is wrong (RFC 1812 §5.2.2)."
        "A broken sender, or bad memory or a bad cable on the way."
        "Find where it goes wrong with captures along the way."
    IpOption "ip_option"
        "The IPv4 header asks to be routed by its source, or has an option that is cut short."
        "Somebody probes, or an old tool (`ping -g`) is used: source routes are off, as in the kernel."
        "Nothing: name the way by routes."
    Martian "martian"
        "The IP source or destination is one that nobody can have on a link (RFC 1812 §5.3.7): a loopback or unspecified address, a group as source."
        "A host with a broken stack, or one that forges addresses."
        "Find who sends it with `rigswitch capture --stage drop`."
    IpScope "ip_scope"
        "The IPv6 source or destination is link-local or unspecified, which means nothing on another link (RFC 4291 §2.5.6)."
        "A host uses its link-local address to reach somebody beyond its link."
        "Give the host an address that is routed."
    IpGroup "ip_group"
        "The packet is for a group, for all, or came in a frame for such: a router passes none of these on."
        "Neighbours speak to everybody on their link: names, discovery, DHCP."
        "Nothing, as a rule; a bridge passes them on."
    NotForwarding "not_forwarding"
        "The packet is for another host, and this switch does not forward packets."
        "`forwarding = false` in `[routing]`."
        "Turn it on if this is to be a router."
    ReversePath "reverse_path"
        "An answer to the packet's source would leave by another device than the one it came from (RFC 3704)."
        "A forged source, or a network that is reached one way and answers another."
        "Mend the routes, or turn `rp_filter` off for the device."
    NoRoute "no_route"
        "No route leads to the packet's destination, or the device of its route is not there."
        "There is no default route, the network is unknown here, or its device is down."
        "See `rigswitch show routes`; add one, `rigswitch route add PREFIX via GATEWAY`."
    Blackhole "blackhole"
        "The route to its destination is a blackhole, which drops it without a word."
        "The file says so: `type = \"blackhole\"` in a `[[route]]`."
        "Take the route out if the packets should arrive."
    Unreachable "unreachable"
        "The route to its destination says that it is unreachable; its sender is told."
        "The file says so: `type = \"unreachable\"` in a `[[route]]`."
        "Take the route out if the packets should arrive."
    Prohibited "prohibited"
        "The route to its destination says that it is prohibited; its sender is told."
        "The file says so: `type = \"prohibit\"` in a `[[route]]`."
        "Take the route out if the packets should arrive."
    TtlExceeded "ttl_exceeded"
        "The packet has passed as many routers as its sender allowed (TTL, hop limit); its sender is told."
        "Routes lead in a circle, or somebody traces the way."
        "Follow it with `traceroute`, and mend the routes if they lead in a circle."
    TooBig "too_big"
        "The packet is longer than the MTU of the device it was to leave by, and may not be fragmented; its sender is told the MTU."
        "The next link has a smaller MTU than the last. Senders find out that way what MTU to use."
        "Nothing, if TCP goes on; else let ICMP through, or give the links one MTU."
    TunnelNotIp "tunnel_not_ip"
        "The frame was to leave by a tunnel, or came by one over IPv6, that does not carry what is in it."
        "The tunnel is for IP packets, or for those of one version, and the frame has something else in it."
        "Route to the tunnel only what it carries, or give it another `mode`: `any` is for both versions."
    TunnelNoRoute "tunnel_no_route"
        "The frame was to leave by a tunnel, and no route leads to the tunnel's far end."
        "The device towards the far end is down, has no address, or the far end is in no network known here."
        "See `rigswitch show tunnels` and `rigswitch show routes`; add a route to the tunnel's `remote`."
    TunnelLoop "tunnel_loop"
        "The frame was to leave by a tunnel whose far end is reached by that tunnel itself."
        "The route to the tunnel's `remote` leads by the tunnel, or the tunnel has no `remote` and the route by it names no router."
        "Add a route to the far end by another device; of a tunnel without `remote`, name the far end as `via`."
    TunnelLimit "tunnel_limit"
        "The packet was to enter a tunnel over IPv6, and has entered as many as it may (RFC 2473 §4.1.1); its sender is told."
        "Tunnels lead into each other, in a circle or deeper than the `encaplimit` of the first allows."
        "Mend the routes if they lead in a circle, or raise `encaplimit` where the packet entered first."
    TunnelMalformed "tunnel_malformed"
        "The packet is for a tunnel, and what is in it is cut short or not what its outer header says."
        "A broken sender, a packet that was altered on its way, or a far end whose tunnel is of another kind."
        "Look at the packet with `rigswitch capture` at the port, and at the tunnel's far end."
    TunnelCongested "tunnel_congested"
        "The packet has met congestion inside the tunnel, and its sender would not understand being told (RFC 6040 §4.2)."
        "A router on the way marks packets that do not take part in congestion notification."
        "Find the congested link on the way to the far end; to drop the packet is the only way to tell of it."
    UdpMalformed "udp_malformed"
        "The packet is for a tunnel, and its UDP header is cut short, or its length disagrees with the packet."
        "A broken sender, or a packet that was altered on its way."
        "Look at the packet with `rigswitch capture` at the port."
    UdpChecksum "udp_checksum"
        "The packet is for a tunnel, and its UDP checksum is wrong, or missing where IPv6 wants one (RFC 8200 §8.1)."
        "Bad memory or a bad cable on the way, or a far end that leaves the checksum out."
        "For a far end that leaves it out over IPv6, set `udp6zerocsumrx = true`; else find where it goes wrong with captures along the way."
    VxlanTruncated "vxlan_truncated"
        "The packet is for a VXLAN device, and ends before the VXLAN header, or the frame that should follow, is complete."
        "Something else is sent to that UDP port, or a sender cut the packet short."
        "Look at the packet with `rigswitch capture` at the port; see that no other program uses the port."
    VxlanNoVni "vxlan_no_vni"
        "The VXLAN header does not say that its network identifier is valid: the I flag is clear (RFC 7348 §5)."
        "Something else than VXLAN is sent to that UDP port."
        "Look at the packet with `rigswitch capture` at the port; see that no other program uses the port."
    VxlanUnknownVni "vxlan_unknown_vni"
        "No VXLAN device takes packets of this network at that UDP port."
        "The far end has a network that is not configured here, or sends to the port of another device."
        "Add a `[[vxlan]]` with that `id` and `dstport`, or mend the far end's."
    TunnelTxinfo "tunnel_txinfo"
        "The frame leaves by a VXLAN device that is `external`, and nothing says of which network it is."
        "It has no tag, or one of a VLAN that the bridge's port has no `tunnel_info` for, or the port is without `vlan_tunnel`."
        "Give the port `vlan_tunnel = true` and a `tunnel_info` for the VLAN, of which it is a tagged member."
    VxlanReserved "vxlan_reserved"
        "The VXLAN header has bits set that the device does not take: its `reserved_bits`, or with `compat` all that the RFC reserves."
        "The far end uses an extension: group policy, GPE, remote checksum offload."
        "Turn the extension off at the far end, or let RFC 7348 hold, which ignores those bits: take `compat` and `reserved_bits` out."
    VxlanLoop "vxlan_loop"
        "The frame in the packet has the VXLAN device's own address as its source: the device has sent it itself."
        "The networks behind two far ends are joined by another way, or another device has the same address."
        "Find where the frame comes back with `rigswitch capture`, or give the device an `address` of its own."
    VxlanFixed "vxlan_fixed"
        "The frame came from another far end than the one that a fixed entry says its source is behind."
        "The station has moved, or somebody forges its address; entries that are permanent or static do not move."
        "See `rigswitch show fdb`; change the entry: `rigswitch fdb replace MAC dev VXLAN dst IP`."
    VxlanNoRemote "vxlan_no_remote"
        "The frame was to leave by a VXLAN device that has no entry for its destination, and none for what it does not know."
        "The device does not learn, has not learned yet, or has no default destination."
        "Add one: `rigswitch fdb append 00:00:00:00:00:00 dev VXLAN dst IP`, or an entry for the station."
    VxlanProxy "vxlan_proxy"
        "The frame asks for a neighbour, by ARP or neighbour discovery, and the VXLAN device answers such questions itself (`proxy`) and does not know this one."
        "No `[[neighbor]]` of the device has the address; or it is another message of ARP, of which such a device sends none."
        "Add the neighbour: `rigswitch neighbor add IP lladdr MAC dev VXLAN`; with `l3miss` events tell which are wanted."
    Recursion "recursion"
        "The frame has gone from device to device within the switch more often than devices may stand on each other."
        "Devices that stand on others are cross-connected or bridged in a ring."
        "Follow it with `rigswitch explain`, and take one of the cross-connects or bridge ports out of the ring."
    SurfaceFull "surface_full"
        "It was for a device that stands on the one it came from, and as many frames as may wait on their way up did so already."
        "Broadcasts and groups go to every such device, and more of them came at once than there is room for."
        "Nothing if it is rare; else find who sends so many with `rigswitch capture`, or let fewer devices stand on this one."
    NoHeadroom "no_headroom"
        "There was no room before the frame for the header that was to be put there."
        "It came with less headroom than the 256 bytes that every port leaves, or was given more headers than fit there."
        "Report it with the configuration: no stack of devices that is valid should come to this."
    Unused "unused"
        "The device it came from has no use for it: it is in no bridge and no cross-connect, has no address, and what stands on it takes tagged frames only."
        "The device is configured and nothing names it; or only sub-interfaces of VLANs stand on it, and the frame has no tag."
        "Put the device into a bridge, `rigswitch port set PORT master BRIDGE`, give it an address, or have the far end tag its frames; or take it out of the file."
    MtuExceeded "mtu_exceeded"
        "The frame is longer than the MTU of the device it was to leave by, with its Ethernet header and four bytes for a tag; its outermost tag is not counted."
        "The devices of a bridge have different MTUs, or a sender's is larger than the path's."
        "Give the devices along the way one MTU: `mtu` of the `[[port]]`, `ip link set DEV mtu …` at the hosts."
    MalformedOffload "malformed_offload"
        "The offload state that came with the frame contradicts the frame."
        "A guest or a driver hands over a super-frame or an unfinished checksum that its headers do not bear out."
        "Turn the sender's offloads off (`ethtool -K DEV tso off tx off`) and report it: it is a defect of the sender or of the switch."
    PoolEmpty "pool_empty"
        "No free packet memory was left for it."
        "More frames wait to be sent than there is packet memory: slow receivers, or bursts larger than it was made for."
        "Raise `frames` in `[switch]` and start the switch anew."
    RingFull "ring_full"
        "The transmit ring of the device was full."
        "The receiver, or the kernel on its behalf, takes frames more slowly than they come."
        "If it goes on, the receiver is the bottleneck: give it CPU, spread it over queues, or slow the sender down; a TAP's queue grows with `ip link set DEV txqueuelen …`."
    HandoffFull "handoff_full"
        "The queue to the worker that owns the device was full."
        "The other worker does not keep up, or shares its CPU."
        "Give ports that talk to each other the same `worker`, or the workers a CPU each: `workers = [2, 3]`."
    PuntFull "punt_full"
        "The queue to control was full, or its rate limit was reached."
        "More than 100 frames for control came from one port within 100 ms, or control is busy: a loop, or a storm."
        "Find who sends so many with `rigswitch capture`; what control is for (spanning tree, groups) goes on with the rest."
    PortDown "port_down"
        "The device is down, or has no open queue."
        "Somebody set the device down, or its worker is being restarted."
        "`ip link set DEV up`; `rigswitch show ports` and the log say what is wrong."
    SocketProtocol "socket_protocol"
        "It was to leave by the host's own sockets, and there is none for it: they carry UDP and packets in packets, whole."
        "A route of something else than a tunnel leads by a `socket` port, the tunnel's protocol is not one of its own, or its packets are longer than the port's MTU and were cut."
        "Give the port what the tunnel takes (`socket = { udp = [PORT], ipip = true }`), and let routes by it be those to far ends only."
    SocketUnreachable "socket_unreachable"
        "The host does not send it: it has no way there, the way is down, or the source is no address of the host's."
        "The host's route, link or address went, or the tunnel's `local` is not one of its addresses."
        "Ask the host: `ip route get FAR_END from LOCAL`."
    PortGone "port_gone"
        "The device went away while the frame waited to be sent."
        "The device was deleted, or moved to another namespace."
        "Nothing is to be done: the port comes back when a device of the configured name does."
    PortError "port_error"
        "The kernel refused the frame or the file could not be written."
        "The kernel answered the sending with an error, or the disk is full."
        "Look at the kernel's log and at the device's own counters, `ip -s -s link show DEV`."
    WorkerPanicked "worker_panicked"
        "The worker that held it panicked and was restarted with fresh packet memory."
        "A defect of the switch: the worker was restarted, and what it held is lost."
        "Report it with the message that the switch printed."
}

impl DropReason {
    /// As an index into counters.
    pub fn index(self) -> usize {
        usize::from(self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_every_reason_ends_its_sentences() {
        let names: std::collections::BTreeSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            for text in [reason.meaning(), reason.cause(), reason.remedy()] {
                assert!(text.ends_with('.'), "{}: {text}", reason.name());
            }
        }
    }
}
