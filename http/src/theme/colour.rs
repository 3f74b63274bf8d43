//! An operator's colour, and whether people can read what is written in it (WCAG 2.2, section 1.4.3).

use std::collections::BTreeMap;
use std::fmt;

/// A colour of sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

/// The least contrast between a text and what is behind it.
const READABLE: f64 = 4.5;
/// The papers of the stylesheet, light and dark.
const WHITE: Colour = Colour { red: 255, green: 255, blue: 255 };
const BLACK: Colour = Colour { red: 0, green: 0, blue: 0 };
const DARK_PAPER: Colour = Colour { red: 0x17, green: 0x18, blue: 0x1b };

/// Why a colour cannot be the accent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoAccent {
    /// It is not written as one.
    #[error("a colour is written as #0b57d0, two of them (for light and dark) with a comma between")]
    Unreadable,
    /// Links in it could not be read.
    #[error("{colour} has a contrast of {contrast:.1} on the {paper} background; links and buttons need at least 4.5")]
    Faint {
        /// The colour.
        colour: Colour,
        /// Its contrast.
        contrast: f64,
        /// Which background.
        paper: &'static str,
    },
}

/// The accent: the colour of links and buttons, on light and on dark backgrounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accent {
    light: Colour,
    dark: Colour,
}

impl Accent {
    /// Reads one colour or two. Of one, the other is made: lighter until it can be read on the dark background.
    ///
    /// # Errors
    /// [`NoAccent`], with a sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, NoAccent> {
        let mut colours = text.split(',').map(|one| Colour::parse(one.trim()).ok_or(NoAccent::Unreadable));
        let light = colours.next().ok_or(NoAccent::Unreadable)??;
        let dark = match colours.next() {
            Some(dark) => dark?,
            None => {
                (0..=20).map(|step| light.lighter(step)).find(|c| c.contrast(DARK_PAPER) >= READABLE).unwrap_or(WHITE)
            }
        };
        if colours.next().is_some() {
            return Err(NoAccent::Unreadable);
        }
        for (colour, paper, name) in [(light, WHITE, "light"), (dark, DARK_PAPER, "dark")] {
            let contrast = colour.contrast(paper);
            if contrast < READABLE {
                return Err(NoAccent::Faint { colour, contrast, paper: name });
            }
        }
        Ok(Self { light, dark })
    }

    /// How well it can be read, for people: at least 4.5 on either background.
    pub fn contrasts(&self) -> String {
        let (light, dark) = (self.light.contrast(WHITE), self.dark.contrast(DARK_PAPER));
        format!("{} has a contrast of {light:.1} on light, {} of {dark:.1} on dark", self.light, self.dark)
    }

    /// The rules that go behind the stylesheet.
    pub(crate) fn rules(&self) -> String {
        let (light, dark) = (self.light, self.dark);
        format!(
            ":root {{ --accent: {light}; --on-accent: {}; }}\n\
             @media (prefers-color-scheme: dark) {{ :root {{ --accent: {dark}; --on-accent: {}; }} }}\n",
            light.ink(),
            dark.ink()
        )
    }
}

impl Colour {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
        Some(Self { red: part(0)?, green: part(2)?, blue: part(4)? })
    }

    /// A colour in figures as a stylesheet may write it: `#rrggbb` or `#rgb`.
    fn figures(text: &str) -> Option<Self> {
        let short = text.strip_prefix('#').filter(|digits| digits.len() == 3 && digits.is_ascii());
        match short {
            Some(digits) => {
                Self::parse(&digits.chars().fold("#".to_owned(), |text, digit| format!("{text}{digit}{digit}")))
            }
            None => Self::parse(text),
        }
    }

    /// So many twentieths on the way to white.
    fn lighter(self, steps: u16) -> Self {
        let part = |value: u8| {
            let way = u16::from(255 - value) * steps / 20;
            value.saturating_add(u8::try_from(way).unwrap_or(u8::MAX))
        };
        Self { red: part(self.red), green: part(self.green), blue: part(self.blue) }
    }

    /// Relative luminance.
    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let value = f64::from(part) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }

    fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// White or black, whichever reads better on it. One of them always has a contrast of 4.5.
    fn ink(self) -> Self {
        if self.contrast(WHITE) >= self.contrast(BLACK) { WHITE } else { BLACK }
    }
}

