//! Rate limits: how many requests of a kind one client may make, told in the headers of
//! draft-ietf-httpapi-ratelimit-headers-10.
//!
//! A quota begins with a client's first request and is whole again when its window is over, so `t` is the truth and not
//! an estimate. The counts are this node's own and in memory; what must outlive a restart or hold on every node
//! (failures, codes, mails) is counted in the database elsewhere.
//!
//! Memory is bounded however many addresses a flood comes from. When there is no room, the coldest of a few counts drawn
//! by lot gives way: one whose window is over, else the one that is the least used up. So a flood of new addresses
//! pushes out its own kind, and hardly ever a client that has used its quota up.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::access::Metered;
use crate::access::client_address::client_network;
use crate::problem::Problem;

/// `POST /auth/register`, and the page that does the same.
pub const REGISTER: &str = "register";
/// Signing in, from one client.
pub const LOGIN: &str = "login";
/// Signing in, by one identifier or from one known browser. Taken by the handler, which knows it.
pub const LOGIN_IDENTIFIER: &str = "login-identifier";
/// Entering a code, opening a link, trying a password that goes with one.
pub const CODE: &str = "code";
/// Asking for a letter that resets a password.
pub const RESET: &str = "reset";
/// Carrying a session on.
pub const REFRESH: &str = "refresh";

/// Asking for a letter once more.
pub const RESEND: &str = "resend";
/// Asking how a registration stands.
pub const STATUS: &str = "status";
/// Waiting for a flow to move: a page asks again every few seconds.
pub const EVENTS: &str = "events";
/// Opening a page.
pub const PAGE: &str = "page";
/// Reading what is one's own, with an access token.
pub const ACCOUNT: &str = "account";
/// Changing a profile, ending sessions.
pub const CHANGE: &str = "change";

/// Asking what would help a password that is being chosen.
pub const ADVICE: &str = "advice";

/// Reading the history of one's account.
pub const HISTORY: &str = "history";
/// Having all that is kept about oneself.
pub const EXPORT: &str = "export";

/// Sending a browser here for an authorization.
pub const AUTHORIZE: &str = "authorize";
/// Asking for tokens or about them, as a client. Many people may stand behind one that serves them.
pub const TOKEN: &str = "token";

/// So many requests within so many seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quota {
    name: String,
    requests: u32,
    seconds: u32,
}

/// A kind of request, and all the quotas that must have room for one, the shortest window first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bucket {
    name: &'static str,
    quotas: Vec<Quota>,
}

/// The one table of buckets with what each may hold unless the settings say otherwise: requests and seconds. A route names
/// its bucket; several routes may name the same.
const BUCKETS: [(&str, &[(u32, u32)]); 17] = [
    (REGISTER, &[(10, 60), (60, 3_600)]),
    (LOGIN, &[(30, 60)]),
    (LOGIN_IDENTIFIER, &[(10, 60)]),
    (CODE, &[(30, 60)]),
    (RESET, &[(10, 60), (60, 3_600)]),
    (REFRESH, &[(120, 60)]),
    (HISTORY, &[(60, 60)]),
    (EXPORT, &[(10, 60), (60, 3_600)]),
    (ADVICE, &[(12, 60)]),
    (RESEND, &[(30, 60)]),
    (STATUS, &[(240, 60)]),
    (EVENTS, &[(1_200, 60)]),
    (PAGE, &[(600, 60)]),
    (ACCOUNT, &[(600, 60)]),
    (CHANGE, &[(120, 60)]),
    (AUTHORIZE, &[(120, 60)]),
    (TOKEN, &[(60_000, 60)]),
];

/// How much each bucket holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas(Vec<Bucket>);

/// Why a bucket cannot hold that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotasError {
    /// No bucket has this name.
    #[error("there is no such bucket")]
    Unknown,
    /// None, or more than a count has room for.
    #[error("a bucket has one or two quotas")]
    Number,
    /// Two quotas of one bucket with the same window.
    #[error("two quotas have the same span")]
    SameSpan,
    /// No request at all, or no time.
    #[error("a quota has at least one request and one second")]
    Zero,
}

