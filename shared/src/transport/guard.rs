//! Keeps what a registry names (redirects, token realms) away from addresses inside the function's own machine.
//!
//! The Lambda Runtime API and the credential endpoints listen on loopback and link-local addresses: a registry that
//! could make a function fetch from there could read its credentials. Literal addresses are checked before the
//! request, names after they are resolved, in the resolver itself, so that no second look-up can answer otherwise.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::{Context, Poll},
    vec,
};

use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// A name or a literal leads where nothing that a registry names may lead.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host} leads to {address}, an address that a registry may not send a function to")]
pub(super) struct ForbiddenAddress {
    host: String,
    address: IpAddr,
}

/// Resolves names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolver {
    /// To all their addresses.
    Plain,
    /// Without loopback, link-local, unspecified and multicast addresses.
    ///
    /// Private addresses stay: a public name that resolves to one is how VPC interface endpoints work, and verified TLS
    /// says who is there.
    Guarded,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guarded = *self == Self::Guarded;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let (forbidden, allowed): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|address| guarded && inside_the_machine(address.ip()));
            match (allowed.is_empty(), forbidden.first()) {
                (true, Some(address)) => Err(ForbiddenAddress { host, address: address.ip() }.into()),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

/// Whether a literal address is none that a registry may lead to: the machine's own, or private.
#[must_use]
pub(super) fn forbidden_address(address: IpAddr) -> bool {
    let private = match canonical(address) {
        IpAddr::V4(v4) => v4.is_private() || shared(v4),
        // Unique local addresses, fc00::/7.
        IpAddr::V6(v6) => v6.segments()[0] & 0xfe00 == 0xfc00,
    };
    private || inside_the_machine(address)
}

fn inside_the_machine(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local() // 169.254.0.0/16: instance metadata, task credentials
                || v4.is_unspecified()
                || v4.octets()[0] == 0
                || v4.is_broadcast()
                || v4.is_multicast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.segments()[0] & 0xffc0 == 0xfe80 // link-local
                || v6.segments()[..2] == [0xfd00, 0x0ec2] // instance metadata, fd00:ec2::254
        }
    }
}

/// Carrier-grade NAT, 100.64.0.0/10 (RFC 6598): private in effect, and used inside VPCs.
fn shared(address: Ipv4Addr) -> bool {
    address.octets()[0] == 100 && address.octets()[1] & 0b1100_0000 == 64
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 one: they lead to the same place.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let s = v6.segments();
    let low = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, last] | [0x64, 0xff9b, 0, 0, 0, 0, high, last] => low(high, last),
        [0, 0, 0, 0, 0, 0, high, last] if v6 != Ipv6Addr::LOCALHOST && v6 != Ipv6Addr::UNSPECIFIED => low(high, last),
        [0x2002, high, last, ..] => low(high, last),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_and_private_ones_are_forbidden() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "169.254.170.2",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(forbidden_address(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "52.216.0.1", "2600:1f18::1", "100.128.0.1"] {
            assert!(!forbidden_address(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_by_the_resolver() {
        let refused = Resolver::Guarded.call("localhost".parse().unwrap()).await;
        assert!(refused.err().is_some_and(|error| error.downcast_ref::<ForbiddenAddress>().is_some()));
        assert!(Resolver::Plain.call("localhost".parse().unwrap()).await.is_ok_and(|mut found| found.next().is_some()));
    }
}
