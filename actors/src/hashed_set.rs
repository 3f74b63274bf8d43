//! A set of texts of which only short hashes are kept: small enough to be built in, and a text that is not in it is
//! taken for one of it about once in 10⁸ questions.

use ring::digest::{SHA256, digest};

/// Bytes of each hash. With `n` texts, a stranger is mistaken for one of them with a chance of `n` in 2⁴⁰.
const WIDTH: usize = 5;

/// Sorted hashes, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashedSet(&'static [u8]);

impl HashedSet {
    /// The set that [`HashedSet::bytes_of`] has written.
    pub(crate) const fn of(bytes: &'static [u8]) -> Self {
        Self(bytes)
    }

    /// Whether a text is in the set, exactly as it stands.
    pub(crate) fn contains(self, text: &str) -> bool {
        let (hashes, _) = self.0.as_chunks::<WIDTH>();
        hashes.binary_search(&hash(text)).is_ok()
    }

    /// How many texts it has.
    #[cfg(test)]
    pub(crate) fn len(self) -> usize {
        self.0.len() / WIDTH
    }

    /// What a file of these texts holds.
    #[cfg(test)]
    pub(crate) fn bytes_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        let sorted: std::collections::BTreeSet<[u8; WIDTH]> = texts.into_iter().map(hash).collect();
        sorted.into_iter().flatten().collect()
    }
}

fn hash(text: &str) -> [u8; WIDTH] {
    let mut short = [0; WIDTH];
    for (to, from) in short.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()) {
        *to = *from;
    }
    short
}

/// A source of a list, from the folder that the person who makes it anew has named.
#[cfg(test)]
pub(crate) fn source(name: &str) -> String {
    let folder = std::env::var("CAIRN_TEST_LISTS").expect("CAIRN_TEST_LISTS names the folder of the sources");
    std::fs::read_to_string(std::path::Path::new(&folder).join(name)).expect("the source is there")
}

/// Writes a list into its place in the source tree.
#[cfg(test)]
pub(crate) fn write(name: &str, bytes: &[u8]) {
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lists").join(name);
    std::fs::write(place, bytes).expect("the source tree can be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_texts_and_no_others() {
        let texts: Vec<String> = (0..1_000).map(|number| format!("text {number}")).collect();
        let bytes: &'static [u8] = Vec::leak(HashedSet::bytes_of(texts.iter().map(String::as_str)));
        let set = HashedSet::of(bytes);
        assert_eq!(set.len(), 1_000);
        assert!(texts.iter().all(|text| set.contains(text)));
        assert!((1_000..101_000).all(|number| !set.contains(&format!("text {number}"))));
        assert!(!HashedSet::of(&[]).contains(""));
    }
}