/// What is written on what, by the names of the stylesheet.
const WRITTEN: [(&str, &str); 8] = [
    ("accent", "paper"),
    ("on-accent", "accent"),
    ("ink", "paper"),
    ("ink", "field"),
    ("ink", "note-paper"),
    ("quiet", "paper"),
    ("wrong", "paper"),
    ("wrong", "wrong-paper"),
];

/// The pairs of a stylesheet's custom properties that nobody can read, each in a sentence. Colours are looked at where
/// they are written in figures.
pub(super) fn faint(stylesheet: &str) -> Vec<String> {
    let [light, dark] = schemes(stylesheet);
    let of = |scheme: &BTreeMap<String, String>, name: &str| scheme.get(name).and_then(|value| Colour::figures(value));
    let judge = |scheme: &BTreeMap<String, String>, (text, behind): (&str, &str), called: &str| {
        let contrast = of(scheme, text)?.contrast(of(scheme, behind)?);
        let value = scheme.get(text)?;
        (contrast < READABLE).then(|| {
            format!(
                "--{text} ({value}) has a contrast of {contrast:.1} on --{behind} in the {called} scheme; 4.5 is needed"
            )
        })
    };
    let both = [(&light, "light"), (&dark, "dark")];
    both.into_iter()
        .flat_map(|(scheme, called)| WRITTEN.into_iter().filter_map(move |pair| judge(scheme, pair, called)))
        .collect()
}

/// The custom properties of a stylesheet by name, as they stand in light and in dark.
fn schemes(stylesheet: &str) -> [BTreeMap<String, String>; 2] {
    let mut bare = String::new();
    let mut rest = stylesheet;
    while let Some((before, behind)) = rest.split_once("/*") {
        bare.push_str(before);
        rest = behind.split_once("*/").map_or("", |(_, behind)| behind);
    }
    bare.push_str(rest);
    let (mut light, mut dark) = (BTreeMap::new(), BTreeMap::new());
    let mut around: Vec<String> = Vec::new();
    let mut piece = String::new();
    for character in bare.chars() {
        match character {
            '{' => around.push(std::mem::take(&mut piece)),
            ';' | '}' => {
                let declared = piece.split_once(':').map(|(name, value)| (name.trim(), value.trim().to_owned()));
                if let Some((name, value)) = declared.and_then(|(name, value)| Some((name.strip_prefix("--")?, value)))
                {
                    let scheme = around.iter().find(|prelude| prelude.contains("prefers-color-scheme"));
                    match scheme {
                        Some(prelude) if prelude.contains("dark") => drop(dark.insert(name.to_owned(), value)),
                        Some(_) => drop(light.insert(name.to_owned(), value)),
                        None => {
                            light.insert(name.to_owned(), value.clone());
                            dark.insert(name.to_owned(), value);
                        }
                    }
                }
                piece.clear();
                if character == '}' {
                    around.pop();
                }
            }
            other => piece.push(other),
        }
    }
    [light, dark]
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

    use super::*;

    #[test]
    fn contrast_is_that_of_the_standard() {
        assert!((WHITE.contrast(BLACK) - 21.0).abs() < 0.01);
        let grey = Colour::parse("#767676").unwrap();
        assert!((grey.contrast(WHITE) - 4.54).abs() < 0.01, "{}", grey.contrast(WHITE));
    }

    #[test]
    fn a_colour_that_nobody_can_read_is_refused_and_says_so() {
        let refused = Accent::parse("#ffcc00").unwrap_err().to_string();
        assert!(refused.contains("#ffcc00") && refused.contains("1.5") && refused.contains("light"), "{refused}");
        assert!(Accent::parse("#0b57d0, #303030").unwrap_err().to_string().contains("dark"));
        for bad in ["", "blue", "#12345", "#12345g", "#0b57d0,#a8c7fa,#000000", "#+1+1+1", "#äöü"] {
            assert_eq!(Accent::parse(bad), Err(NoAccent::Unreadable), "{bad}");
        }
    }

    #[test]
    fn one_colour_makes_its_own_dark_one() {
        for text in ["#000000", "#0b57d0", "#7a0019", "#005a2b"] {
            let accent = Accent::parse(text).unwrap();
            assert!(accent.dark.contrast(DARK_PAPER) >= READABLE, "{accent:?}");
            assert!(
                accent.dark.contrast(accent.dark.ink()) >= READABLE
                    && accent.light.contrast(accent.light.ink()) >= READABLE
            );
        }
        assert!(Accent::parse("#0b57d0,#a8c7fa").unwrap().rules().contains("--accent: #a8c7fa; --on-accent: #000000"));
    }
}
