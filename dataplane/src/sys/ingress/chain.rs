//! A chain of nf_tables that drops what arrives on a device (family netdev). It follows no renaming from kernel 6.16 on.

use std::io;

use crate::sys::context;
use crate::sys::netlink::{self, Netlink, request};

/// A table with one chain. It belongs to the socket that made it (`NFT_TABLE_F_OWNER`), and goes with it.
#[derive(Debug)]
pub(super) struct Chain {
    owner: Netlink,
    table: String,
}

impl Chain {
    /// Drops what arrives on `device` of the calling thread's network namespace.
    pub(super) fn on(device: &str) -> io::Result<Self> {
        let doing = |e| context(e, "an nf_tables chain");
        let owner = Netlink::open(libc::NETLINK_NETFILTER, 0).map_err(doing)?;
        let chain = Self { owner, table: format!("rigswitch-{device}") };
        chain.transact(&[chain.new_table(), chain.new_chain(device)]).map_err(doing)?;
        Ok(chain)
    }

    fn new_table(&self) -> Vec<u8> {
        const FLAGS: u16 = 2;
        const OWNER: u32 = 2;
        let attributes = [(TABLE_NAME, &*text(&self.table)), (FLAGS, &OWNER.to_be_bytes())];
        command(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &attributes)
    }

    /// A chain without rules, whose policy is to drop. It comes first, so that no flow table forwards anything.
    fn new_chain(&self, device: &str) -> Vec<u8> {
        const TABLE: u16 = 1;
        const NAME: u16 = 3;
        const HOOK: u16 = 4;
        const POLICY: u16 = 5;
        const TYPE: u16 = 7;
        const HOOK_NUMBER: u16 = 1;
        const HOOK_PRIORITY: u16 = 2;
        const HOOK_DEVICE: u16 = 3;
        const NESTED: u16 = 1 << 15;
        let hook = netlink::attributes(&[
            (HOOK_NUMBER, &libc::NF_NETDEV_INGRESS.to_be_bytes()),
            (HOOK_PRIORITY, &i32::MIN.to_be_bytes()),
            (HOOK_DEVICE, &text(device)),
        ]);
        let attributes = [
            (TABLE, &*text(&self.table)),
            (NAME, &text("ingress")),
            (HOOK | NESTED, &hook),
            (POLICY, &libc::NF_DROP.to_be_bytes()),
            (TYPE, &text("filter")),
        ];
        command(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, &attributes)
    }

    /// Has the kernel carry out all of `commands`, or none.
    fn transact(&self, commands: &[Vec<u8>]) -> io::Result<()> {
        let mark = |kind: libc::c_int| {
            let [a, b] = number(libc::NFNL_SUBSYS_NFTABLES).to_be_bytes();
            request(number(kind), 0, &[0, 0, a, b], &[])
        };
        let (begin, end) = (mark(libc::NFNL_MSG_BATCH_BEGIN), mark(libc::NFNL_MSG_BATCH_END));
        // What the kernel has to say of a transaction begins with what went wrong; each command is acknowledged else.
        self.owner.transact(&[begin, commands.concat(), end].concat(), commands.len())
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // Closing would do, but for a process that is just being forked and still has the socket too. With the device or
        // its namespace gone there is no table.
        let table = text(&self.table);
        let _ = self.transact(&[command(libc::NFT_MSG_DELTABLE, 0, &[(TABLE_NAME, &table)])]);
    }
}

/// `NFTA_TABLE_NAME`.
const TABLE_NAME: u16 = 1;

/// A command of nf_tables to the netdev family, to be acknowledged.
fn command(kind: libc::c_int, flags: libc::c_int, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    const VERSION: u8 = 0;
    let family = u8::try_from(libc::NFPROTO_NETDEV).unwrap_or_default();
    let kind = number(libc::NFNL_SUBSYS_NFTABLES << 8 | kind);
    request(kind, libc::NLM_F_ACK | flags, &[family, VERSION, 0, 0], attributes)
}

fn number(kind: libc::c_int) -> u16 {
    u16::try_from(kind).unwrap_or_default()
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
