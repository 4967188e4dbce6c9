//! Devices that stand on others, and routes: what keeps them from what they are for is found, and the fix mends it.

use std::net::UdpSocket;

use super::*;

const ROUTED: &str = "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n\
                      [[address]]\ndevice = \"p1\"\naddress = \"10.9.1.1/24\"\n";

/// A bridge of a port and a VXLAN device, whose packets leave by `DEV`.
macro_rules! bridged {
    ($words:literal) => {
        concat!(
            "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n[[address]]\ndevice = \"p1\"\naddress = \"10.9.1.1/24\"\n",
            "[[port]]\nname = \"p2\"\nmemory = true\n[[vxlan]]\nname = \"vx0\"\nid = 7\nlocal = \"10.9.1.1\"\nremote = \"10.9.1.2\"\n",
            $words,
            "[[bridge]]\nname = \"br0\"\nport = [{ device = \"p2\" }, { device = \"vx0\" }]\n"
        )
    };
}

const BRIDGED: &str = bridged!("");
const BRIDGED_DF: &str = bridged!("df = \"set\"\n");
const NARROW: &str = bridged!("dev = \"p1\"\n");
const ROUTED_TUNNEL: &str = "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n\
                             [[address]]\ndevice = \"p1\"\naddress = \"10.9.1.1/24\"\n\
                             [[ipip]]\nname = \"tun0\"\nlocal = \"10.9.1.1\"\nremote = \"10.9.1.2\"\nmtu = 1500\n\
                             [[address]]\ndevice = \"tun0\"\naddress = \"10.9.2.1/30\"\n";

/// Those whose fix is for the file, or the host.
pub(super) const BAD: &[Bad] = &[
    Bad {
        name: "a sub-interface that is to carry more than its port",
        done: "ip -n RIG link set DEV mtu 1400 && ip -n FAR link set eth0 mtu 1400",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n\
                [[vlan]]\nname = \"v10\"\nlink = \"p1\"\nid = 10\nmtu = 1500\n\
                [[bridge]]\nname = \"br0\"\nport = [{ device = \"v10\" }]\n",
        check: "MTU chain",
        ..PLAIN
    },
    Bad {
        name: "two MTUs in a bridge, one of a device on another",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n[[port]]\nname = \"p2\"\nmemory = true\nmtu = 2000\n\
                [[vlan]]\nname = \"v10\"\nlink = \"p1\"\nid = 10\nmtu = 1500\n\
                [[bridge]]\nname = \"br0\"\nport = [{ device = \"v10\" }, { device = \"p2\" }]\n",
        check: "MTU chain",
        ..PLAIN
    },
    Bad {
        name: "a tunnel of a bridge that is wider than its way",
        ports: BRIDGED,
        check: "MTU chain",
        severity: "warning",
        ..PLAIN
    },
    Bad {
        name: "a tunnel of a bridge whose packets are not fragmented",
        done: "ip -n RIG link set DEV mtu 1400 && ip -n FAR link set eth0 mtu 1400",
        ports: BRIDGED_DF,
        check: "MTU chain",
        ..PLAIN
    },
    Bad {
        name: "a bridge whose tunnel is narrower than its ports",
        ports: NARROW,
        check: "MTU chain",
        ..PLAIN
    },
    Bad {
        name: "a routed tunnel that is wider than its way",
        ports: ROUTED_TUNNEL,
        check: "MTU chain",
        severity: "warning",
        ..PLAIN
    },
    Bad {
        name: "a tunnel whose far end is behind a gateway",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n\
                [[address]]\ndevice = \"p1\"\naddress = \"10.9.1.1/24\"\n\
                [[route]]\nto = \"10.8.0.0/16\"\nvia = \"10.9.1.2\"\n\
                [[vxlan]]\nname = \"vx0\"\nid = 7\nremote = \"10.8.0.2\"\nmtu = 1500\n\
                [[address]]\ndevice = \"vx0\"\naddress = \"10.9.2.1/30\"\n",
        check: "MTU chain",
        severity: "warning",
        ..PLAIN
    },
    Bad {
        name: "a router that does not forward",
        ports: "[routing]\nforwarding = false\n[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n\
                [[address]]\ndevice = \"p1\"\naddress = \"10.9.1.1/24\"\n\
                [[route]]\nto = \"10.8.0.0/16\"\nvia = \"10.9.1.2\"\n",
        check: "forwarding",
        ..PLAIN
    },
    Bad {
        name: "an address that the far end has too",
        done: "ip -n FAR addr add 10.9.1.1/24 dev eth0",
        ports: ROUTED,
        check: "addresses of two",
        ..PLAIN
    },
];

