//! Whether a password is known from a breach or easily guessed: a list, and the estimate of zxcvbn, which knows words,
//! names, dates, keyboards and what the person has typed besides (NIST SP 800-63B-4, section 3.1.1.2: no rules of
//! composition, but no guessable ones).

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::Score;
use zxcvbn::feedback::{Suggestion, Warning};

use crate::secrets::breached::is_breached;
use crate::secrets::password::Password;

/// Characters of a password that the estimate sees: what is good with these is good.
const SEEN: usize = 64;
/// Ways of reading look-alikes as letters (`4` as `a`, `|` as `i` or `l`) that the estimate tries at most. It looks all
/// substrings up in its lists for each of them, and with every look-alike at once there would be more than a thousand.
const READINGS: usize = 12;
/// Own words that are kept, the longest first, and characters of each.
const OWN_WORDS: usize = 24;
/// Characters of a text that own words are taken from: no name or address has more.
const OWN_TEXT: usize = 254;
/// Texts that own words are taken from.
const OWN_TEXTS: usize = 8;

/// What somebody who wants to guess tries first: the person's own words and ours.
#[derive(Clone, Debug, Default)]
pub struct OwnWords(Vec<String>);

impl OwnWords {
    /// Takes texts apart at everything that is neither letter nor digit, and what is left into its letters and its
    /// digits; the whole texts count as well. Composed as passwords are (NFKC).
    ///
    /// However many and long the texts are, at most 24 words are kept, of at most 64 characters each.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = vec!["cairn".to_owned()];
        for text in texts.into_iter().take(OWN_TEXTS) {
            let lower = text.nfkc().take(OWN_TEXT).collect::<String>().to_lowercase();
            let parts = lower.split(|c: char| !c.is_alphanumeric());
            let halves = lower.split(|c: char| !c.is_alphabetic()).chain(lower.split(|c: char| !c.is_numeric()));
            words.extend(parts.chain(halves).filter(|part| part.chars().count() > 2).map(first_characters));
            words.push(first_characters(&lower));
        }
        words.retain(|word| !word.is_empty());
        words.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        words.dedup();
        words.truncate(OWN_WORDS);
        Self(words)
    }
}

fn first_characters(text: &str) -> String {
    text.chars().take(SEEN).collect()
}

/// Why a password may not be chosen, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unworthy {
    /// It is known from a breach.
    #[error(
        "This password is on the lists of those that were stolen elsewhere, which everybody tries who guesses. Choose \
         another one, and change it wherever else you use it. Three random words are good."
    )]
    Breached,
    /// It is too easily guessed.
    #[error("{0}")]
    Guessable(String),
}

impl Unworthy {
    /// The word that programs read in `errors[].code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Breached => "breached",
            Self::Guessable(_) => "guessable",
        }
    }
}

/// Letters and digits that must be left of a password when the person's own words are taken out of it.
const NOT_OWN: usize = 6;

/// Whether a password is little more than the person's own words. The estimate alone does not see that: for it whatever
/// has three parts, if only `nora.quist.99`, takes 10⁸ guesses.
fn is_made_of(own: &OwnWords, password: &Password) -> bool {
    let mut rest = Zeroizing::new(password.expose().to_lowercase());
    let whole = rest.len();
    // The longest first.
    for word in &own.0 {
        let word = word.as_str();
        if rest.contains(word) {
            rest = Zeroizing::new(rest.replace(word, ""));
        }
    }
    rest.len() < whole && rest.chars().filter(|c| c.is_alphanumeric()).count() < NOT_OWN
}

/// The look-alikes that the estimate knows, by the letter that each is read as.
const LOOK_ALIKES: [(char, &[char]); 12] = [
    ('a', &['4', '@']),
    ('b', &['8']),
    ('c', &['(', '{', '[', '<']),
    ('e', &['3']),
    ('g', &['6', '9']),
    ('i', &['1', '!', '|']),
    ('l', &['1', '|', '7']),
    ('o', &['0']),
    ('s', &['$', '5']),
    ('t', &['+', '7']),
    ('x', &['%']),
    ('z', &['2']),
];

/// In how many ways the estimate reads a text with these look-alikes: for each letter one of those that stand for it,
/// and twice as many where that one may stand for another letter.
fn readings(present: &[char]) -> usize {
    let mut known: Vec<char> = Vec::new();
    let mut ways = 1_usize;
    for (_, look_alikes) in LOOK_ALIKES {
        let here: Vec<char> = look_alikes.iter().copied().filter(|c| present.contains(c)).collect();
        let choices: usize = here.iter().map(|c| if known.contains(c) { 2 } else { 1 }).sum();
        ways = ways.saturating_mul(choices.max(1));
        known.extend(here);
    }
    ways
}

/// How many characters of a password are given to the estimate: 64, and of one that repeats itself from its first
/// character to its last as many whole repeats as that, so that it is seen to.
fn cut(password: &str) -> usize {
    let all: Zeroizing<Vec<char>> = Zeroizing::new(password.chars().collect());
    let repeats = |period: &usize| all.iter().zip(all.iter().skip(*period)).all(|(one, other)| one == other);
    match (1..=SEEN / 2).find(repeats) {
        Some(period) if all.len() > SEEN => SEEN - SEEN % period,
        _ => SEEN,
    }
}

