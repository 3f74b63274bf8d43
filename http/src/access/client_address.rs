//! The address a request comes from: the peer's, or what a trusted proxy says about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use ipnet::IpNet;

use super::forwarded;

const FORWARDED: &str = "forwarded";
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Any of these says that somebody stands between the peer and us.
const FORWARDING: [&str; 6] = [FORWARDED, FORWARDED_FOR, "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// A block of addresses, as `10.0.0.0/8`, `fd00::/8` or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text that names no block of addresses.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither an address nor a block such as 10.0.0.0/8")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let address = |text: &str| text.parse::<IpAddr>().map(IpNet::from);
        let block = text.trim().parse::<IpNet>().or_else(|_| address(text.trim()));
        block.map(Self).map_err(|_| NotANetwork(text.to_owned()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Network {
    /// Whether the address lies in the block. An IPv4 address written as IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, because that is what one customer has.
pub(crate) fn client_network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}

/// The client's address: the peer's, unless the peer is a trusted proxy; then the right-most entry of
/// `X-Forwarded-For`, or of `Forwarded` (RFC 7239), that is not one. An entry that is no address (`unknown`, `_hidden`,
/// nonsense) ends the walk at the proxy before it.
///
/// Where both headers come and lead to two addresses, neither counts and the client is the peer. A proxy that writes
/// the one commonly passes the other on as the client sent it, and nothing here tells which is which: to prefer either
/// would let everybody behind the other sort of proxy choose an address. No third header counts, for the same reason.
///
/// What an operator should mend is logged, each once a process: a peer that forwards and is not trusted, and two
/// headers that contradict each other.
#[must_use]
pub fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let (client, notice) = judge(peer.ip().to_canonical(), headers, trusted);
    if let Some(notice) = notice {
        notice.log_once(peer.ip().to_canonical());
    }
    client
}

/// What an operator should be told of a request's forwarding headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// The peer forwards, and is not among the trusted proxies.
    Stranger,
    /// `Forwarded` and `X-Forwarded-For` lead to two addresses.
    Contradiction,
}

static STRANGER_LOGGED: AtomicBool = AtomicBool::new(false);
static CONTRADICTION_LOGGED: AtomicBool = AtomicBool::new(false);

impl Notice {
    /// Once, because whoever sends the headers would else fill the log.
    fn log_once(self, peer: IpAddr) {
        match self {
            Self::Stranger if is_first(&STRANGER_LOGGED) => tracing::warn!(
                %peer,
                "forwarding headers come from a peer that is not among the trusted proxies and are ignored: if it is \
                 a proxy of yours, everybody behind it shares one limit until CAIRN_TRUSTED_PROXIES names it"
            ),
            Self::Contradiction if is_first(&CONTRADICTION_LOGGED) => tracing::warn!(
                %peer,
                "a trusted proxy sends both Forwarded and X-Forwarded-For, which contradict each other, so neither \
                 counts: have it remove the one that it does not write itself"
            ),
            Self::Stranger | Self::Contradiction => {}
        }
    }
}

fn is_first(logged: &AtomicBool) -> bool {
    !logged.load(Ordering::Relaxed) && !logged.swap(true, Ordering::Relaxed)
}

