//! The interceptor as a process where the kernel has few local ports: in a network of its own.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
#![allow(clippy::print_stdout, reason = "what is left out is told")]

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

mod support;

use support::scene::Scene;
use support::server::ask_from;

const INSIDE: &str = "KUBETETHER_TEST_OWN_NETWORK";
const NAME: &str = "ports_that_only_wait_are_used_again";

/// Ten times as many connections as there are ports, each ended by its caller first: its port towards the original
/// waits for a minute then.
#[tokio::test]
#[ignore = "needs root"]
async fn ports_that_only_wait_are_used_again() {
    if std::env::var_os(INSIDE).is_none() {
        return again_in_a_network_of_its_own();
    }
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "33000 33099").unwrap();
    // By default the kernel uses them again on loopback addresses, and only there.
    fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "0").unwrap();
    let connections: u32 =
        std::env::var("KUBETETHER_TEST_CONNECTIONS").map_or(1000, |text| text.parse().unwrap());
    let scene = Scene::new().await;
    let begin = std::time::Instant::now();
    for number in 0..connections {
        // Callers have ports enough: each has an address of its own.
        let caller = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 250, 0, 1)) + number);
        let answer = ask_from(caller.into(), scene.exposed(), "x").await;
        assert_eq!(answer.unwrap(), "original 80:x", "connection {number}\n{}", scene.agent.log());
    }
    println!("{connections} connections in {:.1?}", begin.elapsed());
}

fn again_in_a_network_of_its_own() {
    if !Command::new("unshare").args(["--net", "true"]).status().unwrap().success() {
        println!("left out: no network namespaces here");
        return;
    }
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--include-ignored", "--nocapture"])
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{told}");
}