impl Default for Quotas {
    fn default() -> Self {
        let bucket = |(name, quotas): &(&'static str, &[(u32, u32)])| Bucket { name, quotas: named(name, quotas) };
        Self(BUCKETS.iter().map(bucket).collect())
    }
}

impl Quotas {
    /// The names of all buckets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUCKETS.iter().map(|(name, _)| *name)
    }

    /// Has a bucket hold so many requests within so many seconds, of which it may have two.
    ///
    /// # Errors
    /// See [`QuotasError`].
    pub fn set(&mut self, bucket: &str, quotas: &[(u32, u32)]) -> Result<(), QuotasError> {
        let found = self.0.iter_mut().find(|known| known.name == bucket).ok_or(QuotasError::Unknown)?;
        let mut quotas = quotas.to_vec();
        quotas.sort_by_key(|(_, seconds)| *seconds);
        match quotas.as_slice() {
            [] | [_, _, _, ..] => return Err(QuotasError::Number),
            [(_, one), (_, other)] if one == other => return Err(QuotasError::SameSpan),
            all if all.iter().any(|(requests, seconds)| *requests == 0 || *seconds == 0) => {
                return Err(QuotasError::Zero);
            }
            _ => {}
        }
        found.quotas = named(found.name, &quotas);
        Ok(())
    }

    /// Where a bucket stands in the table, and what it holds.
    fn bucket(&self, name: &str) -> Option<(u8, &Bucket)> {
        (0_u8..).zip(&self.0).find(|(_, bucket)| bucket.name == name)
    }
}

/// The first quota is called as its bucket, a second one with its span behind.
fn named(bucket: &str, quotas: &[(u32, u32)]) -> Vec<Quota> {
    let quota = |(place, (requests, seconds)): (usize, &(u32, u32))| {
        let name = match (place, seconds) {
            (0, _) => bucket.to_owned(),
            (_, 60) => format!("{bucket}-minute"),
            (_, 3_600) => format!("{bucket}-hour"),
            (_, 86_400) => format!("{bucket}-day"),
            (_, seconds) => format!("{bucket}-{seconds}s"),
        };
        Quota { name, requests: *requests, seconds: *seconds }
    };
    quotas.iter().enumerate().map(quota).collect()
}

/// Quotas of a bucket, at most.
const QUOTAS: usize = 2;
/// Locks, so that requests on several cores seldom wait for each other.
const SHARDS: usize = 16;
/// Counts kept in each shard: 65 536 in all, some six megabytes.
const ROOM: usize = 4_096;
/// Counts drawn by lot, of which the coldest gives way.
const LOTS: u64 = 8;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// What one customer may have of IPv6 addresses: a network of so many bits has so many times the quota. Whoever has a
/// whole /48 would else have 65 536 quotas.
const WIDTHS: [(u32, u32); 3] = [(64, 1), (56, 4), (48, 16)];

/// Whom a count belongs to: a bucket's place, a network's place among [`WIDTHS`], and a client or identifier.
type Key = (u8, u8, u128);

/// How many quotas a key has.
fn times((_, width, _): Key) -> u32 {
    WIDTHS.get(usize::from(width)).map_or(1, |(_, times)| *times)
}

/// What is used of one quota.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Milliseconds after the limiter's own beginning.
    since: u64,
    requests: u32,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    key: Key,
    used: [Used; QUOTAS],
}

impl Used {
    /// What is still used at an instant: nothing, once the window is over.
    fn at(self, now: u64, quota: &Quota) -> Self {
        let over = now.saturating_sub(self.since) >= u64::from(quota.seconds) * 1_000;
        if over || self.requests == 0 { Self { since: now, requests: 0 } } else { self }
    }

    /// Seconds until the quota is whole again, rounded up.
    fn seconds_left(self, now: u64, quota: &Quota) -> u64 {
        (u64::from(quota.seconds) * 1_000).saturating_sub(now.saturating_sub(self.since)).div_ceil(1_000)
    }
}