fn judge(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> (IpAddr, Option<Notice>) {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let came = |name: &str| headers.contains_key(name);
    if !is_trusted(peer) {
        return (peer, (came(FORWARDED) || came(FORWARDED_FOR)).then_some(Notice::Stranger));
    }
    let walked = |name: &str, read: Reader| {
        came(name).then(|| walk(peer, headers.get_all(name).iter().map(|line| read(line.as_bytes())), is_trusted))
    };
    match (walked(FORWARDED, forwarded::named), walked(FORWARDED_FOR, forwarded_for)) {
        (Some(one), Some(other)) if one != other => (peer, Some(Notice::Contradiction)),
        (Some(client), _) | (None, Some(client)) => (client, None),
        (None, None) => (peer, None),
    }
}

/// The addresses of a line, nearest proxy last; `None` within it for an entry that is no address, `None` instead of it
/// for a line that cannot be read.
type Reader = fn(&[u8]) -> Option<Vec<Option<IpAddr>>>;

/// From the nearest proxy outwards to the first address that is not a trusted one.
fn walk(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = Option<Vec<Option<IpAddr>>>>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer;
    for entry in lines.rev().flat_map(|line| line.unwrap_or_else(|| vec![None]).into_iter().rev()) {
        let Some(address) = entry else { return client };
        client = address.to_canonical();
        if !is_trusted(client) {
            return client;
        }
    }
    client
}

/// A line of `X-Forwarded-For`: addresses with commas between them. It has no quotes, so bytes that are nobody's
/// address spoil their own entry only.
fn forwarded_for(line: &[u8]) -> Option<Vec<Option<IpAddr>>> {
    Some(line.split(|byte| *byte == b',').map(entry_address).collect())
}

fn entry_address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bracketed = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bracketed.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// Whether the peer itself sits on this machine and nobody forwards for it.
#[must_use]
pub fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    peer.ip().to_canonical().is_loopback() && !FORWARDING.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn judged(peer: &str, lines: &[(&'static str, &[u8])]) -> (String, Option<Notice>) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_bytes(line).unwrap());
        }
        let peer: IpAddr = peer.parse().unwrap();
        let (client, notice) = judge(peer.to_canonical(), &headers, &trusted);
        assert_eq!(client_address(SocketAddr::new(peer, 1), &headers, &trusted), client);
        (client.to_string(), notice)
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| (FORWARDED_FOR, line.as_bytes())).collect();
        judged(peer, &lines).0
    }

    fn by_standard(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| (FORWARDED, line.as_bytes())).collect();
        judged(peer, &lines).0
    }

    #[test]
    fn only_what_a_trusted_proxy_wrote_is_believed() {
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(client(PROXY, &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client(PROXY, &["203.0.113.9, 198.51.100.7, 10.1.1.1"]), "198.51.100.7");
        assert_eq!(client(PROXY, &["203.0.113.9", "198.51.100.7", "10.1.1.1"]), "198.51.100.7");
        assert_eq!(client(PROXY, &["203.0.113.9, nonsense, 10.1.1.1"]), "10.1.1.1");
        assert_eq!(client("::ffff:10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client(PROXY, &["10.1.1.1, 10.1.1.2"]), "10.1.1.1");
        assert_eq!(client(PROXY, &[]), PROXY);
    }

    #[test]
    fn the_standards_header_is_walked_alike() {
        assert_eq!(by_standard("192.0.2.1", &["for=198.51.100.7"]), "192.0.2.1");
        assert_eq!(by_standard(PROXY, &["for=198.51.100.7;proto=https"]), "198.51.100.7");
        assert_eq!(by_standard(PROXY, &["for=203.0.113.9, For=\"[2001:db8::1]:443\", for=10.1.1.1"]), "2001:db8::1");
        assert_eq!(by_standard(PROXY, &["for=\"203.0.113.9", "for=\"198.51.100.7:80\""]), "198.51.100.7");
        assert_eq!(by_standard(PROXY, &["for=\"[::ffff:10.1.1.1]\""]), "10.1.1.1");
    }

    #[test]
    fn a_client_that_is_hidden_counts_as_the_proxy_that_hides_it() {
        for hidden in ["_hidden", "unknown", "\"unknown:80\"", "\"_hidden:_port\""] {
            assert_eq!(by_standard(PROXY, &[&format!("for=203.0.113.9, for={hidden}, for=10.1.1.1")]), "10.1.1.1");
        }
        assert_eq!(by_standard(PROXY, &["for=203.0.113.9, proto=https"]), PROXY);
    }

    #[test]
    fn of_two_headers_that_contradict_each_other_neither_counts() {
        let both =
            |one: &str, other: &str| judged(PROXY, &[(FORWARDED, one.as_bytes()), (FORWARDED_FOR, other.as_bytes())]);
        let refused = (PROXY.to_owned(), Some(Notice::Contradiction));
        assert_eq!(both("for=198.51.100.7", "203.0.113.9"), refused);
        assert_eq!(both("for=198.51.100.7", "nonsense"), refused);
        assert_eq!(both("nonsense", "198.51.100.7"), refused);
        assert_eq!(both("for=198.51.100.7, for=10.1.1.1", "198.51.100.7"), ("198.51.100.7".to_owned(), None));
    }

    #[test]
    fn a_peer_that_forwards_untrusted_is_noticed_and_told_of_once() {
        for name in [FORWARDED, FORWARDED_FOR] {
            assert_eq!(judged("192.0.2.1", &[(name, b"for=1.1.1.1")]).1, Some(Notice::Stranger));
            assert_eq!(judged(PROXY, &[(name, b"for=1.1.1.1")]).1, None);
        }
        assert_eq!(judged("192.0.2.1", &[("via", b"1.1 proxy")]).1, None);
        let logged = AtomicBool::new(false);
        assert_eq!([is_first(&logged), is_first(&logged), is_first(&logged)], [true, false, false]);
    }

    /// Whatever a header line may carry, much of it made of what the grammars are made of.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let any = prop::collection::vec(
            any::<u8>().prop_filter("a header has it", |b| *b == 9 || (*b >= 32 && *b != 127)),
            0..60,
        );
        let words = prop::sample::select(vec![
            "for=",
            "For=",
            "by=",
            ";",
            ",",
            " ",
            "\"",
            "\\",
            "[",
            "]",
            ":",
            "=",
            "unknown",
            "_hidden",
            "10.1.1.1",
            "203.0.113.9",
            "[2001:db8::1]",
            ":80",
            "x",
        ]);
        let likely = prop::collection::vec(words, 0..24).prop_map(|words| words.concat().into_bytes());
        prop_oneof![any, likely]
    }

    fn joined(sent: &[u8], written: &[u8]) -> Vec<u8> {
        [sent, b", ", written].concat()
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_the_client_whatever_it_sends(one in bytes(), other in bytes()) {
            prop_assert_eq!(judged("192.0.2.1", &[(FORWARDED, &one), (FORWARDED_FOR, &other)]).0, "192.0.2.1");
        }

        #[test]
        fn what_a_client_sends_never_moves_it_elsewhere(sent in bytes(), other in bytes(), two in any::<bool>()) {
            const REAL: &str = "198.51.100.7";
            let (one, two_proxies): (&[u8], &[u8]) = (b"for=198.51.100.7", b"for=198.51.100.7;by=\"[::1]\", for=\"10.2.2.2:80\"");
            let by_standard = if two { two_proxies } else { one };
            let plain: &[u8] = if two { b"198.51.100.7, 10.2.2.2" } else { b"198.51.100.7" };

            // The proxy adds a line of its own, or to the client's line.
            prop_assert_eq!(judged(PROXY, &[(FORWARDED, &sent), (FORWARDED, by_standard)]).0, REAL);
            prop_assert_eq!(judged(PROXY, &[(FORWARDED_FOR, &sent), (FORWARDED_FOR, plain)]).0, REAL);
            prop_assert_eq!(judged(PROXY, &[(FORWARDED_FOR, &joined(&sent, plain))]).0, REAL);
            let same_line = judged(PROXY, &[(FORWARDED, &joined(&sent, by_standard))]).0;
            prop_assert!(same_line == REAL || same_line == PROXY, "{}", same_line);

            // The other header is passed on as the client sent it.
            for passed_on in [
                judged(PROXY, &[(FORWARDED, &other), (FORWARDED_FOR, &joined(&sent, plain))]).0,
                judged(PROXY, &[(FORWARDED_FOR, &other), (FORWARDED, &joined(&sent, by_standard))]).0,
            ] {
                prop_assert!(passed_on == REAL || passed_on == PROXY, "{}", passed_on);
            }
        }
    }

    #[test]
    fn a_block_holds_its_own_family_and_bits() {
        let holds = |block: &str, address: &str| block.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(holds("0.0.0.0/0", "192.0.2.1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("192.0.2.128/25", "192.0.2.200"));
        assert!(!holds("192.0.2.128/25", "192.0.2.1"));
        assert!(!holds("::/0", "192.0.2.1"));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/x", "host"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_forwarded_request_is_never_local() {
        let peer = "127.0.0.1:9".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert!(is_local(peer, &headers));
        assert!(!is_local("192.0.2.1:9".parse().unwrap(), &headers));
        headers.insert("forwarded", HeaderValue::from_static("for=127.0.0.1"));
        assert!(!is_local(peer, &headers));
    }
}
