//! Who polls a device's queues, and when: its NAPI instances (`NETDEV_CMD_NAPI_GET`, kernel 6.8).

use std::io;

use super::context;
use super::genetlink::GenericNetlink;
use super::netlink::{attribute, number};

/// One instance: usually a queue's, or a pair's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Napi {
    /// Its number, unique in its namespace.
    pub id: u32,
    /// The interrupt that wakes it, if it has one.
    pub irq: Option<u32>,
    /// The process number of the kernel thread that runs it, if one does.
    pub thread: Option<u32>,
    /// How often it polls in vain before interrupts are on again.
    pub defer_hard_irqs: u32,
    /// How long it is left alone then, in nanoseconds.
    pub gro_flush_timeout_ns: u64,
}

impl Napi {
    /// Those of the device `ifindex` in the calling thread's network namespace. A veth has one for each queue while XDP is on
    /// it, or GRO is on.
    ///
    /// # Errors
    /// `NotFound` or `Unsupported` from a kernel that cannot say.
    pub fn of(ifindex: u32) -> io::Result<Vec<Self>> {
        const NAPI_GET: u8 = 11;
        const IFINDEX: u16 = 1;
        let ask = || {
            let netlink = GenericNetlink::open("netdev")?;
            netlink.ask(NAPI_GET, libc::NLM_F_DUMP, IFINDEX, &ifindex.to_ne_bytes())
        };
        let answers = ask().map_err(|e| context(e, "asking for the NAPI instances of a device"))?;
        Ok(answers.iter().map(|answer| read(answer)).collect())
    }
}

/// include/uapi/linux/netdev.h, `NETDEV_A_NAPI_*`
fn read(attributes: &[u8]) -> Napi {
    const ID: u16 = 2;
    const IRQ: u16 = 3;
    const PID: u16 = 4;
    const DEFER_HARD_IRQS: u16 = 5;
    const GRO_FLUSH_TIMEOUT: u16 = 6;
    let told = |kind| attribute(attributes, kind).map(number);
    let small = |kind| told(kind).and_then(|value| u32::try_from(value).ok());
    Napi {
        id: small(ID).unwrap_or_default(),
        irq: small(IRQ),
        thread: small(PID),
        defer_hard_irqs: small(DEFER_HARD_IRQS).unwrap_or_default(),
        gro_flush_timeout_ns: told(GRO_FLUSH_TIMEOUT).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_none() {
        // A kernel before 6.8 does not know the question.
        if let Ok(found) = Napi::of(1) {
            assert_eq!(found, []);
        }
    }
}
