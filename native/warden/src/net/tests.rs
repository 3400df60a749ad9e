//! Tests in network namespaces of their own. They need root and iproute2.

use super::facts::NetFamily;
use super::{NetFacts, look, loopback_up, tap};
use crate::error::Result;
use crate::plan::{Owner, Tap};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Command;

/// Runs `body` in a thread with a network namespace of its own, gone afterwards.
fn in_new_namespace<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only the network namespace is unshared, which touches no memory or fd of other threads.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests of the network need root");
            body()
        });
        thread.join().expect("the thread of the test")
    })
}

/// Runs a program in the calling thread's namespace and returns its output.
fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().expect("a program"))
        .args(words)
        .output()
        .expect("the program runs");
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A veth pair with addresses and routes at its near end.
fn make_eth0() {
    run("ip link add eth0 address 02:00:00:00:00:07 mtu 1400 type veth peer name far");
    run("ip addr add 10.9.8.7/24 dev eth0");
    run("ip addr add fd00:9::7/64 dev eth0 nodad");
    run("ip link set eth0 up");
    run("ip link set far up");
    run("ip route add default via 10.9.8.1 metric 50");
    run("ip route add 192.168.77.0/24 via 10.9.8.2");
    run("ip route add blackhole 192.168.78.0/24");
    run("ip -6 route add default via fd00:9::1");
}

#[test]
fn a_new_namespace_is_seen_empty_and_its_loopback_comes_up() {
    in_new_namespace(|| {
        assert_eq!(look(None).expect("look"), NetFacts::default());
        loopback_up().expect("loopback");
        assert!(run("ip -o addr show dev lo").contains("127.0.0.1/8"));
        assert_eq!(look(None).expect("look"), NetFacts::default());
    });
}

#[test]
fn every_interface_address_and_route_is_seen() {
    in_new_namespace(|| {
        make_eth0();
        let dns =
            serde_json::json!({"dns": {"nameservers": ["1.1.1.1", "no address"], "domain": "a.example"}});
        let facts = look(Some(&dns)).expect("look");
        let eth0 = facts
            .interfaces
            .iter()
            .find(|one| one.name == "eth0")
            .expect("eth0");
        assert_eq!(
            (eth0.mac.as_str(), eth0.mtu, eth0.up),
            ("02:00:00:00:00:07", 1400, true)
        );
        let addresses: Vec<_> = eth0
            .addresses
            .iter()
            .map(|one| (one.family, one.address.as_str(), one.prefix))
            .collect();
        assert_eq!(
            addresses,
            [
                (NetFamily::Ipv4, "10.9.8.7", 24),
                (NetFamily::Ipv6, "fd00:9::7", 64)
            ]
        );
        let mut routes: Vec<_> = facts
            .routes
            .iter()
            .map(|route| {
                (
                    route.destination.as_str(),
                    route.gateway.as_deref(),
                    route.interface.as_str(),
                )
            })
            .collect();
        routes.sort();
        assert_eq!(
            routes,
            [
                ("0.0.0.0/0", Some("10.9.8.1"), "eth0"),
                ("10.9.8.0/24", None, "eth0"),
                ("192.168.77.0/24", Some("10.9.8.2"), "eth0"),
                ("::/0", Some("fd00:9::1"), "eth0"),
                ("fd00:9::/64", None, "eth0"),
            ]
        );
        assert_eq!(
            (facts.dns.servers, facts.dns.search),
            (vec!["1.1.1.1".into()], vec!["a.example".into()])
        );
    });
}

#[test]
fn routes_over_several_next_hops_and_by_metric_are_in_order() {
    in_new_namespace(|| {
        make_eth0();
        run("ip route add default via 10.9.8.9 metric 5");
        run("ip route add 172.31.0.0/16 nexthop via 10.9.8.3 nexthop via 10.9.8.4");
        let facts = look(None).expect("look");
        let gateways = |destination: &str| -> Vec<String> {
            let found = facts
                .routes
                .iter()
                .filter(|route| route.destination == destination);
            found.filter_map(|route| route.gateway.clone()).collect()
        };
        assert_eq!(gateways("0.0.0.0/0"), ["10.9.8.9", "10.9.8.1"]);
        assert_eq!(gateways("172.31.0.0/16"), ["10.9.8.3", "10.9.8.4"]);
    });
}

fn wanted(name: &str, mtu: u32, redirect: Option<&str>) -> Tap {
    Tap {
        name: name.into(),
        mtu,
        redirect: redirect.map(str::to_string),
        vnet_header: false,
        owner: None,
    }
}

fn make(name: &str, mtu: u32, redirect: Option<&str>) -> Result<OwnedFd> {
    tap::create(&wanted(name, mtu, redirect))
}

