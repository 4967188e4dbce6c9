//! Whether an xdp port's frames are copied, and what they are copied for where its driver could do without.

use rigswitch_dataplane::ports::{PortKind, XdpConfig, XdpMode};

use super::Finding;
use crate::doctor::facts::{Device, Facts, Port};

/// Whether its frames are not copied: as the kernel has told the running switch, or as is to be expected.
pub(crate) fn is_zero_copy(port: &Port, device: &Device) -> bool {
    let PortKind::Xdp(XdpConfig { mode, .. }) = port.kind else { return false };
    let may = !matches!(mode, XdpMode::Generic | XdpMode::Copy);
    let expected = || {
        may && device.features.is_some_and(|features| features.zero_copy) && refusal(port, device).is_none()
    };
    port.zero_copy.unwrap_or_else(expected)
}

/// Why a driver that has zero-copy will not give it to this port.
struct Refusal {
    why: String,
    evidence: String,
    fix: String,
}

// include/uapi/linux/virtio_config.h
const ACCESS_PLATFORM: u32 = 33;
const RING_RESET: u32 = 40;

fn refusal(port: &Port, device: &Device) -> Option<Refusal> {
    let features = device.features?;
    let (end, driver) = (&device.end, device.driver.as_deref().unwrap_or("none"));
    let mtu = port.carries().unwrap_or(end.mtu);
    if mtu > XdpConfig::LONGEST_WHOLE && features.zero_copy_buffers < 2 {
        return Some(Refusal {
            why: format!(
                "frames of an MTU of {mtu} take several buffers, and without copying its driver ({driver}) has one"
            ),
            evidence: format!(
                "IFLA_MTU: {mtu}; NETDEV_A_DEV_XDP_ZC_MAX_SEGS: {}",
                features.zero_copy_buffers
            ),
            fix: end.set(&format!("mtu {}", XdpConfig::LONGEST_WHOLE)),
        });
    }
    // `virtnet_xsk_pool_enable` asks for a device that does DMA (`virtqueue_dma_dev`), and has its queues reset (`virtqueue_reset`).
    let missing = |bit: u32, why: &str, option: &str| {
        let agreed = device.virtio.filter(|agreed| agreed & 1 << bit == 0)?;
        Some(Refusal {
            why: format!("{why}, without which its driver ({driver}) refuses zero-copy"),
            evidence: format!("features of its virtio device: {agreed:#x}, without bit {bit}"),
            fix: format!("# have its virtual machine started with {option} for the card"),
        })
    };
    missing(
        ACCESS_PLATFORM,
        "the card reads memory past the kernel's DMA",
        "iommu_platform=on,disable-legacy=on",
    )
    .or_else(|| missing(RING_RESET, "the card cannot reset a single queue", "queue_reset=on"))
}

pub(super) fn zero_copy(facts: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let PortKind::Xdp(XdpConfig { mode, .. }) = &port.kind else { return Vec::new() };
    let Some(features) = device.features else { return Vec::new() };
    let auto = || facts.set_port(port, "xdp", "mode", "\"auto\"");
    let is_wanted = *mode == XdpMode::ZeroCopy;
    if !features.zero_copy {
        let driver = device.driver.as_deref().unwrap_or("none");
        return match is_wanted && !port.is_running {
            true => vec![Finding::error(
                format!("its driver ({driver}) has no zero-copy: the port will not start in this mode"),
                "NETDEV_A_DEV_XDP_FEATURES: no xsk-zerocopy",
                auto(),
            )],
            false => Vec::new(),
        };
    }
    match (mode, refusal(port, device)) {
        (XdpMode::ZeroCopy, Some(Refusal { why, evidence, fix })) if !port.is_running => {
            let fix = if fix.starts_with('#') { auto() } else { fix };
            vec![Finding::error(format!("{why}: the port will not start in this mode"), evidence, fix)]
        }
        (XdpMode::Auto | XdpMode::Native, Some(Refusal { why, evidence, fix }))
            if port.zero_copy != Some(true) =>
        {
            vec![Finding::warning(format!("every frame is copied: {why}"), evidence, fix)]
        }
        (XdpMode::Copy, None) if !port.is_running => vec![Finding::warning(
            "every frame is copied, and the driver could do without",
            "mode = \"copy\"; NETDEV_A_DEV_XDP_FEATURES: xsk-zerocopy",
            auto(),
        )],
        _ => Vec::new(),
    }
}
