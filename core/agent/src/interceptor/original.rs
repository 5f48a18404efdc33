//! The way back to the original pods.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kubetether_wire::RefusalCode;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::config::{Original, Target};
use crate::dial::{self, DialError};
use crate::resolve::Resolver;

/// How long the pod that a caller belongs to may take to answer before another is tried. Longer than between
/// equal addresses: a caller is not to lose its pod over one lost packet.
const AFFINITY: Duration = Duration::from_millis(1500);

/// Connects to an original of `caller` (of nobody in particular when not given). Cancel-safe.
pub(super) async fn connect(
    resolver: &Resolver,
    original: &Original,
    caller: Option<IpAddr>,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    let addresses = match timeout_at(deadline, addresses(resolver, original, caller)).await {
        Ok(addresses) => addresses?,
        Err(_) => {
            return Err(DialError {
                code: RefusalCode::TimedOut,
                text: "the original's name has no answer within the deadline".to_owned(),
            });
        }
    };
    let by_name = original.targets().iter().any(|target| matches!(target, Target::Name { .. }));
    dial::any(&addresses, if by_name { AFFINITY } else { dial::STAGGER }, deadline).await
}

/// The addresses of an original in the order in which `caller` is to try them. Cancel-safe.
pub(super) async fn addresses(
    resolver: &Resolver,
    original: &Original,
    caller: Option<IpAddr>,
) -> Result<Vec<SocketAddr>, DialError> {
    let mut addresses = Vec::new();
    for target in original.targets() {
        match target {
            Target::Address(address) => addresses.push(*address),
            Target::Name { host, port } => {
                let mut found = resolver.addresses(host).await.map_err(|error| DialError {
                    code: RefusalCode::NameNotFound,
                    text: format!("{host}: {error}"),
                })?;
                rank(&mut found, caller);
                addresses.extend(found.into_iter().map(|address| SocketAddr::new(address, *port)));
            }
        }
    }
    // Stable: the order within a family stays.
    addresses.sort_by_key(|address| caller.is_some_and(|caller| caller.is_ipv4() != address.is_ipv4()));
    Ok(addresses)
}

/// Rendezvous hashing: each caller has an order of its own over all addresses, the same in every interceptor and
/// after every restart; when one address goes, only its own callers move.
fn rank(addresses: &mut [IpAddr], caller: Option<IpAddr>) {
    let Some(caller) = caller else {
        addresses.sort_unstable();
        return;
    };
    addresses.sort_by_cached_key(|address| (std::cmp::Reverse(weight(caller, *address)), *address));
}

fn weight(caller: IpAddr, address: IpAddr) -> u64 {
    let bytes = |ip: IpAddr| ip.to_canonical();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for ip in [bytes(caller), bytes(address)] {
        let octets = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        // FNV-1a.
        for octet in octets {
            hash = (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    // Its high bits hardly depend on the last octets: mix once more.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn pods() -> Vec<IpAddr> {
        (1..=5).map(|last| ip(&format!("10.244.0.{last}"))).collect()
    }

    fn first(mut pods: Vec<IpAddr>, caller: IpAddr) -> IpAddr {
        rank(&mut pods, Some(caller));
        pods[0]
    }

    #[test]
    fn a_caller_keeps_its_pod_whatever_the_order_of_the_answer() {
        let mut turned = pods();
        turned.rotate_left(2);
        for last in 0..100 {
            let caller = ip(&format!("10.1.2.{last}"));
            assert_eq!(first(pods(), caller), first(turned.clone(), caller));
        }
    }

    #[test]
    fn callers_spread_and_only_those_of_a_lost_pod_move() {
        let callers: Vec<IpAddr> = (0..2000).map(|n| ip(&format!("10.1.{}.{}", n / 250, n % 250))).collect();
        let mut spread: HashMap<IpAddr, usize> = HashMap::new();
        let less: Vec<IpAddr> = pods().into_iter().skip(1).collect();
        for caller in &callers {
            let before = first(pods(), *caller);
            *spread.entry(before).or_default() += 1;
            if before != pods()[0] {
                assert_eq!(first(less.clone(), *caller), before);
            }
        }
        assert_eq!(spread.len(), 5);
        assert!(spread.values().all(|count| (300..500).contains(count)), "{spread:?}");
    }

    #[tokio::test]
    async fn the_callers_family_is_tried_first() {
        let resolver = Resolver::new("/nowhere".into(), None);
        let (v4, v6): (SocketAddr, SocketAddr) =
            ("10.0.0.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap());
        let original = Original::new(vec![Target::Address(v4), Target::Address(v6)]);
        for (caller, expected) in
            [(Some(ip("fd00::9")), [v6, v4]), (Some(ip("10.0.0.9")), [v4, v6]), (None, [v4, v6])]
        {
            assert_eq!(addresses(&resolver, &original, caller).await.unwrap(), expected);
        }
    }
}