impl Count {
    /// How much of its fullest quota is used up, in thousandths.
    fn heat(&self, now: u64, quotas: &Quotas) -> u64 {
        let quotas = quotas.0.get(usize::from(self.key.0)).map_or(&[][..], |bucket| &bucket.quotas);
        let most = |quota: &Quota| u64::from(quota.requests) * u64::from(times(self.key));
        let heats = quotas
            .iter()
            .zip(self.used)
            .map(|(quota, used)| u64::from(used.at(now, quota).requests) * 1_000 / most(quota).max(1));
        heats.max().unwrap_or(0)
    }
}

#[derive(Default)]
struct Shard {
    places: HashMap<Key, usize>,
    counts: Vec<Count>,
    drawn: u64,
}

impl Shard {
    /// The count of a key, made if need be in the place of another.
    fn count(&mut self, key: Key, now: u64, dice: &RandomState, quotas: &Quotas) -> Option<&mut Count> {
        let fresh = Count { key, used: [Used::default(); QUOTAS] };
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.counts.len() < ROOM => {
                self.counts.push(fresh);
                self.places.insert(key, self.counts.len() - 1);
                self.counts.len() - 1
            }
            None => {
                let place = self.coldest(now, dice, quotas);
                let count = self.counts.get_mut(place)?;
                self.places.remove(&count.key);
                *count = fresh;
                self.places.insert(key, place);
                place
            }
        };
        self.counts.get_mut(place)
    }

    fn coldest(&mut self, now: u64, dice: &RandomState, quotas: &Quotas) -> usize {
        self.drawn = self.drawn.wrapping_add(1);
        let drawn = self.drawn;
        let among = self.counts.len().max(1) as u64;
        let lots = (0..LOTS).map(|lot| usize::try_from(dice.hash_one((drawn, lot)) % among).unwrap_or_default());
        lots.min_by_key(|place| self.counts.get(*place).map_or(0, |count| count.heat(now, quotas))).unwrap_or_default()
    }
}

/// The counts of one node.
pub struct Limiter {
    quotas: Quotas,
    began: Instant,
    dice: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(Quotas::default())
    }
}