/// The text that the estimate is given: the first 64 characters, and of the look-alikes in them, in order, as many
/// different ones as are read in few enough ways. In the place of each further one stands a character that no list,
/// keyboard or sequence knows, so that it counts as what nobody foresees.
fn seen(password: &str) -> Zeroizing<String> {
    let mut kept: Vec<char> = Vec::new();
    let mut surplus: Vec<char> = Vec::new();
    let mut text = Zeroizing::new(String::with_capacity(4 * SEEN));
    for character in password.chars().take(cut(password)) {
        let known = kept.contains(&character) || surplus.contains(&character);
        if !known && LOOK_ALIKES.iter().any(|(_, look_alikes)| look_alikes.contains(&character)) {
            kept.push(character);
            if readings(&kept) > READINGS {
                kept.pop();
                surplus.push(character);
            }
        }
        match surplus.iter().position(|one| *one == character) {
            // Far enough apart that two of them are no sequence.
            Some(place) => text.push(char::from_u32(0xe000 + 64 * place as u32).unwrap_or(character)),
            None => text.push(character),
        }
    }
    text
}

/// Refuses what is known from a breach, what is made of the person's own words, and what scores below three of four:
/// fewer than about 10⁸ guesses. Whatever the text, it takes less than a password's hash; call it where that holds
/// nobody up.
///
/// # Errors
/// [`Unworthy`], with a reason and a suggestion for people.
pub fn check(password: &Password, own: &OwnWords) -> Result<(), Unworthy> {
    if is_breached(password) {
        return Err(Unworthy::Breached);
    }
    if is_made_of(own, password) {
        let why = "Names and addresses of yours are what is tried first. Use words that have nothing to do with you.";
        return Err(Unworthy::Guessable(why.to_owned()));
    }
    let words: Vec<&str> = own.0.iter().map(String::as_str).collect();
    let estimate = zxcvbn::zxcvbn(&seen(password.expose()), &words);
    if estimate.score() >= Score::Three {
        return Ok(());
    }
    let feedback = estimate.feedback();
    let why = feedback.and_then(zxcvbn::feedback::Feedback::warning).map_or("This password is easy to guess.", reason);
    let help =
        feedback.and_then(|feedback| feedback.suggestions().first()).map_or("Three random words are good.", suggestion);
    Err(Unworthy::Guessable(format!("{why} {help}")))
}

fn reason(warning: Warning) -> &'static str {
    match warning {
        Warning::StraightRowsOfKeysAreEasyToGuess | Warning::ShortKeyboardPatternsAreEasyToGuess => {
            "Keys that lie side by side are easy to guess."
        }
        Warning::RepeatsLikeAaaAreEasyToGuess | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => {
            "Repeats are easy to guess."
        }
        Warning::SequencesLikeAbcAreEasyToGuess => "Sequences such as abc or 6543 are easy to guess.",
        Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess => "Dates are easy to guess.",
        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess | Warning::CommonNamesAndSurnamesAreEasyToGuess => {
            "Names are easy to guess."
        }
        _ => "This password is easy to guess.",
    }
}

