//! Who a frame is for among macvlans, in words, and the line that says so.

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::macvlan::Ruling;
use rigswitch_dataplane::wire::ethernet::Ethernet;

use super::words::Setting;

/// What was found of the frame of these bytes, and where the file decides it.
pub(super) fn ruling(setting: &Setting<'_>, ruling: Ruling, bytes: &[u8]) -> (String, Option<String>) {
    let name = |device: DeviceId| (setting.name)(device);
    let (destination, source) = Ethernet::view(bytes)
        .map_or((MacAddr::ZERO, MacAddr::ZERO), |header| (header.destination(), header.source()));
    let (text, device, key) = match ruling {
        Ruling::Source(child) => {
            (format!("{source} is one of those that {} hears", name(child)), child, "macaddr")
        }
        Ruling::Address(child) => (format!("{destination} is {}", name(child)), child, "mac"),
        Ruling::Whole(child) => (format!("{} takes everything", name(child)), child, "mode"),
        Ruling::All => return ("to a group: to all macvlans but those of mode source".into(), None),
        Ruling::Back(child) => {
            let text = format!("to a group, and from {} itself: back to it alone", name(child));
            (text, child, "mode")
        }
        Ruling::Reflected(child) => {
            let text =
                format!("to a group, and from {}: back for the others of mode vepa and bridge", name(child));
            (text, child, "mode")
        }
        Ruling::ReflectedToVepas(child) => {
            let text = format!(
                "to a group, and from {}: back for those of mode vepa, as those of mode bridge have it",
                name(child)
            );
            (text, child, "mode")
        }
        Ruling::Siblings(child) => (
            format!("to a group: to the others of mode bridge beside {}, and out", name(child)),
            child,
            "mode",
        ),
        Ruling::Out(child) => (format!("from {}: out", name(child)), child, "mode"),
    };
    (text, setting.origins.place(&["macvlan", name(device)], key))
}
