//! The XDP program: every frame goes to the socket of its receive queue, its VLAN tag in it.
//!
//! A tag may have been taken out of the frame before XDP sees it: by a NIC, or by a veth whose far end leaves it
//! in the skb (`txvlan on`, the default). Where the driver can tell (`bpf_xdp_metadata_rx_vlan_tag`), the program puts it
//! back, so that userspace only ever sees whole frames. Such a program is bound to its device, and native.

use std::os::fd::{AsFd, AsRawFd};

use crate::sys::bpf::btf;
use crate::sys::bpf::insn::{Insn, Program, Reg, Size, When};
use crate::sys::bpf::{Kind, LoadError, Program as Loaded, Traits, XskMap};

use Reg::{R0, R1, R2, R3, R6, R7, R8, R10};

/// The program that reads stripped tags of device `ifindex`; `None` when this kernel has no such function.
pub(super) fn load_tag_restoring(map: &XskMap, ifindex: u32) -> Option<Result<Loaded, LoadError>> {
    let rx_vlan_tag = btf::kernel_function("bpf_xdp_metadata_rx_vlan_tag")?;
    let traits = Traits { frags: true, bound_to: Some(ifindex) };
    Some(Loaded::load(Kind::Xdp(traits), NAME, &tag_restoring(map.as_fd().as_raw_fd(), rx_vlan_tag)))
}

/// The program that redirects and does nothing else, for any device.
pub(super) fn load_plain(map: &XskMap) -> Result<Loaded, LoadError> {
    let traits = Traits { frags: true, bound_to: None };
    Loaded::load(Kind::Xdp(traits), NAME, &plain(map.as_fd().as_raw_fd()))
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
    code.load(Size::Word, R2, R1, RX_QUEUE);
    code.load_map(R1, map).set(R3, PASS).call(REDIRECT_MAP).exit();
    code.finish()
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
