//! Accounts: the principal or the address in whose share of a limit a session, task or call counts.
//!
//! A request with a principal counts in the account of the principal. A request without one counts
//! in the account of its address, so that one client cannot take everything. An account is only a
//! key for counting: it gives no access to sessions or tasks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::principal::Principal;

/// The address of a client without a [`Principal`]: an IPv4 address, or the /64 network of an IPv6
/// address, which is what one subscriber usually has.
///
/// It selects the share of a limit in which something counts, as in
/// [`Sessions::max_sessions_per_peer`](crate::Sessions::max_sessions_per_peer). It grants no access: a session
/// belongs to its principal, and a session without a principal to every client that has its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer(IpAddr);

impl Peer {
    /// Makes the peer of an address. An IPv4 address mapped into IPv6 is treated as the IPv4
    /// address.
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

/// Writes an IPv4 address, or a network such as `2001:db8::/64`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// The owner of a share of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    Principal(Principal),
    Peer(Peer),
}

impl Account {
    /// Returns the account of the principal, or else of the peer; `None` if neither is known.
    pub(crate) fn of(principal: Option<&Principal>, peer: Option<Peer>) -> Option<Self> {
        principal.map(|principal| Self::Principal(principal.clone())).or_else(|| peer.map(Self::Peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_ipv4_addresses_or_ipv6_networks() {
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
