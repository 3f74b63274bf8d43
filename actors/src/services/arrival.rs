//! What a sign-in brings about besides its session: news of a device or place that was not seen before, room among the
//! user's sessions, and an account that was to be deleted and is not.

use std::net::IpAddr;

use cairn_runtime::{FlowId, Timestamp};

use super::{Caller, Refusal, Services};
use crate::directory::User;
use crate::flows::session::{Arrival, Command, Notice, Restores, SeenDevice, Session, known_place};
use crate::identity::device::{AGENT, Device};
use crate::secrets::digest::Digest;

impl Services {
    /// What a sign-in of this user brings about. `is_known`: the account knows this device. `leaves`: the deletion that
    /// waits for the account, and when it goes.
    pub(super) async fn arrival(
        &self,
        caller: &Caller,
        user: &User,
        device: &Device,
        is_known: bool,
        leaves: Option<(FlowId, Timestamp)>,
    ) -> Result<Arrival, Refusal> {
        let place = self.place(caller, user);
        // Those whose fence has moved count until they have tidied up after themselves: they are the first to go.
        let room = self.engine.environment().settings.max_sessions.saturating_sub(1);
        let visits = self.directory.sessions.earlier_sessions(user.id, known_place(place, user.devices), room).await?;
        let is_first = user.signed_in_at.is_none();
        let is_news = !is_first && !is_known && !visits.knows_place;
        let notice = is_news.then(|| Notice {
            to: user.address.clone(),
            device: in_words(caller.device.as_deref()),
            client_address: caller.address.to_canonical().to_string(),
        });
        let device = Some(SeenDevice { id: device.id(), is_new: !is_known });
        let (profile, to) = (user.version, user.address.clone());
        let restores = leaves.map(|(deletion, until)| Restores { deletion, until, profile, to });
        Ok(Arrival { place: Some(place), notice, is_first, crowded: visits.beyond, device, restores })
    }

    /// Ends sessions that are too many before the sign-in is answered. They are told in its commit: whatever fails here
    /// or is not done because the client has gone, they end.
    pub(super) async fn make_room(&self, caller: &Caller, crowded: &[FlowId]) {
        for session in crowded {
            let asker = self.engine.asker(&caller.trace);
            if let Err(why) = self.engine.call::<Session>(*session, asker, Command::Revoke).await {
                tracing::debug!(%why, "a session that is too many ends a little later");
            }
        }
    }

    /// The keyed hash of user, device and network.
    fn place(&self, caller: &Caller, user: &User) -> Digest {
        let parts = [user.id.0.text("usr"), caller.device.clone().unwrap_or_default(), neighbourhood(caller.address)];
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.engine.environment().digest("place", &super::unambiguous(&parts))
    }
}

/// What is kept of a user agent.
pub(super) fn agent(caller: &Caller) -> Option<String> {
    caller.device.as_ref().map(|agent| agent.chars().take(AGENT).collect())
}

/// The network that counts as one place: a /24, or a /64.
fn neighbourhood(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        v6 @ IpAddr::V6(_) => super::network(v6),
    }
}

/// Programs by what their user agents say, the more particular before those whose names they bear too.
const PROGRAMS: [(&str, &str); 12] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chromium", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python", "a Python program"),
    ("okhttp", "an app"),
];

/// Systems, likewise.
const SYSTEMS: [(&str, &str); 8] = [
    ("Android", "Android"),
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "a Mac"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
];

/// A user agent in words of ours: nothing that a stranger chose goes into a letter.
pub fn in_words(agent: Option<&str>) -> String {
    let agent = agent.unwrap_or_default();
    let find =
        |among: &[(&str, &'static str)]| among.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, words)| *words);
    match (find(&PROGRAMS), find(&SYSTEMS)) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "an unknown program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_browsers_are_named() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36 Edg/130.0";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1";
        let linux = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
        let named = [Some(windows), Some(phone), Some(linux), Some("curl/8.9"), None].map(in_words);
        assert_eq!(named, ["Edge on Windows", "Safari on an iPhone", "Firefox on Linux", "curl", "an unknown program"]);
    }

    #[test]
    fn neighbours_are_one_place_and_others_are_not() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), of("192.0.2.250"));
        assert_ne!(of("192.0.2.7"), of("192.0.3.7"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.9"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    proptest! {
        /// Whatever an agent says, the letter is made of our own few words.
        #[test]
        fn nothing_of_a_strange_agent_is_repeated(agent in ".{0,300}") {
            let words = in_words(Some(&agent));
            let ours = PROGRAMS.iter().chain(&SYSTEMS).map(|(_, words)| *words);
            let all: Vec<&str> = ours.chain(["an unknown program"]).collect();
            prop_assert!(words.split(" on ").all(|part| all.contains(&part)), "{words}");
        }
    }
}