fn suggestion(suggestion: &Suggestion) -> &'static str {
    match suggestion {
        Suggestion::AvoidRepeatedWordsAndCharacters => "Leave the repeats out and add another word or two.",
        Suggestion::AvoidSequences => "Leave the sequence out and add another word or two.",
        Suggestion::AvoidRecentYears
        | Suggestion::AvoidYearsThatAreAssociatedWithYou
        | Suggestion::AvoidDatesAndYearsThatAreAssociatedWithYou => "Leave the date out and add another word or two.",
        Suggestion::UseALongerKeyboardPatternWithMoreTurns => "Use words instead; three random ones are good.",
        _ => "Add another word or two; uncommon ones are better.",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(password: &str, own: &[&str]) -> Result<(), Unworthy> {
        check(&Password::typed(password.to_owned()), &OwnWords::of(own.iter().copied()))
    }

    #[test]
    fn what_everybody_tries_first_is_refused_with_advice() {
        for password in ["Password12!!", "asdfghjkl;99", "aaaaaaaaaaaab", "P@ssw0rd12345"] {
            let refused = judged(password, &[]).unwrap_err();
            assert_eq!(refused.code(), "guessable", "{password}");
            assert!(refused.to_string().len() > 30, "{refused}");
        }
    }

    #[test]
    fn what_was_stolen_elsewhere_is_refused_though_it_looks_hard() {
        // Each scores three or four, and tens of thousands have it.
        for password in ["3rJs1la7qE", "3RJS1LA7QE", "1qaz2wsx3edc4rfv"] {
            let refused = judged(password, &[]).unwrap_err();
            assert_eq!(refused.code(), "breached", "{password}");
            assert!(refused.to_string().contains("stolen"), "{refused}");
        }
    }

    #[test]
    fn three_random_words_are_good() {
        assert_eq!(judged("walrus teapot nimbly", &[]), Ok(()));
    }

    #[test]
    fn the_persons_own_words_make_a_password_weaker() {
        assert_eq!(judged("moosbruggerova77", &[]), Ok(()));
        for own in ["Moosbruggerova@example.org", "x.moosbruggerova", "Moosbruggerova1815", "a@moosbruggerova.example"]
        {
            assert!(judged("moosbruggerova77", &[own]).is_err(), "{own}");
        }
        assert!(judged("avoreggurbsoom77", &["moosbruggerova"]).is_err(), "backwards is no other word");
        assert!(judged("müllerschön-77", &["Mu\u{308}llerscho\u{308}n"]).is_err(), "however it was composed");
    }

    #[test]
    fn own_words_are_no_better_for_being_many() {
        let own = ["nora.quist@thundertrousers.example", "Nora", "Quist"];
        for password in
            ["nora.quist.99", "Quist-Nora-2024", "cairn-thundertrousers", "NORA-NORA-NORA-NORA", "nora@quist1815"]
        {
            assert!(judged(password, &own).is_err(), "{password}");
        }
        assert_eq!(judged("nora walrus teapot nimbly", &own), Ok(()), "a word of one's own does no harm among others");
    }

    #[test]
    fn the_longest_password_is_judged_too() {
        assert_eq!(judged(&"x9~".repeat(85), &[]).is_ok(), judged(&"x9~".repeat(33), &[]).is_ok());
    }

    /// All look-alikes, each once.
    fn look_alikes() -> Vec<char> {
        let mut all: Vec<char> = LOOK_ALIKES.iter().flat_map(|(_, look_alikes)| look_alikes.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the estimate does with a text: characters, ways of reading them, own words, and characters of the longest.
    fn work(password: &str, own: &[&str]) -> [usize; 4] {
        let text = seen(Password::typed(password.to_owned()).expose());
        let present: Vec<char> = text.chars().collect();
        let own = OwnWords::of(own.iter().copied());
        let longest = own.0.iter().map(|word| word.chars().count()).max().unwrap_or_default();
        [present.len(), readings(&present), own.0.len(), longest]
    }

    #[track_caller]
    fn is_bounded(password: &str, own: &[&str]) {
        let [characters, readings, words, longest] = work(password, own);
        assert!(characters <= 64 && readings <= 12 && words <= 24 && longest <= 64, "{password}");
    }

    #[test]
    fn no_alphabet_makes_the_estimate_dear() {
        let all: String = look_alikes().into_iter().collect();
        assert!(readings(&look_alikes()) > 1_000, "what it would be without a bound");
        // All prefixes of a repeat as own words, which are found at each place of a password that is made of it.
        let prefixes: Vec<String> = (0..60).map(|n| format!("{}.{}", "a".repeat(3 + n), "4".repeat(3 + n))).collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        let huge = "word1.".repeat(20_000);
        for password in [
            all.repeat(20).as_str(),
            &format!("p@$$w0rd{all}"),
            &format!("{}({{[<6!1$5+", "4".repeat(54)),
            &"01/01/1991".repeat(20),
            &"qwertyuiop[]asdfghjkl;".repeat(9),
            &"passwordmonkeydragon".repeat(9),
            &"\u{130}".repeat(120),
        ] {
            is_bounded(password, &[]);
            is_bounded(password, &prefixes);
            is_bounded(password, &[&huge, &huge, &huge]);
        }
        assert_eq!(OwnWords::of(prefixes.iter().copied()).0.len(), 24);
    }

    #[test]
    fn look_alikes_are_read_as_letters_as_long_as_they_are_few() {
        for password in ["P@ssw0rd1991", "p455w0rdp455", "m0nk3y123456", "l3tm31nl3tm3"] {
            assert_eq!(*seen(password), password);
            assert!(judged(password, &[]).is_err(), "{password}");
        }
        let all: String = look_alikes().into_iter().collect();
        let odd = seen(&all);
        assert_eq!(odd.chars().count(), all.chars().count());
        assert!(odd.chars().any(|c| ('\u{e000}'..'\u{f000}').contains(&c)), "the surplus is unforeseen");
        assert_eq!(judged("V8(q{2[x7<D|1!9+m%3", &[]), Ok(()), "what a generator makes stays good");
    }

    #[test]
    fn a_long_repeat_is_seen_as_one() {
        for piece in ["a", "01/01/1991", "monkey!", "abcdefghijk"] {
            let password: String = piece.chars().cycle().take(200).collect();
            assert!(judged(&password, &[]).is_err(), "{password}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_the_estimate_is_bounded_and_does_not_panic(
            password in "[4@8({\\[<369146!|70$5+7%2]{10,250}|[a-c4@1|!]{10,250}|\\PC{10,250}",
            own in "[a4.]{0,400}|\\PC{0,400}",
        ) {
            let [characters, readings, words, longest] = work(&password, &[&own]);
            prop_assert!(characters <= 64 && readings <= 12 && words <= 24 && longest <= 64);
            let _ = judged(&password, &[&own]);
        }
    }
}
