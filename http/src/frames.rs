//! Reads along with an HTTP/2 connection (RFC 9113), to know what the HTTP library does not tell: whether a head is
//! coming in, which answers are still unsent, and whether octets of them move.
//!
//! Only frame headers are looked at. Whether a connection may go on is judged by requests and answers alone, so frames
//! that are neither (PING, SETTINGS, WINDOW_UPDATE, unknown ones) keep no connection alive.

use std::collections::HashSet;

/// What a client's connection begins with (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Answers that are remembered as unsent, at most; the library bounds them more tightly.
const MOST_UNSENT: usize = 1_024;

/// The frames of one direction, as their octets pass.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    filled: usize,
    /// Octets of the present frame's payload that are still to come.
    left: usize,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frames {
    fn present(&self) -> Frame {
        let [_, _, _, kind, flags, a, b, c, d] = self.header;
        Frame { kind, flags, stream: u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff }
    }

    /// Takes octets and calls `passed` for each frame whose header has passed: `true` when its last octet has, too.
    fn pass(&mut self, mut octets: &[u8], mut passed: impl FnMut(Frame, bool)) {
        while !octets.is_empty() {
            if self.filled < HEADER {
                let take = octets.len().min(HEADER - self.filled);
                let (now, rest) = octets.split_at(take);
                if let Some(place) = self.header.get_mut(self.filled..self.filled + take) {
                    place.copy_from_slice(now);
                }
                self.filled += take;
                octets = rest;
                if self.filled < HEADER {
                    return;
                }
                let [a, b, c, ..] = self.header;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            } else {
                let take = octets.len().min(self.left);
                octets = octets.split_at(take).1;
                self.left -= take;
            }
            passed(self.present(), self.left == 0);
            if self.left == 0 {
                self.filled = 0;
            }
        }
    }
}

/// One HTTP/2 connection after its preface.
#[derive(Debug, Default)]
pub(crate) struct Http2 {
    coming: Frames,
    going: Frames,
    last_stream: u32,
    /// The stream whose first head is coming in.
    beginning: Option<u32>,
    /// Streams with a request whose answer is not wholly sent.
    unsent: HashSet<u32>,
    in_head: bool,
}

impl Http2 {
    /// Octets from the client.
    pub(crate) fn received(&mut self, octets: &[u8]) {
        let Self { coming, last_stream, beginning, unsent, in_head, .. } = self;
        coming.pass(octets, |frame, whole| match frame.kind {
            HEADERS | CONTINUATION => {
                *in_head = !(whole && frame.flags & END_HEADERS != 0);
                // Later ones of a stream are trailers.
                if frame.kind == HEADERS && frame.stream > *last_stream {
                    *last_stream = frame.stream;
                    *beginning = Some(frame.stream);
                }
                // Nothing is owed to half a request.
                if !*in_head
                    && let Some(stream) = beginning.take()
                    && unsent.len() < MOST_UNSENT
                {
                    unsent.insert(stream);
                }
            }
            RST_STREAM => {
                unsent.remove(&frame.stream);
            }
            _ => {}
        });
    }

    /// Octets to the client. Whether any belonged to an answer.
    pub(crate) fn sent(&mut self, octets: &[u8]) -> bool {
        let Self { going, unsent, .. } = self;
        let mut progress = false;
        going.pass(octets, |frame, whole| match frame.kind {
            DATA | HEADERS | CONTINUATION => {
                progress = true;
                if whole && frame.kind != CONTINUATION && frame.flags & END_STREAM != 0 {
                    unsent.remove(&frame.stream);
                }
            }
            RST_STREAM => {
                unsent.remove(&frame.stream);
            }
            _ => {}
        });
        progress
    }

    /// Requests that have come and whose answers are not wholly sent.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Whether a request's head has begun and not ended.
    pub(crate) fn is_in_head(&self) -> bool {
        self.in_head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn an_answer_is_unsent_until_its_last_octet_whatever_else_passes() {
        let request = [frame(4, 0, 0, &[0; 6]), frame(HEADERS, END_HEADERS | END_STREAM, 1, b"head")].concat();
        let pings = [frame(6, 0, 0, &[7; 8]), frame(8, 0, 0, &[1; 4]), frame(4, 1, 0, b"")].concat();
        let answer = [frame(HEADERS, END_HEADERS, 1, b"200"), frame(DATA, END_STREAM, 1, b"hello")].concat();
        for size in 1..=request.len() {
            let mut connection = Http2::default();
            request.chunks(size).for_each(|octets| connection.received(octets));
            assert_eq!((connection.unsent(), connection.is_in_head()), (1, false));
            assert!(!connection.sent(&pings), "no progress");
            let (last, before) = answer.split_last().unwrap_or((&0, &[]));
            for octets in before.chunks(size) {
                connection.sent(octets);
                assert_eq!(connection.unsent(), 1);
            }
            assert!(connection.sent(&[*last]));
            assert_eq!(connection.unsent(), 0);
            connection.received(&frame(HEADERS, END_HEADERS | END_STREAM, 1, b"trailers"));
            assert_eq!(connection.unsent(), 0);
        }
    }

    #[test]
    fn a_stream_that_is_reset_by_either_side_has_nothing_unsent() {
        let mut connection = Http2::default();
        connection.received(&frame(HEADERS, END_HEADERS, 1, b"a"));
        connection.received(&frame(HEADERS, END_HEADERS, 3, b"b"));
        connection.received(&frame(RST_STREAM, 0, 1, &[0; 4]));
        assert_eq!(connection.unsent(), 1);
        assert!(!connection.sent(&frame(RST_STREAM, 0, 3, &[0; 4])));
        assert_eq!(connection.unsent(), 0);
    }

    #[test]
    fn a_head_is_coming_in_from_its_first_octet_to_the_end_of_its_last_frame() {
        let head = [frame(HEADERS, 0, 1, b"one"), frame(CONTINUATION, END_HEADERS, 1, b"two")].concat();
        for size in 1..=head.len() {
            let mut connection = Http2::default();
            let mut seen = 0;
            for octets in head.chunks(size) {
                connection.received(octets);
                seen += octets.len();
                assert_eq!(connection.is_in_head(), (HEADER..head.len()).contains(&seen), "{seen}");
                assert_eq!(connection.unsent(), usize::from(seen == head.len()), "{seen}");
            }
        }
    }
}
