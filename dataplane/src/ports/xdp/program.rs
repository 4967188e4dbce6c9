//! The XDP programs. One sends every frame to the socket of its receive queue, its VLAN tag in it; of a device that is
//! shared with the host the other sends only what is the switch's, which has no tag, and leaves all else as it came.
//!
//! A tag may have been taken out of the frame before XDP sees it: by a NIC, or by a veth whose far end leaves it
//! in the skb (`txvlan on`, the default). Where the driver can tell (`bpf_xdp_metadata_rx_vlan_tag`), the program puts it
//! back, so that userspace only ever sees whole frames. Such a program is bound to its device, and native.

use std::os::fd::{AsFd, AsRawFd};

use super::mine::{self, Key};
use crate::sys::bpf::btf;
use crate::sys::bpf::insn::{Insn, Label, Program, Reg, Size, When};
use crate::sys::bpf::{KeySet, Kind, LoadError, Program as Loaded, Traits, XskMap};

use Reg::{R0, R1, R2, R3, R6, R7, R8, R9, R10};

/// What a program reads.
#[derive(Clone, Copy)]
pub(super) struct Maps<'m> {
    /// Where frames go.
    pub(super) sockets: &'m XskMap,
    /// What is the switch's, if not everything is.
    pub(super) mine: Option<&'m KeySet<{ size_of::<Key>() }>>,
}

impl Maps<'_> {
    /// The program that can tell stripped tags of device `ifindex`; `None` when this kernel has no such function.
    pub(super) fn load_tag_reading(self, ifindex: u32) -> Option<Result<Loaded, LoadError>> {
        let rx_vlan_tag = btf::kernel_function("bpf_xdp_metadata_rx_vlan_tag")?;
        let sockets = self.sockets.as_fd().as_raw_fd();
        let code = match self.mine {
            None => tag_restoring(sockets, rx_vlan_tag),
            Some(mine) => sorting(sockets, mine.as_fd().as_raw_fd(), Some(rx_vlan_tag)),
        };
        Some(load(Some(ifindex), &code))
    }

    /// The program that sees frames as they are, for any device.
    pub(super) fn load_plain(self) -> Result<Loaded, LoadError> {
        let sockets = self.sockets.as_fd().as_raw_fd();
        let code = match self.mine {
            None => plain(sockets),
            Some(mine) => sorting(sockets, mine.as_fd().as_raw_fd(), None),
        };
        load(None, &code)
    }
}

fn load(bound_to: Option<u32>, code: &[Insn]) -> Result<Loaded, LoadError> {
    Loaded::load(Kind::Xdp(Traits { frags: true, bound_to }), NAME, code)
}

/// What `ip link` and `bpftool` show.
const NAME: &str = "rigswitch";

// enum xdp_action
const DROP: i32 = 1;
const PASS: i32 = 2;

// struct xdp_md
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE: i16 = 16;

// enum bpf_func_id
const MAP_LOOKUP: i32 = 1;
const ADJUST_HEAD: i32 = 44;
const REDIRECT_MAP: i32 = 51;

/// `bpf_redirect_map(map, rx_queue, PASS)`: a queue without a socket is left to the host.
fn plain(map: i32) -> Vec<Insn> {
    let mut code = Program::new();
    code.copy(R6, R1);
    redirect(&mut code, map);
    code.finish()
}

fn redirect(code: &mut Program, map: i32) {
    code.load(Size::Word, R2, R6, RX_QUEUE);
    code.load_map(R1, map).set(R3, PASS).call(REDIRECT_MAP).exit();
}

/// As [`plain`], with the stripped tag back in the frame. Whether there is a socket is asked first: the host, if the
/// frame is its, wants it as it came.
fn tag_restoring(map: i32, rx_vlan_tag: i32) -> Vec<Insn> {
    // On the stack, below the frame pointer.
    const QUEUE: i16 = -4;
    const PROTOCOL: i16 = -8; // network order
    const TCI: i16 = -6; // host order

    let mut code = Program::new();
    let (redirect, pass, drop) = (code.label(), code.label(), code.label());
    code.copy(R6, R1);

    code.load(Size::Word, R2, R6, RX_QUEUE).store(Size::Word, R10, QUEUE, R2);
    code.load_map(R1, map).copy(R2, R10).add(R2, QUEUE.into()).call(MAP_LOOKUP);
    code.jump_value(When::Equal, R0, 0, pass);

    code.store_value(Size::Word, R10, PROTOCOL, 0);
    code.copy(R1, R6).copy(R2, R10).add(R2, PROTOCOL.into()).copy(R3, R10).add(R3, TCI.into());
    code.call_kernel(rx_vlan_tag);
    code.jump_value(When::NotEqual, R0, 0, redirect); // ENODATA: none was stripped

    code.copy(R1, R6).set(R2, -4).call(ADJUST_HEAD);
    code.jump_value(When::NotEqual, R0, 0, drop);
    code.load(Size::Word, R7, R6, DATA).load(Size::Word, R8, R6, DATA_END);
    code.copy(R1, R7).add(R1, 18).jump(When::Greater, R1, R8, drop);
    for at in [0, 4, 8] {
        code.load(Size::Word, R1, R7, at + 4).store(Size::Word, R7, at, R1); // the addresses, 4 bytes to the front
    }
    code.load(Size::Half, R1, R10, PROTOCOL).store(Size::Half, R7, 12, R1);
    code.load(Size::Half, R1, R10, TCI).network_order(R1, 16).store(Size::Half, R7, 14, R1);

    code.place(redirect);
    code.load(Size::Word, R2, R10, QUEUE);
    code.load_map(R1, map).set(R3, DROP).call(REDIRECT_MAP).exit();
    code.place(pass).set(R0, PASS).exit();
    code.place(drop).set(R0, DROP).exit();
    code.finish()
}