impl Limiter {
    /// A limiter without counts.
    pub fn new(quotas: Quotas) -> Self {
        Self { quotas, began: Instant::now(), dice: RandomState::new(), shards: Default::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes one from a bucket for a client: its IPv4 address, or the /64 of its IPv6 address, because that is what one
    /// customer has at the least. The /56 and the /48 around it have four and sixteen times as much in all.
    pub fn take_for_client(&self, bucket: &'static str, client: IpAddr) -> Metered {
        self.take(bucket, &networks(client), self.now())
    }

    /// Takes one from a bucket for something that has a hash.
    pub fn take_for_hash(&self, bucket: &'static str, hash: &[u8]) -> Metered {
        let whom = hash.first_chunk::<16>().map_or(0, |chunk| u128::from_be_bytes(*chunk));
        self.take(bucket, &[(0, whom)], self.now())
    }

    /// `whom`: the same client, ever wider. All of them must have room.
    fn take(&self, name: &'static str, whom: &[(u8, u128)], now: u64) -> Metered {
        let Some((place, bucket)) = self.quotas.bucket(name) else {
            let verdict = Err(Problem::fault(format!("no bucket is called {name}")));
            return Metered { headers: HeaderMap::new(), verdict };
        };
        // By the widest, so that one lock holds them all.
        let shard = usize::try_from(self.dice.hash_one((place, whom.last())) % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(shard) else { return Metered::default() };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wait = None;
        for (width, whom) in whom {
            let key = (place, *width, *whom);
            let Some(count) = shard.count(key, now, &self.dice, &self.quotas) else { return Metered::default() };
            for (used, quota) in count.used.iter_mut().zip(&bucket.quotas) {
                *used = used.at(now, quota);
                if used.requests >= quota.requests.saturating_mul(times(key)) {
                    wait = wait.max(Some(used.seconds_left(now, quota)));
                }
            }
        }
        // Of each quota, what is left of the network that has the least.
        let mut left = [(u32::MAX, 0); QUOTAS];
        for (width, whom) in whom {
            let key = (place, *width, *whom);
            let Some(count) = shard.count(key, now, &self.dice, &self.quotas) else { return Metered::default() };
            for ((used, quota), left) in count.used.iter_mut().zip(&bucket.quotas).zip(&mut left) {
                if wait.is_none() {
                    // What is refused is not counted: who goes on knocking is let in when the window is over.
                    *used = used.at(now, quota);
                    used.requests = used.requests.saturating_add(1);
                }
                let rest = quota.requests.saturating_mul(times(key)).saturating_sub(used.requests);
                if rest < left.0 {
                    *left = (rest, used.seconds_left(now, quota));
                }
            }
        }
        drop(shard);
        let state: Vec<String> = bucket
            .quotas
            .iter()
            .zip(left)
            .map(|(quota, (rest, seconds))| format!("\"{}\";r={rest};t={seconds}", quota.name))
            .collect();
        let verdict = match wait {
            None => Ok(()),
            Some(seconds) => {
                metrics::counter!("cairn_http_limited_total", "bucket" => bucket.name).increment(1);
                Err(Problem::slow_down(Duration::from_secs(seconds)))
            }
        };
        Metered { headers: headers(bucket, &state.join(", ")), verdict }
    }
}

/// A client's networks, the narrowest first; an IPv4 address is one alone.
fn networks(client: IpAddr) -> Vec<(u8, u128)> {
    match client.to_canonical() {
        IpAddr::V4(_) => vec![(0, client_network(client))],
        IpAddr::V6(v6) => {
            let within = |bits: u32| u128::from(v6) >> (128 - bits) << (128 - bits);
            (0_u8..).zip(WIDTHS).map(|(width, (bits, _))| (width, within(bits))).collect()
        }
    }
}

fn headers(bucket: &Bucket, state: &str) -> HeaderMap {
    let policy = bucket.quotas.iter().map(|q| format!("\"{}\";q={};w={}", q.name, q.requests, q.seconds));
    let policy: Vec<String> = policy.collect();
    let mut headers = HeaderMap::new();
    for (name, text) in [(POLICY, policy.join(", ").as_str()), (STATE, state)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The names of all buckets.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    Quotas::names()
}

/// Whether a bucket of this name is in the table.
#[cfg(test)]
pub(crate) fn is_known(name: &str) -> bool {
    Quotas::names().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A limiter whose time is driven.
    #[derive(Default)]
    struct Driven {
        limiter: Limiter,
        now: u64,
    }

    impl Driven {
        fn take(&self, bucket: &'static str, client: IpAddr) -> Metered {
            self.limiter.take(bucket, &networks(client), self.now)
        }

        fn passes(&self, bucket: &'static str, client: IpAddr) -> bool {
            self.take(bucket, client).verdict.is_ok()
        }

        fn pass_time(&mut self, seconds: u64) {
            self.now += seconds * 1_000;
        }
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn told(metered: &Metered, name: &str) -> String {
        metered.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_quota_is_told_with_each_request_and_whole_again_after_its_window() {
        let mut limiter = Driven::default();
        let first = limiter.take(LOGIN, v4(1));
        assert_eq!(told(&first, "ratelimit-policy"), "\"login\";q=30;w=60");
        assert_eq!(told(&first, "ratelimit"), "\"login\";r=29;t=60");
        limiter.pass_time(10);
        for _ in 0..29 {
            assert!(limiter.passes(LOGIN, v4(1)));
        }
        let over = limiter.take(LOGIN, v4(1));
        assert_eq!(told(&over, "ratelimit"), "\"login\";r=0;t=50");
        assert_eq!(over.verdict.unwrap_err().seconds_to_wait(), Some(50));
        limiter.pass_time(49);
        assert!(!limiter.passes(LOGIN, v4(1)));
        limiter.pass_time(1);
        assert!(limiter.passes(LOGIN, v4(1)), "and those that were refused did not make it longer");
    }

    #[test]
    fn ten_registrations_a_minute_and_sixty_an_hour() {
        let mut limiter = Driven::default();
        for _ in 0..6 {
            let passed = (0..15).filter(|_| limiter.passes(REGISTER, v4(1))).count();
            assert_eq!(passed, 10);
            limiter.pass_time(60);
        }
        let over = limiter.take(REGISTER, v4(1));
        assert_eq!(told(&over, "ratelimit-policy"), "\"register\";q=10;w=60, \"register-hour\";q=60;w=3600");
        assert_eq!(told(&over, "ratelimit"), "\"register\";r=10;t=60, \"register-hour\";r=0;t=3240");
        assert_eq!(over.verdict.unwrap_err().seconds_to_wait(), Some(3_240));
        limiter.pass_time(3_240);
        assert!(limiter.passes(REGISTER, v4(1)));
    }

    #[test]
    fn buckets_clients_and_identifiers_are_counted_apart() {
        let limiter = Driven::default();
        while limiter.passes(LOGIN, v4(1)) {}
        assert!(limiter.passes(LOGIN, v4(2)));
        assert!(limiter.passes(CODE, v4(1)));
        let hash = |byte: u8| limiter.limiter.take_for_hash(LOGIN_IDENTIFIER, &[byte; 32]).verdict.is_ok();
        assert_eq!((0..12).filter(|_| hash(1)).count(), 10);
        assert!(hash(2));
    }

    #[test]
    fn a_network_of_sixty_four_bits_is_one_client_and_mapped_addresses_are_what_they_map() {
        let limiter = Driven::default();
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        while limiter.passes(LOGIN, parse("2001:db8:0:1::1")) {}
        assert!(!limiter.passes(LOGIN, parse("2001:db8:0:1:ffff:ffff:ffff:ffff")));
        assert!(limiter.passes(LOGIN, parse("2001:db8:0:2::1")));
        while limiter.passes(LOGIN, v4(1)) {}
        assert!(!limiter.passes(LOGIN, parse("::ffff:192.0.2.1")));
    }

    #[test]
    fn a_wider_network_has_four_and_sixteen_quotas_and_no_more() {
        let limiter = Driven::default();
        let client = |subnet: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, subnet, 0, 0, 0, host]);
        let passed = |limiter: &Driven, subnets: &mut dyn Iterator<Item = u16>| -> usize {
            subnets.map(|subnet| (0..40).filter(|host| limiter.passes(LOGIN, client(subnet, *host))).count()).sum()
        };
        // The last eight bits of a subnet's number tell the /64 within its /56.
        assert_eq!(passed(&limiter, &mut (0..=0xff)), 4 * 30, "of one /56");
        let over = limiter.take(LOGIN, client(0xff, 1));
        assert_eq!(told(&over, "ratelimit"), "\"login\";r=0;t=60");
        assert_eq!(passed(&limiter, &mut (0x100..=0x3ff)), 3 * 4 * 30, "of three more");
        assert_eq!(passed(&limiter, &mut (0x400..=0xffff).step_by(0x40)), 0, "of the whole /48");
        assert!(limiter.passes(LOGIN, IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 1])), "of the next");
        let last = limiter.take(LOGIN, IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 1]));
        assert_eq!(told(&last, "ratelimit"), "\"login\";r=28;t=60", "the narrowest has the least");
        assert_eq!(told(&last, "ratelimit-policy"), "\"login\";q=30;w=60");
    }

