//! A part of 127/8 of its own for each embedded cluster: `127.N.0.0/16`.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

/// Taken as long as the cluster lives, so that no other takes its part.
const GUARD: u16 = 47099;

/// Hands out the addresses of one cluster: pods below `127.N.128.0`, Services above.
#[derive(Debug)]
pub(crate) struct Addresses {
    part: u8,
    used: BTreeSet<Ipv4Addr>,
    // pods, Services: where to look next
    next: [u16; 2],
    _guard: TcpListener,
}

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Pod,
    Service,
}

/// Of addresses for one use.
const EACH: u16 = 0x8000;
/// The first ones are the cluster's own.
const FIRST: u16 = 0x100;

impl Addresses {
    /// Takes a part that no other cluster of this machine has.
    pub(crate) fn claim() -> io::Result<Self> {
        let start = rand::random_range(2..=250_u8);
        let mut last = io::Error::other("no part of 127/8 is free");
        for step in 0..249_u8 {
            let part = 2 + (u16::from(start - 2) + u16::from(step)) as u8 % 249;
            match TcpListener::bind(SocketAddrV4::new(Ipv4Addr::new(127, part, 0, 1), GUARD)) {
                Ok(guard) => {
                    return Ok(Self { part, used: BTreeSet::new(), next: [FIRST; 2], _guard: guard });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The cluster's own addresses: 1 is the node's, 10 the name server's.
    pub(crate) fn own(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.part, 0, number)
    }

    /// The range of an use, as CIDR.
    pub(crate) fn range(&self, what: Use) -> String {
        format!("{}/17", Ipv4Addr::new(127, self.part, if what == Use::Pod { 0 } else { 128 }, 0))
    }

    /// A free address; none when all are taken. One that was given back comes last.
    pub(crate) fn take(&mut self, what: Use) -> Option<Ipv4Addr> {
        let at = usize::from(what == Use::Service);
        for _ in 0..EACH {
            let number = self.next[at];
            self.next[at] = if number + 1 == EACH { FIRST } else { number + 1 };
            let address = self.address(what, number);
            if !matches!(address.octets()[3], 0 | 255) && self.used.insert(address) {
                return Some(address);
            }
        }
        None
    }

    /// Takes an address that somebody asked for; `Err` tells the range it has to be of.
    pub(crate) fn take_this(&mut self, text: &str) -> Result<bool, String> {
        let address: Option<Ipv4Addr> = text.parse().ok();
        let within = address.filter(|one| one.octets()[..2] == [127, self.part] && one.octets()[2] >= 128);
        within.map(|address| self.used.insert(address)).ok_or_else(|| self.range(Use::Service))
    }

    /// Gives an address back; anything else is passed over.
    pub(crate) fn free(&mut self, text: &str) {
        if let Ok(address) = text.parse() {
            self.used.remove(&address);
        }
    }

    fn address(&self, what: Use, number: u16) -> Ipv4Addr {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(127, self.part, high + if what == Use::Service { 128 } else { 0 }, low)
    }
}
