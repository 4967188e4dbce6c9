//! What a tunnel puts around a packet, in words, and the line that says so.

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::{Reach, RemoteId};

use super::words::Setting;

/// To which far end, and by which way.
pub(super) fn encapsulated(
    setting: &Setting<'_>,
    tunnel: DeviceId,
    id: RemoteId,
) -> (String, Option<String>) {
    let remote = setting.tables.tunnels().remote(id);
    let name = |device: DeviceId| (setting.name)(device);
    let way = match remote.reach {
        Reach::Ready(device) => format!("by {}", name(device)),
        Reach::Failing(device) => format!("by {}, where errors came from", name(device)),
        Reach::Unresolved(device) => format!("by {}, where the next hop is not known yet", name(device)),
        Reach::NoRoute => "where no route leads".to_owned(),
        Reach::Loop => format!("where the route leads by {} itself", name(tunnel)),
    };
    let (local, far_end) = (remote.header.local(), remote.header.remote());
    let place = setting.origins.place(&["ipip", name(tunnel)], "remote");
    (format!("{} puts it in a packet from {local} to {far_end}, {way}", name(tunnel)), place)
}
