//! Whether a password is easily guessed: the estimate of zxcvbn, which knows words, names, dates, keyboards and what
//! the person has typed besides (NIST SP 800-63B-4, section 3.1.1.2: no rules of composition, but no guessable ones).

use zxcvbn::Score;
use zxcvbn::feedback::{Suggestion, Warning};

use crate::password::Password;

/// What somebody who wants to guess tries first: the person's own words and ours.
#[derive(Clone, Debug, Default)]
pub struct OwnWords(Vec<String>);

impl OwnWords {
    /// Takes texts apart at everything that is neither letter nor digit; the whole texts count as well.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = vec!["cairn".to_owned()];
        for text in texts {
            let lower = text.to_lowercase();
            let parts = lower.split(|c: char| !c.is_alphanumeric()).filter(|part| part.chars().count() > 2);
            words.extend(parts.map(str::to_owned));
            words.push(lower);
        }
        Self(words)
    }
}

/// Why a password is too easily guessed, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Guessable(String);

impl Guessable {
    /// The word that programs read in `errors[].code`.
    pub const fn code(&self) -> &'static str {
        "guessable"
    }
}

/// Refuses what scores below three of four: fewer than about 10⁸ guesses. It takes milliseconds; call it where that
/// holds nobody up.
///
/// # Errors
/// [`Guessable`], with a reason and a suggestion for people.
pub fn check(password: &Password, own: &OwnWords) -> Result<(), Guessable> {
    let words: Vec<&str> = own.0.iter().map(String::as_str).collect();
    let estimate = zxcvbn::zxcvbn(password.expose(), &words);
    if estimate.score() >= Score::Three {
        return Ok(());
    }
    let feedback = estimate.feedback();
    let why = feedback.and_then(zxcvbn::feedback::Feedback::warning).map_or("This password is easy to guess.", reason);
    let help =
        feedback.and_then(|feedback| feedback.suggestions().first()).map_or("Three random words are good.", suggestion);
    Err(Guessable(format!("{why} {help}")))
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

    fn judged(password: &str, own: &[&str]) -> Result<(), Guessable> {
        check(&Password::typed(password.to_owned()), &OwnWords::of(own.iter().copied()))
    }

    #[test]
    fn what_everybody_tries_first_is_refused_with_advice() {
        for password in ["password12", "qwertyuiop", "aaaaaaaaaaaa", "1234567890", "P@ssw0rd123"] {
            let refused = judged(password, &[]).unwrap_err();
            assert!(refused.to_string().len() > 30, "{refused}");
        }
    }

    #[test]
    fn three_random_words_are_good() {
        assert_eq!(judged("walrus teapot nimbly", &[]), Ok(()));
    }

    #[test]
    fn the_persons_own_words_make_a_password_weaker() {
        assert_eq!(judged("moosbruggerova77", &[]), Ok(()));
        assert!(judged("moosbruggerova77", &["Moosbruggerova@example.org"]).is_err());
    }

    #[test]
    fn the_longest_password_is_judged_too() {
        assert_eq!(judged(&"x9~".repeat(85), &[]).is_ok(), judged(&"x9~".repeat(33), &[]).is_ok());
    }
}
