//! Passwords that are known from breaches (NIST SP 800-63B-4, section 3.1.1.2), looked up without asking anybody.
//!
//! Passwords that are too short to be chosen here are not in the list: they are refused for that.

use zeroize::Zeroizing;

use crate::hashed_set::HashedSet;
use crate::secrets::password::Password;

/// Where the list comes from and how it is made anew: `lists/README.md`.
static LIST: HashedSet = HashedSet::of(include_bytes!("../lists/breached-passwords.bin"));

/// Whether a password, in whatever case, is one that everybody tries who guesses.
pub(crate) fn is_breached(password: &Password) -> bool {
    LIST.contains(&folded(password.expose()))
}

/// Who guesses tries the other case next, so case is no difference.
fn folded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashed_set;

    fn breached(text: &str) -> bool {
        is_breached(&Password::typed(text.to_owned()))
    }

    #[test]
    fn what_many_have_chosen_is_known_in_whatever_case() {
        for text in ["1q2w3e4r5t", "qwertyuiop", "1234567890", "QwertyUIOP", "ｑｗｅｒｔｙｕｉｏｐ"] {
            assert!(breached(text), "{text}");
        }
    }

    #[test]
    fn other_passwords_are_not_mistaken_for_breached_ones() {
        // 100 000 of them here; by the width of the hash, a mistake comes about once in 10⁸.
        let mistaken = (0..100_000).filter(|number| breached(&format!("walrus {number} teapot"))).count();
        assert_eq!(mistaken, 0);
        let chance = LIST.len() as f64 / 2_f64.powi(40);
        assert!(chance < 1e-6, "{chance}");
        assert!((5_000..400_000).contains(&LIST.len()), "{} passwords of at most 2 MB", LIST.len());
    }

    #[test]
    #[ignore = "writes the list anew from the sources that CAIRN_TEST_LISTS names"]
    fn the_list_is_made() {
        let top = hashed_set::source("PwnedPasswordsTop100k.txt");
        let top = top.split_once("--\n").expect("a head that ends in a line of two hyphens").1;
        let popular = hashed_set::source("10K-Most-Popular-Passwords.txt");
        let mut all = Vec::new();
        for line in top.lines().chain(popular.lines()).filter(|line| !line.is_empty()) {
            let password = Password::typed(line.to_owned());
            if password.check_length().is_ok() {
                all.push(folded(password.expose()).to_string());
            }
        }
        hashed_set::write("breached-passwords.bin", &HashedSet::bytes_of(all.iter().map(String::as_str)));
    }
}
