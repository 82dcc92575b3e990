//! Who is at the other end of a loopback connection: every user of a machine reaches every port of it.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// The table changes while it is read, and a socket that others come before may be passed over: so often is it read for one.
const READINGS: usize = 3;

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
        let found = match asked(peer, here) {
            Ok(found) => found,
            // Some containers and kernels answer no such question. The table has all sockets of the machine: to read it takes a
            // time in proportion to them, whoever has opened them.
            Err(_) => {
                let mut found = None;
                for _ in 0..READINGS {
                    let Ok(mut table) = fs::read_to_string("/proc/net/tcp") else { return Self::Unknown };
                    // Where sockets of IPv6 stand that speak IPv4, such as all of Java. Without IPv6 there is no such file.
                    table += &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
                    found = owner(&table, peer, here);
                    if found.is_some() {
                        break;
                    }
                }
                found
            }
        };
        match found {
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

/// As [`owner`], by the kernel's own table (sock_diag(7)), in which it looks up one socket.
fn asked(peer: SocketAddrV4, here: SocketAddrV4) -> Result<Option<(u32, u64)>, Errno> {
    /// `SOCK_DIAG_BY_FAMILY`: of questions and answers.
    const BY_FAMILY: u16 = 20;
    /// `NLMSG_ERROR`
    const ERROR: u16 = 2;
    /// `NLM_F_REQUEST`
    const REQUEST: u16 = 1;
    /// `AF_INET` and `IPPROTO_TCP`
    const TCP_OVER_IPV4: [u8; 2] = [2, 6];
    const LENGTH: usize = 72;
    let mut question = Vec::with_capacity(LENGTH);
    // struct nlmsghdr
    question.extend((LENGTH as u32).to_ne_bytes());
    question.extend(BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST.to_ne_bytes());
    question.extend([0; 8]);
    // struct inet_diag_req_v2: any state, and the socket by its own end and the other one.
    question.extend(TCP_OVER_IPV4);
    question.extend([0; 2]);
    question.extend(u32::MAX.to_ne_bytes());
    question.extend(peer.port().to_be_bytes());
    question.extend(here.port().to_be_bytes());
    for address in [peer, here] {
        question.extend(address.ip().octets());
        question.extend([0; 12]);
    }
    // Any interface, and no cookie.
    question.extend([0; 4]);
    question.extend([0xff; 8]);
    debug_assert_eq!(question.len(), LENGTH);

    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
    rustix::net::send(&socket, &question, SendFlags::empty())?;
    let mut answer = [0_u8; 512];
    // The answer is there when the question was taken.
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
    let answer = &answer[..length];
    let number = |at: usize| {
        let bytes = answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(Errno::BADMSG)
    };
    // The kind of the message stands before its flags.
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match kind {
        // struct inet_diag_msg: user and inode are its last two.
        Some(BY_FAMILY) => {
            let (user, inode) = (number(80)?, number(84)?);
            Ok((inode != 0).then_some((user, u64::from(inode))))
        }
        Some(ERROR) => match Errno::from_raw_os_error(-number(16)?.cast_signed()) {
            Errno::NOENT => Ok(None),
            other => Err(other),
        },
        _ => Err(Errno::BADMSG),
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

    /// Pairs of connected sockets.
    fn connected(count: usize) -> Vec<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = |_| {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (stream, listener.accept().unwrap().0)
        };
        (0..count).map(connect).collect()
    }

    #[test]
    fn the_kernel_says_of_a_socket_what_its_table_says() {
        let mut table = String::new();
        let v4 = |address: std::io::Result<SocketAddr>| match address.unwrap() {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => panic!("{address}"),
        };
        let open = connected(20);
        table += &fs::read_to_string("/proc/net/tcp").unwrap();
        for (stream, _) in &open {
            let (peer, here) = (v4(stream.local_addr()), v4(stream.peer_addr()));
            let expected = owner(&table, peer, here);
            assert!(expected.is_some());
            // Where the kernel answers no such question, the table is read.
            if let Ok(found) = asked(peer, here) {
                assert_eq!(found, expected);
                assert_eq!(asked(SocketAddrV4::new(*peer.ip(), 1), here), Ok(None));
            }
        }
        // A socket of IPv6 that speaks IPv4.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mapped = format!("[::ffff:127.0.0.1]:{}", listener.local_addr().unwrap().port());
        if let Ok(_stream) = TcpStream::connect(mapped) {
            let (accepted, peer) = listener.accept().unwrap();
            assert!(Peer::of(peer, accepted.local_addr().unwrap()).is_own());
        }
    }

    #[test]
    fn many_idle_connections_do_not_slow_the_next_one() {
        let idle = connected(400);
        let (one, other) = (idle[0].0.local_addr().unwrap(), idle[0].0.peer_addr().unwrap());
        let (SocketAddr::V4(peer), SocketAddr::V4(here)) = (one, other) else { panic!("{one}") };
        if asked(peer, here).is_err() {
            return;
        }
        let time = |work: &dyn Fn()| {
            let begun = std::time::Instant::now();
            (0..50).for_each(|_| work());
            begun.elapsed()
        };
        let by_table = time(&|| {
            let _ = owner(&fs::read_to_string("/proc/net/tcp").unwrap_or_default(), peer, here);
        });
        let by_question = time(&|| assert!(Peer::of(one, other).is_own()));
        assert!(2 * by_question < by_table, "{by_question:?}, and {by_table:?} by the table");
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
        assert!(!Peer::of(port, here).is_own(), "a connection that was closed has no owner");
        let unknown = SocketAddr::new(port.ip(), 1);
        assert!(!Peer::of(unknown, here).is_own(), "a connection that does not exist has no owner");
    }
}
