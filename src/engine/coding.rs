//! Content codings: bodies that were asked for compressed are stored decoded.
//!
//! libcurl decodes too, but takes a compressed body that breaks off inside for a whole one.

use std::io::Write;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::job::{ErrorClass, Failure};

/// What is asked for (`Accept-Encoding`).
pub const ACCEPTED: &str = "gzip, deflate";

/// Bytes decoded in one step: one step of the worst bomb is 4 MiB.
const STEP: usize = 4096;

/// A body on its way from coded to plain.
pub enum Decoder {
    /// Sent as it is.
    Identity,
    /// RFC 1952, several members too.
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// RFC 9110's deflate is zlib's format; what came first decides, since some servers send the bare stream.
    Undecided,
    /// RFC 1950.
    Zlib(ZlibDecoder<Vec<u8>>),
    /// RFC 1951.
    Deflate(DeflateDecoder<Vec<u8>>),
}

impl Decoder {
    /// For a Content-Encoding, which is lower case. Only one coding at a time is known.
    pub fn new(coding: &str) -> Result<Decoder, Failure> {
        match coding {
            "" | "identity" => Ok(Decoder::Identity),
            "gzip" | "x-gzip" => Ok(Decoder::Gzip(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Ok(Decoder::Undecided),
            other => Err(bad(&format!("the body is coded as {other}, which is not known")).lasting()),
        }
    }

    /// Decodes `data`, and gives what comes out to `sink` piece by piece.
    pub fn decode(&mut self, data: &[u8], mut sink: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        if let (Decoder::Undecided, Some(first)) = (&self, data.first()) {
            // zlib's header names the method, 8, in its lower bits; a bare stream cannot begin so with any window.
            *self = match first & 0x0f == 8 && first >> 4 <= 7 {
                true => Decoder::Zlib(ZlibDecoder::new(Vec::new())),
                false => Decoder::Deflate(DeflateDecoder::new(Vec::new())),
            };
        }
        if matches!(self, Decoder::Identity) {
            return sink(data);
        }
        for step in data.chunks(STEP) {
            let (done, plain) = match self {
                Decoder::Gzip(gzip) => (gzip.write_all(step), gzip.get_mut()),
                Decoder::Zlib(zlib) => (zlib.write_all(step), zlib.get_mut()),
                Decoder::Deflate(deflate) => (deflate.write_all(step), deflate.get_mut()),
                Decoder::Identity | Decoder::Undecided => return Ok(()),
            };
            done.map_err(|error| bad(&format!("the compressed body is broken: {error}")))?;
            sink(plain)?;
            plain.clear();
        }
        Ok(())
    }

    /// The body has ended; what is left comes out. An error when it broke off inside.
    pub fn finish(&mut self, mut sink: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let (done, plain) = match self {
            Decoder::Identity => return Ok(()),
            // Not a byte came, which is no stream at all: taken as an empty body.
            Decoder::Undecided => return Ok(()),
            Decoder::Gzip(gzip) => (gzip.try_finish(), gzip.get_mut()),
            Decoder::Zlib(zlib) => (zlib.try_finish(), zlib.get_mut()),
            Decoder::Deflate(deflate) => (deflate.try_finish(), deflate.get_mut()),
        };
        done.map_err(|error| bad(&format!("the compressed body breaks off: {error}")))?;
        sink(plain)
    }
}

fn bad(message: &str) -> Failure {
    // CURLE_BAD_CONTENT_ENCODING
    Failure::new(ErrorClass::Protocol, 61, message)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn text() -> Vec<u8> {
        (0..60_000u32).flat_map(|number| number.to_le_bytes()).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("coded");
        encoder.finish().expect("coded")
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("coded");
        encoder.finish().expect("coded")
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("coded");
        encoder.finish().expect("coded")
    }

    fn decoded(coding: &str, data: &[u8], piece: usize) -> Result<Vec<u8>, Failure> {
        let mut decoder = Decoder::new(coding)?;
        let mut plain = Vec::new();
        for piece in data.chunks(piece) {
            decoder.decode(piece, |bytes| {
                plain.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        decoder.finish(|bytes| {
            plain.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(plain)
    }

    #[test]
    fn what_was_coded_comes_out_whole_whatever_the_pieces() {
        let text = text();
        let twice = [gzip(&text), gzip(b"and more")].concat();
        for (coding, data, plain) in [
            ("gzip", gzip(&text), text.clone()),
            ("x-gzip", gzip(b""), Vec::new()),
            ("gzip", twice, [text.as_slice(), b"and more"].concat()),
            ("deflate", zlib(&text), text.clone()),
            ("deflate", deflate(&text), text.clone()),
            ("identity", text.clone(), text.clone()),
            ("deflate", Vec::new(), Vec::new()),
        ] {
            for piece in [1, 7, 4096, 1 << 20] {
                assert_eq!(decoded(coding, &data, piece).as_ref(), Ok(&plain), "{coding} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_breaks_off_or_is_garbage_is_an_error() {
        let text = text();
        for (name, coding, data) in [
            ("truncated gzip", "gzip", gzip(&text)[..500].to_vec()),
            ("gzip without its checksum", "gzip", gzip(&text)[..gzip(&text).len() - 8].to_vec()),
            ("gzip without its last byte", "gzip", gzip(&text)[..gzip(&text).len() - 1].to_vec()),
            ("garbage after gzip", "gzip", [gzip(&text).as_slice(), b"garbage that goes on"].concat()),
            ("truncated zlib", "deflate", zlib(&text)[..500].to_vec()),
            ("zlib without its checksum", "deflate", zlib(&text)[..zlib(&text).len() - 4].to_vec()),
            ("truncated deflate", "deflate", deflate(&text)[..500].to_vec()),
            ("plain text", "gzip", b"plain text, longer than a header".to_vec()),
            ("nothing", "gzip", Vec::new()),
        ] {
            for piece in [1, 100, 1 << 20] {
                let failure = decoded(coding, &data, piece).expect_err(name);
                assert_eq!((failure.class, failure.exitcode), (ErrorClass::Protocol, 61), "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_coding_is_refused() {
        for coding in ["br", "gzip, gzip", "rot13"] {
            assert!(Decoder::new(coding).is_err(), "{coding}");
        }
    }
}
