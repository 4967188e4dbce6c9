//! A switch on the device that carries its host's own traffic: what is the switch's goes through it, the host's goes on, and neither
//! notices the other, nor a change.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use command::{PATIENCE, Running, wait_for};
use rig::{NIC, Plug, Rig, has, run_in, shown};
use rigswitch::lab::{self, Host};
use serde_json::Value;

/// The switch's own MAC address on the shared device, where it has one.
const OWN: &str = "02:00:00:00:02:45";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A session of small messages between the host and the station on its wire, each answered and checked, over TCP and over UDP,
/// which sends nothing twice. They go on until this is ended.
struct Session {
    stop: &'static AtomicBool,
    ends: Vec<JoinHandle<u64>>,
}

impl Session {
    fn begin(host: &Host, station: &Host, at: IpAddr) -> Self {
        let stop: &'static AtomicBool = Box::leak(Box::default());
        let listener = host.run(|| TcpListener::bind((at, 0))).unwrap().unwrap();
        let server = host.run(|| UdpSocket::bind((at, 0))).unwrap().unwrap();
        let here: SocketAddr = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let client = station.run(|| UdpSocket::bind(here)).unwrap().unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let to = listener.local_addr().unwrap();
        let stream = station.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().unwrap();
        let (echoing, _) = listener.accept().unwrap();
        for tcp in [&stream, &echoing] {
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            tcp.set_nodelay(true).unwrap();
        }
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        thread::spawn(move || echo_stream(echoing));
        thread::spawn(move || echo_datagrams(&server));
        let ends = vec![
            thread::spawn(move || {
                let mut stream = stream;
                let send = |message: &[u8]| (&stream).write_all(message);
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let message = message(count);
                    send(&message).unwrap();
                    let mut answer = [0; 40];
                    (&stream).read_exact(&mut answer).unwrap_or_else(|e| panic!("TCP, {count}: {e}"));
                    assert_eq!(answer, message);
                    count += 1;
                }
                stream.flush().unwrap();
                count
            }),
            thread::spawn(move || {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let message = message(count);
                    client.send(&message).unwrap();
                    let mut answer = [0; 100];
                    let length = lab::uninterrupted(|| client.recv(&mut answer));
                    let length = length.unwrap_or_else(|e| panic!("UDP, {count}: {e}"));
                    assert_eq!(answer[..length], message);
                    count += 1;
                }
                count
            }),
        ];
        Self { stop, ends }
    }

    /// Every message of either was answered, and there were some.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for end in self.ends {
            let count = end.join().unwrap();
            assert!(count > 10, "{count} messages");
        }
    }
}

fn message(count: u64) -> [u8; 40] {
    let mut message = [0x5a; 40];
    message[..8].copy_from_slice(&count.to_be_bytes());
    message
}

fn echo_stream(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = lab::uninterrupted(|| stream.read(&mut buffer)) {
        if stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

fn echo_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], from);
    }
}

