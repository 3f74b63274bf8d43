//! What a refusal means: for now, because of us, or because of the address.
//!
//! What must stay true: only what is said of the recipient ends a letter and has the person look at the address. What a
//! server has against our name, our sender, our network or our words is for the operator to mend, within the letter's life.
//!
//! RFC 3463 and the registry of RFC 5248 say what an enhanced code means. Where there is none, or one that says nothing
//! ("other or undefined"), the three digits do (RFC 5321 section 4.2.3).

use super::connection::Stage;
use super::reply::{Enhanced, Reply};

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another time.
    ForNow,
    /// Of us: no letter of ours fares better until something is changed.
    OfUs,
    /// The address: no letter to it ever will.
    OfAddress,
}

/// Beginnings of words that a server without enhanced codes uses when 550 at a recipient is not about the recipient: it
/// does not relay for us, does not know our sender or name, wants us to sign in, has us on a list, or has a rule against
/// us. A letter that is put off by mistake is lost to one address a day later; one that ends by mistake is lost at once, and
/// the person is told to look for a fault where there is none.
const OF_US: [&str; 26] = [
    "relay",
    "sender",
    "helo",
    "ehlo",
    "authenticat",
    "authoriz",
    "unauth",
    "black",
    "block",
    "list",
    "dnsbl",
    "rbl",
    "spf",
    "dkim",
    "dmarc",
    "ptr",
    "dns",
    "reverse",
    "reput",
    "spam",
    "polic",
    "prohibit",
    "access",
    "banned",
    "abuse",
    "client",
];

/// Judges a refusal by how far the conversation had come.
pub(super) fn judge(stage: Stage, reply: &Reply) -> Verdict {
    if !reply.is_permanent() {
        return Verdict::ForNow;
    }
    if stage < Stage::Recipient || is_of_our_standing(reply) {
        return Verdict::OfUs;
    }
    let at_recipient = stage == Stage::Recipient;
    let of_address = match reply.enhanced().map(|Enhanced { subject, detail, .. }| (subject, detail)) {
        // No such mailbox, no such domain, no such form of an address, moved, ambiguous, a domain that takes no mail.
        Some((1, 1 | 2 | 3 | 4 | 6 | 10)) => true,
        // A mailbox that is closed or full.
        Some((2, 1 | 2)) => true,
        // Nobody to hand it on to: the domain has no mail server. Exchange says so of mailboxes.
        Some((4, 1 | 4 | 310)) => at_recipient,
        // Undefined, and of the mail system (3) or the network (4) not said: the digits decide.
        Some((0 | 1 | 2 | 5, 0)) | None => {
            at_recipient && matches!(reply.code, 550 | 551 | 553 | 556) && !speaks_of_us(reply)
        }
        Some(_) => false,
    };
    if of_address {
        Verdict::OfAddress
    } else if reply.code == 552 && at_recipient && reply.enhanced().is_none() {
        // What RFC 5321 section 4.5.3.1.10 has us take for 452.
        Verdict::ForNow
    } else {
        Verdict::OfUs
    }
}

/// Whether the text has a word that is said of senders. Addresses and names of hosts are no words.
fn speaks_of_us(reply: &Reply) -> bool {
    let said = reply.text().to_lowercase();
    let words = said.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    words.filter(|word| !word.contains(['@', '.'])).any(|word| OF_US.iter().any(|begun| word.starts_with(begun)))
}

/// Whether it asks us to sign in or to encrypt (RFC 4954 section 6), whenever it says so: the whole connection is of no
/// use, and the next one likewise.
pub(super) fn is_of_our_standing(reply: &Reply) -> bool {
    matches!(reply.code, 530 | 535 | 538)
}

#[cfg(test)]
mod tests {
    use super::super::reply::Hearing;
    use super::*;

    fn judged(stage: Stage, line: &str) -> Verdict {
        let (reply, _) = Hearing::default().take(format!("{line}\r\n").as_bytes()).unwrap().unwrap();
        judge(stage, &reply)
    }