/// As [`plain`], for frames of [`Mine`](super::Mine) only, which says the same in Rust. One whose tag was stripped is the
/// host's, if `rx_vlan_tag` can tell.
fn sorting(sockets: i32, keys: i32, rx_vlan_tag: Option<i32>) -> Vec<Insn> {
    const PROTOCOL: i16 = KEY - 4;
    const TCI: i16 = PROTOCOL + 2;
    let [is_arp, is_ipv4, is_ipv6] = [0x0806, 0x0800, 0x86dd].map(in_network_order);
    let mut code = Program::new();
    let (ours, pass) = (code.label(), code.label());
    let (arp, ipv4, ipv6) = (code.label(), code.label(), code.label());
    code.copy(R6, R1).load(Size::Word, R7, R6, DATA).load(Size::Word, R8, R6, DATA_END);

    needs(&mut code, 14, pass);
    look(&mut code, keys, (mine::MAC, 0, &[Size::Word, Size::Half]), ours);
    code.load(Size::Half, R9, R7, 12);
    code.jump_value(When::Equal, R9, is_arp, arp);
    code.jump_value(When::Equal, R9, is_ipv4, ipv4);
    code.jump_value(When::Equal, R9, is_ipv6, ipv6).go(pass);

    code.place(arp);
    needs(&mut code, 42, pass);
    // Ethernet, IPv4, and how long their addresses are.
    for (at, kind) in [(14, 0x0001), (16, 0x0800), (18, 0x0604)] {
        code.load(Size::Half, R1, R7, at).jump_value(When::NotEqual, R1, in_network_order(kind), pass);
    }
    look(&mut code, keys, (mine::IPV4, 38, &[Size::Word]), ours);
    code.go(pass);

    code.place(ipv4);
    needs(&mut code, 34, pass);
    look(&mut code, keys, (mine::IPV4, 30, &[Size::Word]), ours);
    code.go(pass);

    code.place(ipv6);
    needs(&mut code, 54, pass);
    look(&mut code, keys, (mine::IPV6, 38, &[Size::Word; 4]), ours);
    needs(&mut code, 78, pass);
    for (at, value) in [(20, 58), (54, 135)] {
        code.load(Size::Byte, R1, R7, at).jump_value(When::NotEqual, R1, value, pass);
    }
    look(&mut code, keys, (mine::IPV6, 62, &[Size::Word; 4]), ours);

    code.place(pass).set(R0, PASS).exit();

    code.place(ours);
    if let Some(rx_vlan_tag) = rx_vlan_tag {
        let tagged = code.label();
        code.store_value(Size::Word, R10, PROTOCOL, 0);
        code.copy(R1, R6).copy(R2, R10).add(R2, PROTOCOL.into()).copy(R3, R10).add(R3, TCI.into());
        code.call_kernel(rx_vlan_tag).jump_value(When::Equal, R0, 0, tagged);
        redirect(&mut code, sockets);
        code.place(tagged).set(R0, PASS).exit();
    } else {
        redirect(&mut code, sockets);
    }
    code.finish()
}

/// Where a key is put together: on the stack, below the frame pointer.
const KEY: i16 = -20;

/// Goes to `otherwise` unless the frame, from R7 to R8, has `bytes`.
fn needs(code: &mut Program, bytes: i32, otherwise: Label) {
    code.copy(R1, R7).add(R1, bytes).jump(When::Greater, R1, R8, otherwise);
}

/// Goes to `found` if there is a key of a kind and of what stands at a place in the frame, in these pieces.
fn look(code: &mut Program, keys: i32, (kind, at, pieces): (i32, i16, &[Size]), found: Label) {
    code.store_value(Size::Word, R10, KEY, kind);
    code.store_value(Size::Double, R10, KEY + 4, 0).store_value(Size::Double, R10, KEY + 12, 0);
    for (&piece, offset) in pieces.iter().zip((0..).step_by(4)) {
        code.load(piece, R1, R7, at + offset).store(piece, R10, KEY + 4 + offset, R1);
    }
    code.load_map(R1, keys).copy(R2, R10).add(R2, KEY.into()).call(MAP_LOOKUP);
    code.jump_value(When::NotEqual, R0, 0, found);
}

/// A half word of a frame as a program loads it.
fn in_network_order(value: u16) -> i32 {
    value.to_be().into()
}
