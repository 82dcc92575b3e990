//! Who is at the other end of a loopback connection: every user of a machine reaches every port of it.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The system does not say whose connections there are.
    Unknown,
    /// Of another network namespace, or already gone.
    Elsewhere {
        /// Whether it has an address of the loopback interface all the same.
        loopback: bool,
    },
    /// A process of this user has the socket, and perhaps others.
    Socket {
        /// Its user.
        user: u32,
        /// Its number, as `/proc/PID/fd` has it.
        inode: u64,
    },
}

impl Peer {
    pub(crate) fn of(peer: SocketAddr, here: SocketAddr) -> Self {
        let (SocketAddr::V4(peer), SocketAddr::V4(here)) = (peer, here) else {
            return Self::Elsewhere { loopback: true };
        };
        let Ok(mut table) = fs::read_to_string("/proc/net/tcp") else { return Self::Unknown };
        // Where sockets of IPv6 stand that speak IPv4, such as all of Java. Without IPv6 there is no such file.
        table += &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
        match owner(&table, peer, here) {
            Some((user, inode)) => Self::Socket { user, inode },
            None => Self::Elsewhere { loopback: IpAddr::V4(*peer.ip()).is_loopback() },
        }
    }

    /// Whether it is a process of this user, or of root. Where the system does not say it, everybody may connect.
    pub(crate) fn is_own(self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Elsewhere { loopback } => !loopback,
            Self::Socket { user, .. } => user == 0 || user == rustix::process::getuid().as_raw(),
        }
    }
}

/// The user whose socket is `peer`, connected to `here`, and the socket's inode, in the form of `/proc/net/tcp` and
/// `/proc/net/tcp6`.
fn owner(table: &str, peer: SocketAddrV4, here: SocketAddrV4) -> Option<(u32, u64)> {
    // The kernel writes the bytes of an address as one number of the machine's own order.
    let written =
        |at: SocketAddrV4| format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    let (peer, here) = (written(peer), written(here));
    let mapped = format!("{:024X}", u32::from_ne_bytes([0, 0, 0xff, 0xff]));
    let is = |word: Option<&str>, address: &str| {
        word.is_some_and(|word| word.strip_prefix(&mapped).unwrap_or(word) == address)
    };
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        (is(words.next(), &peer) && is(words.next(), &here)).then_some(())?;
        let user = words.nth(4)?.parse().ok()?;
        // A socket that its process has closed has no inode, and is listed under root whoever that was.
        words.nth(1)?.parse().ok().filter(|inode| *inode != 0).map(|inode| (user, inode))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_owner_of_a_connection_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:07E8 0100007F:C454 01 00000000:00000000 00:00000000 00000000     0        0 1581 1\n   \
                     1: 0100007F:C454 0100007F:07E8 01 00000000:00000000 00:00000000 00000000  1000        0 209000 1\n";
        let at = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(owner(table, at(0xc454), at(0x07e8)), Some((1000, 209_000)));
            assert_eq!(owner(table, at(0x07e8), at(0xc454)), Some((0, 1581)));
            assert_eq!(owner(table, at(1), at(2)), None);
            let mapped = "0: 0000000000000000FFFF00000100007F:C454 0000000000000000FFFF00000100007F:07E8 01 \
                          00000000:00000000 00:00000000 00000000  1000        0 209000 1\n";
            assert_eq!(owner(mapped, at(0xc454), at(0x07e8)), Some((1000, 209_000)), "a socket of IPv6");
            assert_eq!(
                owner(&table.replace("209000", "0"), at(0xc454), at(0x07e8)),
                None,
                "closed by its process"
            );
        }
    }

    #[test]
    fn an_own_connection_is_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = Peer::of(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        assert!(peer.is_own());
        let Peer::Socket { inode, .. } = peer else { panic!("{peer:?}") };
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let mut links = links.filter_map(|file| fs::read_link(file.path()).ok());
        assert!(links.any(|link| link.as_os_str() == format!("socket:[{inode}]").as_str()));
        let (port, here) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        drop((stream, listener));
        let unknown = SocketAddr::new(port.ip(), 1);
        assert!(!Peer::of(unknown, here).is_own(), "a connection that does not exist has no owner");
    }
}