    #[test]
    fn only_what_is_said_of_the_recipient_ends_a_letter() {
        for line in [
            "550 5.1.1 <x@example.org>: Recipient address rejected: User unknown",
            "550-5.1.1 The email account that you tried to reach\r\n550 5.1.1 does not exist",
            "550 5.1.2 bad destination system",
            "501 5.1.3 Bad recipient address syntax",
            "550 5.1.6 moved",
            "556 5.1.10 Domain does not accept mail",
            "550 5.2.1 mailbox disabled",
            "552 5.2.2 mailbox full",
            "550 5.4.1 Recipient address rejected: Access denied",
            "550 5.4.4 Unable to route",
            "550 5.4.310 DNS domain does not exist",
            "550 5.5.0 Requested action not taken: mailbox unavailable",
            "550 5.0.0 no",
            "550 unknown user",
            "550 Unrouteable address",
            "550 <relay.rbl@example.org>: unknown here (mx.relay.example), michelob",
            "550 No such user here",
            "550",
            "551 user not local",
            "553 mailbox name not allowed",
            "556 null MX",
            "550 4.1.1 unknown",
        ] {
            assert_eq!(judged(Stage::Recipient, line), Verdict::OfAddress, "{line}");
        }
        for line in ["550 5.1.1 unknown", "550 5.2.1 disabled", "552 5.2.2 full"] {
            assert_eq!(judged(Stage::Permission, line), Verdict::OfAddress, "{line}");
            assert_eq!(judged(Stage::Content, line), Verdict::OfAddress, "{line}");
        }
    }

    #[test]
    fn what_is_said_of_us_puts_a_letter_off() {
        for line in [
            "504 5.5.2 <afecba3b2e68>: Helo command rejected: need fully-qualified hostname",
            "550 5.7.1 <localhost>: Helo command rejected: Host not found",
            "550-5.7.26 This mail has been blocked\r\n550 5.7.26 because the sender is unauthenticated",
            "554 5.7.1 <x@example.org>: Relay access denied",
            "550 5.7.1 Unable to relay",
            "550 5.7.64 TenantAttribution; Relay Access Denied",
            "550 5.1.8 <cairn@example.org>: Sender address rejected: Domain not found",
            "550 5.1.7 bad sender's mailbox",
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "550 5.7.25 no PTR record",
            "530 5.7.0 Must issue a STARTTLS command first",
            "530 Authentication required",
            "535 5.7.8 bad credentials",
            "550 relay not permitted",
            "550 Relaying denied",
            "550 Sender verify failed",
            "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)",
            "550 Rejected because 192.0.2.1 is in a DNSBL at list.example",
            "550 Administrative prohibition",
            "550 rejected because 192.0.2.1 is in a black list at list.example",
            "550 Reverse DNS lookup failed",
            "550 Blocked",
            "550 Spam",
            "550 Rejected by policy",
            "550 Access denied",
            "550 Unauthorized",
            "550 Your IP has a poor reputation",
            "553 5.3.0 Rejected - see http://list.example",
            "550 5.4.0 no",
            "500 command unrecognized",
            "502 5.5.1 not implemented",
            "503 5.5.1 need MAIL first",
            "554 5.5.1 no",
            "554 transaction failed",
            "521 does not accept mail",
            "550 5.3.2 system not accepting network messages",
            "552 5.3.4 message too big",
            "550 5.6.0 content",
        ] {
            assert_eq!(judged(Stage::Recipient, line), Verdict::OfUs, "{line}");
        }
        for stage in [Stage::Greeting, Stage::Hello, Stage::Encryption, Stage::SigningIn, Stage::Sender] {
            for line in ["550 5.1.1 unknown", "554 go away", "504 5.5.2 no", "550 no", "521 no"] {
                assert_eq!(judged(stage, line), Verdict::OfUs, "{stage:?} {line}");
            }
        }
        for stage in [Stage::Permission, Stage::Content] {
            for line in ["554 5.7.1 spam", "550 no", "554 no", "552 too big", "550 5.4.1 no", "550 5.5.0 no", "553 no"]
            {
                assert_eq!(judged(stage, line), Verdict::OfUs, "{stage:?} {line}");
            }
        }
    }

    #[test]
    fn what_is_said_for_now_is_for_now() {
        for line in ["421 4.3.2 busy", "450 4.2.0 greylisted", "451 no", "452 4.2.2 full", "450 5.1.1 unknown"] {
            for stage in [Stage::Greeting, Stage::Sender, Stage::Recipient, Stage::Content] {
                assert_eq!(judged(stage, line), Verdict::ForNow, "{line}");
            }
        }
        assert_eq!(judged(Stage::Recipient, "552 too many recipients"), Verdict::ForNow);
    }
}
