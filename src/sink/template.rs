//! `-o TEMPLATE`: from a job to a path below the output directory.
//!
//! Text that the user typed is used as it is; what comes from the URL is made safe by `names`. A template cannot
//! leave the output directory, whatever the URL is.

use super::hash::Digest;
use super::names;
use crate::job::Job;

/// Hex digits of `{hash}`: the 64 bits by which URLs are told apart.
const HASH_DIGITS: usize = 16;

/// Hex digits of a whole hash.
const MOST_HASH_DIGITS: usize = 64;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Name,
    Stem,
    Ext,
    Host,
    Port,
    Path,
    Line,
    /// So many hex digits of it.
    Hash(usize),
}

/// The words between the braces; `{hash:N}` besides.
const PLACEHOLDERS: [(&str, Placeholder); 8] = [
    ("name", Placeholder::Name),
    ("stem", Placeholder::Stem),
    ("ext", Placeholder::Ext),
    ("host", Placeholder::Host),
    ("port", Placeholder::Port),
    ("path", Placeholder::Path),
    ("line", Placeholder::Line),
    ("hash", Placeholder::Hash(HASH_DIGITS)),
];

impl Template {
    /// Reads `{name}` (last segment of the URL's path), `{stem}` and `{ext}` (its parts; the extension has its dot),
    /// `{host}` (without port), `{port}`, `{path}` (the URL's path with its directories and its name), `{line}` (line
    /// number in its INPUT), `{hash}` (first 16 hex digits of the SHA-256 of the URL as it is requested), `{hash:N}` (the
    /// first N, 1 to 64, for directories of their own: `{hash:2}/{hash}`). `{{` and `}}` are braces.
    ///
    /// # Errors
    /// What is wrong with it: an unknown placeholder, a lone brace, or text that is not a path below a directory.
    pub fn parse(template: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        // What the template looks like as a path, with a stand-in for every placeholder.
        let mut shape = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            let end = after.find('}').filter(|_| brace == "{");
            let end = end.ok_or_else(|| format!("a single {brace}; write {brace}{brace} for a brace"))?;
            let placeholder = Placeholder::parse(&after[..end])?;
            shape.push_str(&text);
            shape.push('x');
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Placeholder(placeholder));
            rest = &after[end + 1..];
        }
        text.push_str(rest);
        shape.push_str(&text);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        names::confined(&shape)?;
        Ok(Template(pieces))
    }

    /// Whether the same URL gets another path on another line.
    pub fn depends_on_the_line(&self) -> bool {
        self.0.contains(&Piece::Placeholder(Placeholder::Line))
    }

    /// Whether no two URLs get the same path, nor one that is a directory of the other's: the hash stands in the last
    /// component within its first [`names::NEVER_CUT`] bytes, and the template has no `{path}`.
    pub fn is_unique(&self) -> bool {
        // Bytes of the last component so far, at most.
        let mut length = Some(1);
        let mut has_hash = false;
        for piece in &self.0 {
            let longest = match piece {
                Piece::Text(text) => {
                    if let Some(slash) = text.rfind('/') {
                        (length, has_hash) = (Some(text.len() - slash), false);
                        continue;
                    }
                    Some(text.len())
                }
                Piece::Placeholder(Placeholder::Path) => return false,
                Piece::Placeholder(Placeholder::Hash(digits)) => Some(*digits),
                Piece::Placeholder(Placeholder::Line) => Some(20),
                Piece::Placeholder(Placeholder::Port) => Some(5),
                Piece::Placeholder(Placeholder::Name | Placeholder::Stem | Placeholder::Ext | Placeholder::Host) => {
                    None
                }
            };
            length = length.zip(longest).map(|(length, more)| length + more);
            let is_hash = matches!(piece, Piece::Placeholder(Placeholder::Hash(digits)) if *digits >= HASH_DIGITS);
            has_hash |= is_hash && length.is_some_and(|length| length <= names::NEVER_CUT);
        }
        has_hash
    }

    /// The path for `job`, whose URL has the digest `url`.
    pub fn expand(&self, job: &Job, url: &Digest) -> String {
        let mut path = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Placeholder(placeholder) => {
                    let value = placeholder.value(job, url);
                    let begins_component = path.is_empty() || path.ends_with('/');
                    // An empty value may be followed by text that makes a name of the component.
                    let value = if begins_component && !value.is_empty() { names::guarded(value) } else { value };
                    path.push_str(&value);
                }
            }
        }
        names::finished(path, url)
    }
}

impl Placeholder {
    fn parse(word: &str) -> Result<Placeholder, String> {
        if let Some(digits) = word.strip_prefix("hash:") {
            return match digits.parse() {
                Ok(digits @ 1..=MOST_HASH_DIGITS) => Ok(Placeholder::Hash(digits)),
                _ => Err(format!("{{{word}}}: a hash has from 1 to {MOST_HASH_DIGITS} digits")),
            };
        }
        let known = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        known.map(|(_, placeholder)| *placeholder).ok_or_else(|| {
            let words = PLACEHOLDERS.map(|(name, _)| format!("{{{name}}}"));
            format!("unknown placeholder {{{word}}}; there are {} {{hash:N}}", words.join(" "))
        })
    }