#[test]
fn an_owner_opens_a_tap_by_its_name_and_it_stays_until_it_is_removed() {
    in_new_namespace(|| {
        let owned = Tap {
            vnet_header: true,
            owner: Some(Owner { uid: 4711, gid: 4712 }),
            ..wanted("tap0", 1400, None)
        };
        drop(tap::create(&owned).expect("tap"));
        let shown = run("ip -d link show dev tap0");
        for word in ["mtu 1400", "persist on", "vnet_hdr on", "user 4711", "group 4712"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        for _ in 0..2 {
            tap::remove("tap0").expect("remove");
            assert!(!run("ip -o link").contains("tap0"));
        }
    });
}

#[test]
fn a_tap_is_up_silent_and_gone_with_its_fd() {
    in_new_namespace(|| {
        let fd = make("tap0", 1400, None).expect("tap");
        let shown = run("ip -d addr show dev tap0");
        assert!(
            shown.contains("mtu 1400") && shown.contains("UP") && shown.contains("persist off"),
            "{shown}"
        );
        assert!(!shown.contains("inet6"), "{shown}");
        let taken = make("tap0", 1400, None).expect_err("the name is taken");
        assert_eq!(taken.errno.as_deref(), Some("EBUSY"), "{taken}");
        drop(fd);
        assert!(!run("ip -o link").contains("tap0"));
    });
}

#[test]
fn bad_names_and_sizes_are_refused() {
    in_new_namespace(|| {
        for name in ["", ".", "a/b", "sixteen-letters-", "a b", "a\0b"] {
            assert_eq!(make(name, 1500, None).expect_err(name).code, "bad-request");
        }
        assert_eq!(make("tap0", 67, None).expect_err("mtu").code, "bad-request");
        let missing = make("tap0", 1500, Some("eth7")).expect_err("no such interface");
        assert!(missing.message.contains("eth7"), "{missing}");
        assert!(!run("ip -o link").contains("tap0"));
    });
}

/// An Ethernet frame of a local experimental type, padded to the smallest size.
fn frame(mark: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x88, 0xb5];
    bytes.resize(60, mark);
    bytes
}

/// Reads frames until one of ours with `mark` comes; other frames (IPv6's own) pass by.
fn wait_for(mut file: &std::fs::File, mark: u8) {
    let mut buffer = [0u8; 2048];
    for _ in 0..2000 {
        match file.read(&mut buffer) {
            Ok(length) if buffer[..length] == frame(mark) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the frame {mark} never came");
}

#[test]
fn frames_pass_both_ways_and_the_redirect_leaves_nothing() {
    in_new_namespace(|| {
        // Two taps stand for the guest and the world: what the world sends arrives at `eth0`.
        let mut world = std::fs::File::from(make("eth0", 1500, None).expect("eth0"));
        let mut guest = std::fs::File::from(make("tap0", 1500, Some("eth0")).expect("tap0"));
        world.write_all(&frame(1)).expect("send");
        wait_for(&guest, 1);
        guest.write_all(&frame(2)).expect("send");
        wait_for(&world, 2);
        let shown = run("tc filter show dev eth0 ingress");
        assert!(
            shown.contains("u32") && shown.contains("Redirect to device tap0"),
            "{shown}"
        );
        let again = make("tap1", 1500, Some("eth0")).expect_err("eth0 is taken");
        assert!(again.message.contains("tc qdisc del dev eth0 ingress"), "{again}");
        drop(guest);
        for _ in 0..2 {
            tap::remove_redirect("eth0").expect("remove");
            assert_eq!(run("tc filter show dev eth0 ingress"), "");
            assert!(!run("tc qdisc show dev eth0").contains("ingress"));
        }
        tap::remove_redirect("eth9").expect("an interface that is gone");
    });
}

#[test]
fn filters_of_others_are_left_alone() {
    in_new_namespace(|| {
        make_eth0();
        run("tc qdisc add dev eth0 ingress");
        run("tc filter add dev eth0 parent ffff: protocol ip u32 match u32 0 0 flowid 1:1");
        assert!(make("tap0", 1500, Some("eth0")).is_err());
        tap::remove_redirect("eth0").expect("remove");
        assert!(run("tc filter show dev eth0 ingress").contains("u32"));
        run("tc qdisc del dev eth0 ingress");
        run("tc qdisc add dev eth0 ingress");
        tap::remove_redirect("eth0").expect("remove");
        assert!(
            !run("tc qdisc show dev eth0").contains("ingress"),
            "an empty queue is a killed warden's"
        );
    });
}

#[test]
fn looking_and_a_redirected_tap_take_less_than_two_milliseconds() {
    in_new_namespace(|| {
        make_eth0();
        let best = (0..20)
            .map(|_| {
                let start = std::time::Instant::now();
                look(None).expect("look");
                let fd = make("tap0", 1400, Some("eth0")).expect("tap");
                let took = start.elapsed();
                drop(fd);
                tap::remove_redirect("eth0").expect("remove");
                took
            })
            .min()
            .expect("twenty times");
        println!("look, tap and redirect: {best:?}");
        assert!(best < std::time::Duration::from_millis(2), "{best:?}");
    });
}