    #[test]
    fn a_flood_of_addresses_fills_no_memory_and_frees_no_offender() {
        let limiter = Driven::default();
        let offenders: Vec<IpAddr> = (0..50).map(v4).collect();
        for offender in &offenders {
            while limiter.passes(REGISTER, *offender) {}
        }
        for number in 0..300_000_u32 {
            limiter.take(REGISTER, IpAddr::from(number.to_be_bytes()));
        }
        let kept: usize = limiter.limiter.shards.iter().map(|shard| shard.lock().unwrap().counts.len()).sum();
        assert!(kept <= SHARDS * ROOM, "{kept}");
        for shard in &limiter.limiter.shards {
            let shard = shard.lock().unwrap();
            assert_eq!(shard.places.len(), shard.counts.len());
            assert!(shard.places.iter().all(|(key, place)| shard.counts[*place].key == *key));
        }
        let freed = offenders.iter().filter(|offender| limiter.passes(REGISTER, **offender)).count();
        assert_eq!(freed, 0, "of fifty that had used up their quota");
    }

    #[test]
    fn the_table_holds_what_the_contract_says() {
        let buckets = Quotas::default().0;
        let all: Vec<String> = buckets
            .iter()
            .flat_map(|bucket| &bucket.quotas)
            .map(|quota| format!("{} {}/{}", quota.name, quota.requests, quota.seconds))
            .collect();
        let contract = [
            "register 10/60",
            "register-hour 60/3600",
            "login 30/60",
            "login-identifier 10/60",
            "code 30/60",
            "reset 10/60",
            // Each request leaves a row, whoever has the address.
            "reset-hour 60/3600",
            "refresh 120/60",
            // Of our own: these read the most rows.
            "history 60/60",
            "export 10/60",
            "export-hour 60/3600",
            // While somebody types a password, a page asks how good it is.
            "advice 12/60",
            // Of our own: nothing that costs a read or a write is without any.
            "resend 30/60",
            "status 240/60",
            "events 1200/60",
            "page 600/60",
            "account 600/60",
            "change 120/60",
            "authorize 120/60",
            "token 60000/60",
        ];
        assert_eq!(all, contract);
        assert!(buckets.iter().all(|bucket| bucket.quotas.len() <= QUOTAS));
        assert!(is_known(REGISTER) && !is_known("demo"));
    }