    fn value(self, job: &Job, url: &Digest) -> String {
        match self {
            Placeholder::Name => names::name(&job.request_url),
            Placeholder::Stem => names::split(&names::name(&job.request_url)).0.to_owned(),
            Placeholder::Ext => names::split(&names::name(&job.request_url)).1.to_owned(),
            Placeholder::Host => names::decoded(&job.host.name),
            Placeholder::Port => job.host.port.to_string(),
            Placeholder::Path => names::path(&job.request_url),
            Placeholder::Line => job.origin.line.to_string(),
            Placeholder::Hash(digits) => url.hex(digits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::job;

    fn expand(template: &str, url: &str) -> String {
        let template = Template::parse(template).unwrap_or_else(|error| panic!("{template}: {error}"));
        template.expand(&job(url), &Digest::of(url))
    }

    #[test]
    fn placeholders_are_replaced_by_what_they_name() {
        let url = "http://h.example:81/d/a.tar.gz?q";
        for (template, expected) in [
            ("{name}", "a.tar.gz"),
            ("{stem}{ext}", "a.tar.gz"),
            ("{stem}-{line}{ext}", "a.tar-7.gz"),
            ("{host}/{path}", "h.example/d/a.tar.gz"),
            ("{host}:{port}", "h.example:81"),
            ("x/{{{name}}}", "x/{a.tar.gz}"),
            ("fixed.bin", "fixed.bin"),
            (".cache/-{stem}", ".cache/-a.tar"),
            ("{name}.part", "a.tar.gz.part_"),
        ] {
            assert_eq!(expand(template, url), expected, "{template}");
        }
        let hash = Digest::of(url).hex(64);
        for (template, expected) in [
            ("{hash}", hash[..16].to_owned()),
            ("{hash:1}", hash[..1].to_owned()),
            ("{hash:64}", hash.clone()),
            ("{hash:2}/{hash}{ext}", format!("{}/{}.gz", &hash[..2], &hash[..16])),
        ] {
            assert_eq!(expand(template, url), expected, "{template}");
        }
    }

    #[test]
    fn a_template_is_unique_where_the_hash_is_never_cut_and_all_paths_are_as_deep() {
        let long = "x".repeat(200);
        for (template, unique) in [
            ("{hash}", true),
            ("{hash}{ext}", true),
            ("{hash}-{name}", true),
            ("{line}-{port}-{hash}.bin", true),
            ("{host}/{hash}", true),
            ("{name}/x{hash}", true),
            ("{hash:2}/{hash}", true),
            ("{hash:64}", true),
            ("{hash:15}", false),
            ("{hash}/{hash:2}", false),
            ("{name}", false),
            ("{line}", false),
            ("fixed", false),
            ("{name}-{hash}", false),
            ("{hash}/{name}", false),
            ("{path}/{hash}", false),
            (&format!("{long}{{hash}}"), false),
            (&format!("{long}/{{hash}}"), true),
        ] {
            assert_eq!(Template::parse(template).unwrap().is_unique(), unique, "{template}");
        }
        let long = format!("http://h/{}", "n".repeat(400));
        for url in [&long, &format!("{long}.{}", "e".repeat(400)), &format!("{long}.html")] {
            let (hash, name) = (Digest::of(url).hex(16), expand("{hash}-{name}", url));
            assert!(name.starts_with(&hash) && name.len() <= names::COMPONENT_MAX, "{name}");
        }
    }

    #[test]
    fn nothing_in_a_url_makes_a_component_that_is_hidden_or_no_name() {
        for (template, url, expected) in [
            ("{ext}", "http://h/a.b", "_.b"),
            ("{ext}", "http://h/a", "_"),
            ("{ext}/x", "http://h/a", "_/x"),
            (".{ext}", "http://h/a", "_."),
            ("{host}/{path}", "http://../../%2e%2e%2f", "_../_../_..%2f"),
            ("{path}", "http://h/.a/-b/~c", "_.a/_-b/_~c"),
            ("{name}", "http://h/%2e%2e", "_.."),
        ] {
            assert_eq!(expand(template, url), expected, "{template} {url}");
        }
    }

    #[test]
    fn a_template_that_means_nothing_or_leaves_the_directory_is_refused() {
        for template in ["", "{nmae}", "{", "}", "a{b", "{name}}", "/abs/{name}", "../{name}", "a//{name}", "a/", "a\0"]
        {
            assert!(Template::parse(template).is_err(), "{template:?}");
        }
        for template in ["{hash:}", "{hash:0}", "{hash:65}", "{hash:-1}", "{hash:x}", "{name:2}"] {
            assert!(Template::parse(template).is_err(), "{template:?}");
        }
        let error = Template::parse("{nmae}").expect_err("no such placeholder");
        assert!(error.contains("{nmae}") && error.contains("{name} {stem} {ext}"), "{error}");
    }
}
