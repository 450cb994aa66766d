//! A port that is kept for a server, also while that server is down.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

/// A port that the kernel gave.
///
/// It is bound but doesn't listen. With `SO_REUSEADDR` on both sides, which
/// Redis sets, a server can bind and listen there as well, as often as it
/// likes; and the kernel gives the port to nobody else meanwhile.
pub(crate) struct Port {
    number: u16,
    _kept: OwnedFd,
}

impl Port {
    /// A free port.
    pub(crate) fn keep() -> Port {
        Port::keep_on(Ipv4Addr::LOCALHOST)
    }

    /// A free port of an address of this host's.
    pub(crate) fn keep_on(address: Ipv4Addr) -> Port {
        let kept = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        sockopt::set_socket_reuseaddr(&kept, true).unwrap();
        bind(&kept, &SocketAddrV4::new(address, 0)).unwrap();
        let address = SocketAddr::try_from(getsockname(&kept).unwrap()).unwrap();
        Port { number: address.port(), _kept: kept }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
