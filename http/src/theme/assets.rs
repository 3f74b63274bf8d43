//! Stylesheet, script and logo: each at a URL with a hash of its content, to be kept by browsers for ever.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::colour::Accent;
use crate::problem::Problem;
use crate::reply::Reply;

/// A picture of the operator's.
#[derive(Clone, Debug)]
pub struct Logo {
    /// How the file ends.
    ending: &'static str,
    kind: &'static str,
    bytes: Vec<u8>,
}

/// Octets of a logo at most: it is loaded with every first visit.
const LARGEST_LOGO: usize = 256 * 1024;

impl Logo {
    /// Takes a file by its name's ending.
    ///
    /// # Errors
    /// A sentence when it is no picture that browsers show, or too large.
    pub fn new(name: &str, bytes: Vec<u8>) -> Result<Self, String> {
        const KINDS: [(&str, &str); 5] = [
            ("svg", "image/svg+xml"),
            ("png", "image/png"),
            ("webp", "image/webp"),
            ("jpg", "image/jpeg"),
            ("jpeg", "image/jpeg"),
        ];
        let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let known = KINDS.iter().find(|(known, _)| *known == ending);
        let (ending, kind) = known.ok_or("a logo is an .svg, .png, .webp or .jpg file")?;
        if bytes.is_empty() || bytes.len() > LARGEST_LOGO {
            return Err("a logo has at most 256 KiB, and something in it".to_owned());
        }
        Ok(Self { ending, kind, bytes })
    }
}

#[derive(Clone, Debug)]
struct Asset {
    /// `cairn` and `css`.
    name: (&'static str, &'static str),
    file: String,
    kind: &'static str,
    bytes: Bytes,
}

impl Asset {
    fn new(name: (&'static str, &'static str), kind: &'static str, bytes: Vec<u8>) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        let file = format!("{}-{:016x}.{}", name.0, hasher.finish(), name.1);
        Self { name, file, kind, bytes: Bytes::from(bytes) }
    }

    fn url(&self) -> String {
        format!("/assets/{}", self.file)
    }

    /// Whether a file's name is this one with whatever hash, or none.
    fn is_an_edition(&self, file: &str) -> bool {
        let (stem, ending) = self.name;
        let hash = file.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)?.strip_suffix('.'));
        hash.is_some_and(|hash| hash.is_empty() || hash.starts_with('-'))
    }
}

/// All assets of a process.
#[derive(Clone, Debug)]
pub(crate) struct Assets {
    css: Asset,
    js: Asset,
    logo: Option<Asset>,
}

impl Assets {
    pub(crate) fn new(stylesheet: &str, accent: Option<&Accent>, logo: Option<&Logo>) -> Self {
        let mut css = stylesheet.to_owned();
        if let Some(accent) = accent {
            css.push_str(&accent.rules());
        }
        let script = include_str!("../templates/cairn.js");
        Self {
            css: Asset::new(("cairn", "css"), "text/css; charset=utf-8", css.into_bytes()),
            js: Asset::new(("cairn", "js"), "text/javascript; charset=utf-8", script.as_bytes().to_vec()),
            logo: logo.map(|logo| Asset::new(("logo", logo.ending), logo.kind, logo.bytes.clone())),
        }
    }

    /// The stylesheet as browsers get it.
    pub(super) fn stylesheet(&self) -> &str {
        std::str::from_utf8(&self.css.bytes).unwrap_or_default()
    }

    pub(crate) fn css_url(&self) -> String {
        self.css.url()
    }

    pub(crate) fn js_url(&self) -> String {
        self.js.url()
    }

    pub(crate) fn logo_url(&self) -> Option<String> {
        self.logo.as_ref().map(Asset::url)
    }

    /// One file. While releases change, a page of the other release may ask for its own edition: it gets ours, to be
    /// asked for again soon, because a page without its theme is worse than one with a newer one.
    pub(crate) fn serve(&self, file: &str) -> Result<Reply, Problem> {
        let all = [Some(&self.css), Some(&self.js), self.logo.as_ref()];
        let asset = all.into_iter().flatten().find(|asset| asset.file == file || asset.is_an_edition(file));
        let asset = asset.ok_or_else(Problem::not_found)?;
        let kept = if asset.file == file { "public, max-age=31536000, immutable" } else { "public, max-age=60" };
        Ok(Reply::bytes(StatusCode::OK, HeaderValue::from_static(asset.kind), asset.bytes.clone())
            .header(CACHE_CONTROL, HeaderValue::from_static(kept))
            .header(CONTENT_TYPE, HeaderValue::from_static(asset.kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assets(accent: Option<&str>) -> Assets {
        Assets::new("body {}", accent.and_then(|text| Accent::parse(text).ok()).as_ref(), None)
    }

    fn cached(answer: &Result<Reply, Problem>) -> &str {
        let reply = answer.as_ref().ok();
        reply.and_then(|reply| reply.headers.get(CACHE_CONTROL)?.to_str().ok()).unwrap_or_default()
    }

    #[test]
    fn another_content_has_another_url() {
        assert_ne!(assets(None).css_url(), assets(Some("#0b57d0")).css_url());
        assert_eq!(assets(None).css_url(), assets(None).css_url());
    }

    #[test]
    fn an_asset_is_kept_for_ever_and_another_releases_is_not() {
        let assets = assets(None);
        let file = assets.css_url().replace("/assets/", "");
        assert!(cached(&assets.serve(&file)).contains("immutable"));
        assert_eq!(cached(&assets.serve("cairn-0123456789abcdef.css")), "public, max-age=60");
        assert!(assets.serve("cairn.css").is_ok());
        for none in ["", "x.css", "cairn-", "cairnx.css", "logo-1.svg", "../cairn.css"] {
            assert!(assets.serve(none).is_err(), "{none}");
        }
    }

    #[test]
    fn a_logo_is_a_picture_of_modest_size() {
        assert!(Logo::new("logo.SVG", b"<svg/>".to_vec()).is_ok());
        assert!(Logo::new("logo.exe", vec![1]).is_err());
        assert!(Logo::new("logo.png", vec![0; LARGEST_LOGO + 1]).is_err());
    }
}