fn reaches(host: &Host, target: &str) {
    let target = address(target);
    wait_for(&format!("{} to reach {target}", host.name()), || {
        lab::ping(host, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

/// The middle is a host, 192.168.32.5 and fd32::5 on `p0`; h0 is a station on that wire, .246; h1 is a container behind the switch,
/// 172.245.0.2, which has `p1` for itself.
struct Site {
    rig: Rig,
}

impl Site {
    fn new(test: &str) -> Option<Self> {
        let rig = has(test, "ip").then(|| Rig::new(test, &[Plug::Veth, Plug::Veth], 1500))??;
        for (host, device, number) in [(&rig.center, "p0", "5"), (&rig.hosts[0], NIC, "246")] {
            for knob in ["all", device] {
                run_in(host, &format!("sysctl -q -w net.ipv6.conf.{knob}.disable_ipv6=0"));
            }
            host.add_address(device, address(&format!("192.168.32.{number}")), 24).unwrap();
            host.add_address(device, address(&format!("fd32::{number}")), 64).unwrap();
        }
        rig.hosts[1].add_address(NIC, address("172.245.0.2"), 24).unwrap();
        run_in(&rig.hosts[1], "ip route add default via 172.245.0.1");
        Some(Self { rig })
    }

    /// A configuration with these lines for the shared port, and these addresses there.
    fn config(&self, keys: &str, addresses: &[&str]) -> String {
        let center = self.rig.center.name();
        let mut text = format!(
            "[switch]\nmac_table = 1024\n\
             [[port]]\nname = \"u0\"\nnetns = \"{center}\"\nxdp = {{ device = \"p0\", take = \"mine\" }}\n{keys}\
             [[port]]\nname = \"c1\"\nnetns = \"{center}\"\nxdp = \"p1\"\n\
             [[address]]\ndevice = \"c1\"\naddress = \"172.245.0.1/24\"\n"
        );
        for address in addresses {
            text += &format!("[[address]]\ndevice = \"u0\"\naddress = \"{address}\"\n");
        }
        text
    }

    fn start(&self, keys: &str, addresses: &[&str]) -> Running {
        self.rig.folder.start(&self.config(keys, addresses))
    }

    fn apply(&self, keys: &str, addresses: &[&str]) {
        self.rig.folder.write("rig.toml", &self.config(keys, addresses));
        self.rig.folder.ask("apply rig.toml");
    }

    fn station(&self) -> &Host {
        &self.rig.hosts[0]
    }

    /// Begins sessions with the host itself, over IPv4 and IPv6.
    fn sessions(&self) -> [Session; 2] {
        ["192.168.32.5", "fd32::5"].map(|at| Session::begin(&self.rig.center, self.station(), address(at)))
    }

    /// What the station knows the link-layer address of `of` to be.
    fn neighbor(&self, of: &str) -> String {
        let told: Value =
            serde_json::from_str(&run_in(self.station(), &format!("ip -j neigh show {of}"))).unwrap();
        told[0]["lladdr"].as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_host_and_a_switch_live_on_one_device_whatever_changes() {
    let Some(site) = Site::new("shared-change") else { return };
    let sessions = site.sessions();
    let _switch = site.start("", &["192.168.32.245/24", "fd32::245/64"]);
    let late = site.sessions();
    let device = site.rig.center.netdev("p0").unwrap().mac().unwrap().to_string();
    reaches(site.station(), "192.168.32.245");
    reaches(site.station(), "fd32::245");
    assert_eq!(site.neighbor("192.168.32.245"), device, "one station to the wire");
    for round in 0..10 {
        let number = 200 + round;
        let (v4, v6) = (format!("192.168.32.{number}"), format!("fd32::{number}"));
        site.apply("", &[&format!("{v4}/24"), "192.168.32.245/24", &format!("{v6}/64")]);
        for ours in [&v4, &v6, "192.168.32.245", "192.168.32.5", "fd32::5"] {
            reaches(site.station(), ours);
        }
    }
    // Ours no more, and nobody else's: nobody answers.
    let gone =
        lab::ping(site.station(), address("192.168.32.201"), 1, 10, Duration::from_millis(500)).unwrap();
    assert_eq!(gone.lost(), 1);
    sessions.into_iter().chain(late).for_each(Session::end);
    let explain = |dst: &str| {
        site.rig.folder.ask(&format!("explain --port u0 eth dst=ff:ff:ff:ff:ff:ff / arp dst={dst}"))
    };
    assert!(explain("192.168.32.5").contains("leaves it to the host"), "{}", explain("192.168.32.5"));
    assert!(explain("192.168.32.245").contains("a routed device"), "{}", explain("192.168.32.245"));
    let port = shown(&site.rig, "u0");
    assert_eq!((port.kind.as_str(), port.take.as_deref()), ("xdp", Some("mine")));
    // Every frame that came was for us: what the sessions said did not.
    assert!((50..2000).contains(&port.rx.packets) && port.rx.dropped == 0, "{port:?}");
    site.rig.settled();
}

#[test]
fn what_goes_on_through_the_switch_is_sent_to_an_address_of_its_own() {
    let Some(site) = Site::new("shared-through") else { return };
    let keys = format!("address = \"{OWN}\"\n");
    let _switch = site.start(&keys, &["192.168.32.245/24", "fd32::245/64"]);
    let sessions = site.sessions();
    let (station, container) = (site.station(), &site.rig.hosts[1]);
    run_in(station, "ip route add 172.245.0.0/24 via 192.168.32.245");
    for (from, to) in [(station, "172.245.0.2"), (container, "192.168.32.246"), (station, "fd32::245")] {
        reaches(from, to);
    }
    assert_eq!(site.neighbor("192.168.32.245"), OWN);
    assert_eq!(site.neighbor("fd32::245"), OWN);
    lab::tcp_transfer(station, container, (address("172.245.0.2"), 0).into(), 4 << 20).unwrap();
    lab::tcp_transfer(container, station, (address("192.168.32.246"), 0).into(), 4 << 20).unwrap();
    // To another address of its own, and to none; the station is told, or asks again.
    let other = "02:00:00:00:02:46";
    site.apply(&format!("address = \"{other}\"\n"), &["192.168.32.245/24"]);
    wait_for("the new address to be known", || {
        lab::ping(station, address("172.245.0.2"), 1, 10, PATIENCE).unwrap();
        (site.neighbor("192.168.32.245") == other).then_some(())
    });
    reaches(station, "172.245.0.2");
    sessions.into_iter().for_each(Session::end);
    site.rig.settled();
}

#[test]
fn what_is_the_hosts_is_not_taken() {
    let Some(site) = Site::new("shared-refused") else { return };
    let device = site.rig.center.netdev("p0").unwrap().mac().unwrap();
    let path = site.rig.folder.path("rig.toml");
    let refused = |text: &str, words: &str, why: &str| {
        std::fs::write(&path, text).unwrap();
        let said = site.rig.folder.say(words);
        assert!(said.code == Some(1) && said.err.contains(why), "{words}: {said:?}");
    };
    let same = "port u0: 192.168.32.5 is an address of this host too";
    refused(&site.config("", &["192.168.32.5/24"]), "run -c rig.toml", same);
    let mac = format!("address = \"{device}\"\n");
    let hosts = format!("port u0: {device} is the address of its device, and the host's");
    refused(&site.config(&mac, &["192.168.32.245/24"]), "run -c rig.toml", &hosts);

    let _switch = site.start("", &["192.168.32.245/24"]);
    let sessions = site.sessions();
    for (text, why) in [
        (site.config("", &["192.168.32.245/24", "192.168.32.5/24"]), same),
        (
            site.config("", &["192.168.32.245/24", "fd32::5/64"]),
            "port u0: fd32::5 is an address of this host too",
        ),
        (site.config(&mac, &["192.168.32.245/24"]), &hosts),
    ] {
        refused(&text, "apply rig.toml", why);
    }
    reaches(site.station(), "192.168.32.245");
    reaches(site.station(), "192.168.32.5");
    // Given to the host behind our back, it is the doctor who sees it.
    site.rig.center.add_address("p0", address("192.168.32.245"), 32).unwrap();
    let told = site.rig.folder.say("doctor");
    assert!(told.out.contains("192.168.32.245 is an address of the switch there too"), "{told:?}");
    sessions.into_iter().for_each(Session::end);
}

#[test]
fn a_device_that_comes_back_is_shared_as_before() {
    let Some(site) = Site::new("shared-back") else { return };
    let _switch = site.start("", &["192.168.32.245/24"]);
    reaches(site.station(), "192.168.32.245");
    site.rig.center.delete("p0").unwrap();
    site.rig.center.add_veth("p0", NIC, site.station().netns()).unwrap();
    for (host, device, own) in
        [(&site.rig.center, "p0", "192.168.32.5"), (site.station(), NIC, "192.168.32.246")]
    {
        host.add_address(device, address(own), 24).unwrap();
        host.set_up(device).unwrap();
    }
    reaches(site.station(), "192.168.32.245");
    reaches(site.station(), "192.168.32.5");
    site.rig.settled();
}
