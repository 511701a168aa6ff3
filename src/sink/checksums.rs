//! `--checksum-file`: what files must hash to, by their name below the output directory, in the format of sha256sum
//! (also sha1sum's and md5sum's, which differ in length alone) or of BSD's tools.
//!
//! Must not know where files are, nor what is computed of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};

use crate::job::Checksum;

/// Checksums by name. By default there are none.
#[derive(Debug, Default)]
pub struct Checksums {
    by_name: HashMap<Box<str>, Checksum>,
}

impl Checksums {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, says nothing, or a line of it is none of a checksum file: named as `path:line`.
    pub fn read(path: &Path) -> anyhow::Result<Checksums> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("read the checksum file {shown}"))?;
        let checksums = Checksums::parse(&bytes).map_err(|(line, why)| anyhow::anyhow!("{shown}:{line}: {why}"))?;
        if checksums.by_name.is_empty() {
            bail!("the checksum file {shown} names no file");
        }
        Ok(checksums)
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// What the file `name` must hash to.
    pub fn of(&self, name: &str) -> Option<Checksum> {
        self.by_name.get(name).copied()
    }

    /// What `bytes` say; an error has the number of its line.
    pub fn parse(bytes: &[u8]) -> Result<Checksums, (usize, Cow<'static, str>)> {
        let mut checksums = Checksums::default();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() || line.starts_with(b"#") {
                continue;
            }
            let (name, checksum) = entry(line).map_err(|why| (number, why))?;
            // Ours are UTF-8: no other name can be meant.
            let Ok(name) = String::from_utf8(name) else { continue };
            let name = normal(&name);
            match checksums.by_name.get(name.as_str()) {
                Some(earlier) if *earlier != checksum => {
                    return Err((number, format!("another checksum of {name:?} came before").into()));
                }
                _ => checksums.by_name.insert(name.into(), checksum),
            };
        }
        Ok(checksums)
    }
}

/// Name and checksum of one line.
fn entry(line: &[u8]) -> Result<(Vec<u8>, Checksum), Cow<'static, str>> {
    let (line, escaped) = match line.strip_prefix(b"\\") {
        Some(line) => (line, true),
        None => (line, false),
    };
    let (digits, name) = tagged(line).or_else(|| plain(line)).ok_or("no line of a checksum file")?;
    let Some(checksum) = Checksum::from_hex(digits) else {
        return Err(format!("{} hex digits: only SHA-256, SHA-1 and MD5 are known", digits.len()).into());
    };
    if name.is_empty() {
        return Err("no file name".into());
    }
    Ok((if escaped { unescaped(name).ok_or("no such escape in a file name")? } else { name.to_vec() }, checksum))
}

/// `DIGITS  name`, or `DIGITS *name` for binary mode, which is the same here.
fn plain(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (digits, rest) = (&line[..space], &line[space + 1..]);
    let name = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"*")).unwrap_or(rest);
    is_hex(digits).then_some((digits, name))
}

/// `SHA256 (name) = DIGITS`.
fn tagged(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const END: &[u8] = b") = ";
    let open = line.windows(2).position(|pair| pair == b" (")?;
    let close = line.windows(END.len()).rposition(|window| window == END)?;
    let (name, digits) = (line.get(open + 2..close)?, &line[close + END.len()..]);
    let tag = line[..open].iter().all(|byte| byte.is_ascii_alphanumeric() || b"-/".contains(byte));
    (tag && is_hex(digits)).then_some((digits, name))
}

fn is_hex(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit)
}

/// A name in which line ends and backslashes were escaped.
fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some(plain)
}

/// As names are claimed: `./a//b` is `a/b`. One that leads elsewhere stays as it is, and is nobody's.
fn normal(name: &str) -> String {
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return name.to_owned();
    }
    name.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    fn names(text: &str) -> Vec<(String, &'static str)> {
        let checksums = Checksums::parse(text.as_bytes()).unwrap();
        let mut names: Vec<_> =
            checksums.by_name.iter().map(|(name, checksum)| (name.to_string(), checksum.kind())).collect();
        names.sort();
        names
    }

    #[test]
    fn every_usual_format_is_read() {
        for (line, name, kind) in [
            (format!("{SHA256}  a.txt"), "a.txt", "SHA-256"),
            (format!("{SHA256} *a.txt"), "a.txt", "SHA-256"),
            (format!("{SHA256} a.txt"), "a.txt", "SHA-256"),
            (format!("{SHA256}  two words"), "two words", "SHA-256"),
            (format!("{SHA256}  ./dir//a"), "dir/a", "SHA-256"),
            (format!("{SHA256}  ../a"), "../a", "SHA-256"),
            (format!("\\{SHA256}  back\\\\slash\\nline"), "back\\slash\nline", "SHA-256"),
            (format!("{SHA256}  back\\slash"), "back\\slash", "SHA-256"),
            (format!("{}  a", SHA256.to_uppercase()), "a", "SHA-256"),
            (format!("{SHA1}  a"), "a", "SHA-1"),
            (format!("{MD5}  a"), "a", "MD5"),
            (format!("SHA256 (a (1).txt) = {SHA256}"), "a (1).txt", "SHA-256"),
            (format!("MD5 (a) = {MD5}"), "a", "MD5"),
            (format!("\u{feff}# made by hand\r\n\r\n{SHA256}  a\r\n"), "a", "SHA-256"),
            (format!("{SHA256}  a\n{SHA256}  a\n"), "a", "SHA-256"),
        ] {
            assert_eq!(names(&line), [(name.to_owned(), kind)], "{line:?}");
        }
        assert!(names("# nothing\n").is_empty());
    }

    #[test]
    fn anything_else_is_an_error_that_names_its_line() {
        for (line, message) in [
            ("not a checksum".to_owned(), "no line of a checksum file"),
            (SHA256.to_owned(), "no line of a checksum file"),
            (format!("{SHA256}  "), "no file name"),
            (format!("{}  a", &SHA256[1..]), "63 hex digits: only SHA-256, SHA-1 and MD5 are known"),
            (format!("{SHA256}{SHA256}  a"), "128 hex digits: only SHA-256, SHA-1 and MD5 are known"),
            (format!("x{}  a", &SHA256[1..]), "no line of a checksum file"),
            (format!("\\{SHA256}  a\\t"), "no such escape in a file name"),
            (format!("{MD5}  good"), "another checksum of \"good\" came before"),
            ("\0\0\0".to_owned(), "no line of a checksum file"),
        ] {
            let text = format!("{SHA256}  good\n\n{line}\n");
            let (number, why) = Checksums::parse(text.as_bytes()).unwrap_err();
            assert_eq!((number, why.as_ref()), (3, message), "{line:?}");
        }
    }
}
