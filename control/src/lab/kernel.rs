//! Devices of the kernel's that forward in a host: what our switch is compared with.

use std::net::Ipv4Addr;

use rigswitch_dataplane::ids::MacAddr;
use rtnetlink::packet_route::link::{MacVlanMode, VlanProtocol};
use rtnetlink::{
    LinkBridge, LinkIpIp, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVlan, LinkVxlan,
    RouteMessageBuilder,
};

use super::link::{index_of, request};
use super::{Host, LabError};

impl Host {
    /// Makes a bridge of these devices, up, with the kernel's defaults but for its netfilter, which no switch of ours has.
    ///
    /// # Errors
    /// When there is one, or a device is not there.
    pub fn add_bridge(&self, bridge: &str, members: &[&str]) -> Result<(), LabError> {
        let doing = || format!("making the bridge {bridge}");
        let new = LinkBridge::new(bridge).build();
        request(
            self.netns(),
            doing(),
            move |netlink| async move { netlink.link().add(new).execute().await },
        )?;
        // Where the kernel has no such filter, there is nothing to turn off.
        self.run(|| drop(std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0")))?;
        let master = index_of(self.netns(), bridge, &doing())?;
        for member in members {
            let change = LinkUnspec::new_with_name(member).controller(master).build();
            request(self.netns(), doing(), move |netlink| async move {
                netlink.link().set(change).execute().await
            })?;
        }
        Ok(())
    }

    /// Makes a device for a VLAN of `link`, up; of an S-tag, if `is_service`.
    ///
    /// # Errors
    /// When the kernel has no such devices, or there is no `link`.
    pub fn add_vlan(&self, device: &str, link: &str, id: u16, is_service: bool) -> Result<(), LabError> {
        let doing = format!("making the VLAN device {device}");
        let index = index_of(self.netns(), link, &doing)?;
        let protocol = if is_service { VlanProtocol::Ieee8021Ad } else { VlanProtocol::Ieee8021Q };
        let new =
            LinkMessageBuilder::<LinkVlan>::new(device).id(id).protocol(protocol).link(index).up().build();
        request(self.netns(), doing, move |netlink| async move { netlink.link().add(new).execute().await })
    }

    /// Makes a macvlan of `link` in bridge mode, down, with this address.
    ///
    /// # Errors
    /// When the kernel has no such devices, or there is no `link`.
    pub fn add_macvlan(&self, device: &str, link: &str, mac: MacAddr) -> Result<(), LabError> {
        let doing = format!("making the macvlan {device}");
        let index = index_of(self.netns(), link, &doing)?;
        let new = LinkMacVlan::new(device, index, MacVlanMode::Bridge).address(mac.octets().to_vec()).build();
        request(self.netns(), doing, move |netlink| async move { netlink.link().add(new).execute().await })
    }

    /// Makes a VXLAN device, up, whose only destination is `remote`, and which leaves out the UDP checksum (RFC 7348, 5).
    ///
    /// # Errors
    /// When the kernel has no such devices, or one for the same network.
    pub fn add_vxlan(
        &self,
        device: &str,
        vni: u32,
        local: Ipv4Addr,
        remote: Ipv4Addr,
        port: u16,
    ) -> Result<(), LabError> {
        let doing = format!("making the VXLAN device {device}");
        let new =
            LinkVxlan::new(device, vni).local(local).remote(remote).port(port).udp_csum(false).up().build();
        request(self.netns(), doing, move |netlink| async move { netlink.link().add(new).execute().await })
    }

    /// Makes an IPIP device, up.
    ///
    /// # Errors
    /// When the kernel has no such devices, or one between the same ends.
    pub fn add_ipip(&self, device: &str, local: Ipv4Addr, remote: Ipv4Addr) -> Result<(), LabError> {
        let doing = format!("making the IPIP device {device}");
        let new = LinkMessageBuilder::<LinkIpIp>::new(device).local(local).remote(remote).up().build();
        request(self.netns(), doing, move |netlink| async move { netlink.link().add(new).execute().await })
    }

    /// Adds a route by a device.
    ///
    /// # Errors
    /// When there is one, or no such device.
    pub fn add_route_by(&self, to: Ipv4Addr, prefix_length: u8, device: &str) -> Result<(), LabError> {
        let doing = format!("adding the route to {to}/{prefix_length}");
        let index = index_of(self.netns(), device, &doing)?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, prefix_length);
        let route = route.output_interface(index).build();
        request(self.netns(), doing, move |netlink| async move { netlink.route().add(route).execute().await })
    }

    /// Adds a route by a gateway.
    ///
    /// # Errors
    /// When there is one, or nobody could reach the gateway.
    pub fn add_route(&self, to: Ipv4Addr, prefix_length: u8, via: Ipv4Addr) -> Result<(), LabError> {
        let doing = format!("adding the route to {to}/{prefix_length}");
        let route =
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, prefix_length).gateway(via).build();
        request(self.netns(), doing, move |netlink| async move { netlink.route().add(route).execute().await })
    }

    /// Lets packets through from one device to another.
    ///
    /// # Errors
    /// When the file system is read-only.
    pub fn forward(&self) -> Result<(), LabError> {
        let written = self.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
        written.map_err(LabError::system(format!("having {} forward", self.name())))
    }
}
