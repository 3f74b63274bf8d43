//! Whether a password is known from a breach or easily guessed: a list, and the estimate of zxcvbn, which knows words,
//! names, dates, keyboards and what the person has typed besides (NIST SP 800-63B-4, section 3.1.1.2: no rules of
//! composition, but no guessable ones).

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::Score;
use zxcvbn::feedback::{Suggestion, Warning};

use crate::breached::is_breached;
use crate::password::Password;

/// What somebody who wants to guess tries first: the person's own words and ours.
#[derive(Clone, Debug, Default)]
pub struct OwnWords(Vec<String>);

impl OwnWords {
    /// Takes texts apart at everything that is neither letter nor digit, and what is left into its letters and its
    /// digits; the whole texts count as well. Composed as passwords are (NFKC).
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = vec!["cairn".to_owned()];
        for text in texts {
            let lower = text.nfkc().collect::<String>().to_lowercase();
            let parts = lower.split(|c: char| !c.is_alphanumeric());
            let halves = lower.split(|c: char| !c.is_alphabetic()).chain(lower.split(|c: char| !c.is_numeric()));
            words.extend(parts.chain(halves).filter(|part| part.chars().count() > 2).map(str::to_owned));
            words.push(lower);
        }
        words.retain(|word| !word.is_empty());
        words.sort_unstable();
        words.dedup();
        Self(words)
    }
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
    let mut words: Vec<&str> = own.0.iter().map(String::as_str).collect();
    words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
    for word in words {
        if rest.contains(word) {
            rest = Zeroizing::new(rest.replace(word, ""));
        }
    }
    rest.len() < whole && rest.chars().filter(|c| c.is_alphanumeric()).count() < NOT_OWN
}

/// Refuses what is known from a breach, what is made of the person's own words, and what scores below three of four: fewer than about 10⁸ guesses. It takes
/// milliseconds; call it where that holds nobody up.
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
    let estimate = zxcvbn::zxcvbn(password.expose(), &words);
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
}
