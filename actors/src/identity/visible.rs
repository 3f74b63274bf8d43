//! What of a text shows: characters that nobody sees, or that turn the text around them, are no part of what a person
//! means to write, and no two texts should look the same because of them.
//!
//! By the Unicode Character Database; what RFC 5892 allows between two letters, because some scripts are written with it,
//! is kept.

use icu_properties::props::{
    CanonicalCombiningClass, DefaultIgnorableCodePoint, GeneralCategory, JoiningType, Script, VariationSelector,
};
use icu_properties::{CodePointMapData, CodePointSetData};

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Whether a character is ignored where it is not supported: soft hyphens, zero-width spaces, controls of direction, tags.
fn is_ignorable(c: char) -> bool {
    // Besides those, the marks around annotations, which show nothing either.
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) || matches!(c, '\u{fff9}'..='\u{fffb}')
}

/// Whether no text has any use for a character: nobody has given it a meaning, or only a private one, or it breaks lines.
pub(crate) fn is_meaningless(c: char) -> bool {
    use GeneralCategory::{LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned};
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(category, PrivateUse | Unassigned | Surrogate | LineSeparator | ParagraphSeparator)
}

fn is_virama(c: char) -> bool {
    CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
}

fn joining(c: char) -> JoiningType {
    CodePointMapData::<JoiningType>::new().get(c)
}

/// Whether a joiner stands where a script is written with it: beside a virama (as in Sinhala and Bengali), or, one that
/// separates, between two letters that would else be joined (as in Persian). RFC 5892, appendix A.1 and A.2, and the
/// joiner before a virama.
fn is_written(joiner: char, before: &[char], after: impl Iterator<Item = char> + Clone) -> bool {
    let (Some(last), Some(next)) = (before.last(), after.clone().next()) else { return false };
    if is_virama(*last) || is_virama(next) {
        return true;
    }
    let shapes = |c: &char| joining(*c) != JoiningType::Transparent;
    let (left, right) = (before.iter().copied().rev().find(shapes), after.into_iter().find(shapes));
    joiner == ZERO_WIDTH_NON_JOINER
        && left.is_some_and(|c| matches!(joining(c), JoiningType::DualJoining | JoiningType::LeftJoining))
        && right.is_some_and(|c| matches!(joining(c), JoiningType::DualJoining | JoiningType::RightJoining))
}

/// Whether a selector chooses between forms of the letter before it, as names in Japanese and Mongolian need it.
fn is_chosen(selector: char, before: Option<&char>) -> bool {
    CodePointSetData::new::<VariationSelector>().contains(selector)
        && before.is_some_and(|c| matches!(CodePointMapData::<Script>::new().get(*c), Script::Han | Script::Mongolian))
}

/// A text without what does not show in it.
pub(crate) fn visible(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let all: Vec<char> = text.chars().collect();
    let mut kept: Vec<char> = Vec::with_capacity(all.len());
    for (place, c) in all.iter().copied().enumerate() {
        let after = all.iter().copied().skip(place + 1).filter(|c| !is_ignorable(*c));
        let shows = match c {
            ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER => is_written(c, &kept, after),
            _ => !is_ignorable(c) || is_chosen(c, kept.last()),
        };
        if shows {
            kept.push(c);
        }
    }
    kept.into_iter().collect()
}

/// A domain without the characters that are ignored in domains (UTS 46). The two joiners are not among them: where they
/// are allowed they make another domain.
pub(crate) fn visible_domain(domain: &str) -> String {
    domain.chars().filter(|c| !is_ignorable(*c) || matches!(*c, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_nobody_sees_is_gone() {
        for (typed, shown) in [
            ("Ada", "Ada"),
            ("A\u{ad}d\u{200b}a\u{feff}", "Ada"),
            ("\u{202e}Ada\u{202c}", "Ada"),
            ("\u{2066}Ada\u{2069}\u{200e}\u{200f}\u{61c}", "Ada"),
            ("A\u{200d}d\u{200c}a\u{2060}\u{34f}\u{115f}\u{3164}", "Ada"),
            ("Ada\u{fe0f}\u{e0100}\u{e0041}", "Ada"),
            ("A\u{fff9}da\u{fffb}", "Ada"),
            ("\u{200b}\u{200d}", ""),
        ] {
            assert_eq!(visible(typed), shown, "{typed:?}");
        }
    }

    #[test]
    fn what_a_script_is_written_with_stays() {
        for name in [
            "علی\u{200c}رضا",           // Persian: without it the two parts are joined
            "ශ\u{dca}\u{200d}ර\u{dd3}", // Sinhala: the form with the joiner
            "র\u{200d}\u{9cd}যাচেল",     // Bengali: Rachel
            "渡\u{e0100}邉\u{e0101}",   // Japanese: a form of the character
            "ᠮᠣᠩᠭᠣᠯ\u{180b}",
            "Nguyễn",
            "O’Neill-Müller",
            "Ἀριστοτέλης",
            "שָׁלוֹם",
        ] {
            assert_eq!(visible(name), name, "{name:?}");
        }
        assert_eq!(visible("علی\u{200d}رضا"), "علیرضا", "it joins what is joined");
        assert_eq!(visible("\u{200c}علی\u{200c}"), "علی", "at the ends it separates nothing");
    }

    #[test]
    fn what_means_nothing_is_known() {
        for c in ['\u{e000}', '\u{10ffff}', '\u{fdd0}', '\u{378}', '\u{2028}', '\u{2029}'] {
            assert!(is_meaningless(c), "{c:?}");
        }
        for c in ['a', 'é', '王', ' ', '\u{a0}', '😀', '\u{301}', '’', '٣'] {
            assert!(!is_meaningless(c), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn what_shows_stays_as_it_is(text in "\\PC{0,60}|[a-zبیه\u{200c}\u{200d}\u{ad}\u{9cd}র邉\u{e0100}\u{202e}]{0,30}") {
            let once = visible(&text);
            prop_assert_eq!(&visible(&once), &once);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric() && !is_ignorable(*c)).collect::<String>();
            prop_assert_eq!(letters(&text), letters(&once), "no letter is lost");
        }
    }
}
