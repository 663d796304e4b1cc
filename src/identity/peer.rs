//! Accounts: in whose share of a limit a session, a task or a call counts.
//!
//! A principal has an account. Where a request has none, the address it comes from has one, so that one client
//! cannot take what is there for all. An account is a key for counting and nothing else: it opens no session and
//! no task.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Principal;

/// The address a request without a [`Principal`] comes from: an IPv4 address, or the /64 network of an IPv6
/// address, which is what one subscriber usually has.
///
/// It says whose share of a limit something counts in, as in
/// [`Sessions::max_per_peer`](crate::Sessions::max_per_peer), and grants nothing: a session belongs to its principal,
/// and one without a principal to every client that has its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer(IpAddr);

impl Peer {
    /// The peer of an address. An IPv4 address mapped into IPv6 is an IPv4 address.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

/// An address, or a network as `2001:db8::/64`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// In whose share of a limit something counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    Principal(Principal),
    Peer(Peer),
}

impl Account {
    /// The principal's, or else the peer's; `None` where neither is known.
    pub(crate) fn of(principal: Option<&Principal>, peer: Option<Peer>) -> Option<Self> {
        principal.map(|principal| Self::Principal(principal.clone())).or_else(|| peer.map(Self::Peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_address_or_the_network_of_one() {
        let rows = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ];
        for (address, shown) in rows {
            assert_eq!(Peer::new(address.parse().unwrap()).to_string(), shown, "{address}");
        }
        let other = Peer::new("2001:db8:1:3::1".parse().unwrap());
        assert_ne!(Peer::new("2001:db8:1:2::1".parse().unwrap()), other);
    }

    #[test]
    fn a_principal_counts_before_its_address() {
        let (ann, peer) = (Principal::new("ann"), Peer::new("192.0.2.7".parse().unwrap()));
        assert_eq!(Account::of(Some(&ann), Some(peer)), Some(Account::Principal(ann)));
        assert_eq!(Account::of(None, Some(peer)), Some(Account::Peer(peer)));
        assert_eq!(Account::of(None, None), None);
    }
}