    #[test]
    fn a_bucket_holds_what_the_settings_say_and_wider_networks_their_multiples() {
        let mut quotas = Quotas::default();
        quotas.set(LOGIN, &[(100, 3_600), (3, 10)]).unwrap();
        let limiter = Driven { limiter: Limiter::new(quotas), now: 0 };
        let first = limiter.take(LOGIN, v4(1));
        assert_eq!(told(&first, "ratelimit-policy"), "\"login\";q=3;w=10, \"login-hour\";q=100;w=3600");
        assert_eq!(told(&first, "ratelimit"), "\"login\";r=2;t=10, \"login-hour\";r=99;t=3600");
        let client = |subnet: u16| IpAddr::from([0x2001, 0xdb8, 0, subnet, 0, 0, 0, 1]);
        let passed: usize =
            (0..=0xff).map(|subnet| (0..5).filter(|_| limiter.passes(LOGIN, client(subnet))).count()).sum();
        assert_eq!(passed, 4 * 3, "of one /56");
        // Other buckets are as they were.
        assert_eq!(told(&limiter.take(CODE, v4(1)), "ratelimit"), "\"code\";r=29;t=60");
    }

    #[test]
    fn a_bucket_holds_one_or_two_quotas_of_different_spans() {
        let mut quotas = Quotas::default();
        assert_eq!(quotas.set("demo", &[(1, 1)]), Err(QuotasError::Unknown));
        assert_eq!(quotas.set(LOGIN, &[]), Err(QuotasError::Number));
        assert_eq!(quotas.set(LOGIN, &[(1, 1), (2, 2), (3, 3)]), Err(QuotasError::Number));
        assert_eq!(quotas.set(LOGIN, &[(1, 60), (2, 60)]), Err(QuotasError::SameSpan));
        assert_eq!(quotas.set(LOGIN, &[(0, 60)]), Err(QuotasError::Zero));
        assert_eq!(quotas, Quotas::default());
        let names = |seconds: u32| named("x", &[(1, 1), (2, seconds)]).pop().unwrap().name;
        assert_eq!([60, 3_600, 86_400, 90].map(names), ["x-minute", "x-hour", "x-day", "x-90s"]);
    }

    #[test]
    fn a_bucket_that_is_not_there_is_a_defect_and_no_free_pass() {
        assert!(Limiter::default().take_for_client("demo", v4(1)).verdict.is_err());
    }
}