/// Runs the fix of the one thing that this check finds, of which it then finds nothing.
fn mend(bed: &Bed, file: &str, check: &str, what: &str) {
    let finding = wait_for(check, || bed.found(file, check).pop());
    assert!(text(&finding, "what").contains(what), "{finding}");
    bed.shell(text(&finding, "fix"));
    assert_eq!(bed.found(file, check), [] as [Value; 0], "{finding}");
}

#[test]
fn a_gateway_that_does_not_answer_and_packets_from_the_wrong_side_are_found() {
    let Some(bed) = Bed::new("way-doctor") else { return };
    bed.veth("", "");
    bed.shell(&bed.fill(
        "ip -n FAR addr add 10.9.1.2/24 dev eth0 && ip -n FAR addr add 10.7.0.1/32 dev lo && \
         ip -n FAR route add 10.8.0.0/16 via 10.9.1.1",
    ));
    let rest = "[routing]\nrp_filter = true\n[[route]]\nto = \"10.8.0.0/16\"\nvia = \"10.9.1.9\"\n";
    let _switch = bed.folder.start(&bed.fill(&format!("{ROUTED}{rest}")));
    let send = |from: &'static str| {
        let sent = bed.far.run(|| UdpSocket::bind((from, 0))?.send_to(&[7; 20], "10.8.0.1:9"));
        sent.unwrap().unwrap();
    };
    assert_eq!(bed.found("", "gateways"), [] as [Value; 0], "nobody has asked for it yet");
    send("10.9.1.2");
    mend(&bed, "", "gateways", "10.9.1.9 does not answer: what is for 10.8.0.0/16 goes nowhere");
    assert!(bed.folder.ask("show routes").contains("10.9.1.2"), "the far end is the gateway now");

    send("10.7.0.1");
    mend(&bed, "rig.toml", "reverse path", "no route leads back");
    assert!(!bed.folder.ask("show config").contains("rp_filter"), "the running switch knows, too");
}

#[test]
fn a_sub_interface_that_takes_a_vlan_from_a_bridge_is_found() {
    let Some(bed) = Bed::new("vid-doctor") else { return };
    bed.veth("", "");
    let rest = "[[vlan]]\nname = \"v10\"\nlink = \"p1\"\nid = 10\nhost = { netns = \"RIG\" }\n\
                [[bridge]]\nname = \"br0\"\nvlan_filtering = true\n\
                port = [{ device = \"p1\", vlan = { pvid = 1, untagged = [1], tagged = [10, 20] } }]\n";
    let _switch = bed.folder.start(&bed.fill(&format!("{PACKET}{rest}")));
    mend(&bed, "", "VLANs that are devices", "in VLAN 10 is for v10: bridge br0 never sees it");
    assert!(bed.folder.ask("show config").contains("20"), "the others are left");
}

#[test]
fn a_running_tunnel_that_is_wider_than_its_way_is_narrowed_there() {
    let Some(bed) = Bed::new("tun-doctor") else { return };
    bed.veth("", "");
    let rest = "[[vxlan]]\nname = \"vx0\"\nid = 7\nlocal = \"10.9.1.1\"\nremote = \"10.9.1.2\"\n\
                [[address]]\ndevice = \"vx0\"\naddress = \"10.9.2.1/30\"\n";
    let _switch = bed.folder.start(&bed.fill(&format!("{ROUTED}{rest}")));
    mend(&bed, "", "MTU chain", "tunnel vx0 takes 1500 bytes of payload, and 1450 fit");
    assert!(bed.folder.ask("show config").contains("mtu = 1450"), "{}", bed.folder.ask("show config"));
}
