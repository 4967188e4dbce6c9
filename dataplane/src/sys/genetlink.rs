//! Generic netlink: families by name, and one question at a time to one of them.

use std::io;

use super::netlink::{Netlink, attribute, number, request};

/// A generic netlink socket for questions to one family.
pub(super) struct GenericNetlink {
    netlink: Netlink,
    family: u16,
}

impl GenericNetlink {
    /// A socket in the calling thread's network namespace; `NotFound` from a kernel without the family.
    pub(super) fn open(family: &str) -> io::Result<Self> {
        const CONTROLLER: u16 = 0x10; // GENL_ID_CTRL
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let mut controller = Self { netlink: Netlink::open(libc::NETLINK_GENERIC, 0)?, family: CONTROLLER };
        let name = [family.as_bytes(), &[0]].concat();
        let answers = controller.ask(GET_FAMILY, 0, FAMILY_NAME, &name)?;
        let id = answers.first().and_then(|answer| attribute(answer, FAMILY_ID)).map(number);
        controller.family = id
            .and_then(|id| u16::try_from(id).ok())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(controller)
    }

    /// The attributes of each message of the answer to a command with one attribute; `flags` are those of netlink(7).
    pub(super) fn ask(
        &self,
        command: u8,
        flags: libc::c_int,
        kind: u16,
        value: &[u8],
    ) -> io::Result<Vec<Vec<u8>>> {
        const HEADER: usize = 4; // command, version, two reserved
        let question = request(self.family, flags, &[command, 1, 0, 0], &[(kind, value)]);
        let answers = self.netlink.ask(&question)?;
        Ok(answers.iter().filter_map(|(_, body)| body.get(HEADER..)).map(<[u8]>::to_vec).collect())
    }
}
