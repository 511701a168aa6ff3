//! Rules about text that several rooms print.

/// A URL that was parsed once, without `user:password@`. Its authority begins after `://` and ends before the next `/`, `?`
/// or `#` (RFC 3986, 3.2).
pub fn without_credentials(url: &str) -> String {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |length| start + length);
    match url[start..end].rfind('@') {
        Some(at) => [&url[..start], &url[start + at + 1..]].concat(),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_url_is_shown_as_typed_without_its_credentials() {
        for (url, shown) in [
            ("http://h/a", "http://h/a"),
            ("HTTP://H/%61#b", "HTTP://H/%61#b"),
            ("http://u:p@h/a", "http://h/a"),
            ("http://u:p@h", "http://h"),
            ("http://u;x:p%40q@h/a@b", "http://h/a@b"),
            ("http://:p@h?x@y", "http://h?x@y"),
            ("http://@h/", "http://h/"),
            ("http://h/a?next=http://u@h/", "http://h/a?next=http://u@h/"),
        ] {
            assert_eq!(without_credentials(url), shown, "{url}");
        }
    }
}
