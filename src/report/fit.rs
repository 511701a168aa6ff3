//! Text cut to the columns that there are for it.
//!
//! Must not know what it says.

use unicode_width::UnicodeWidthChar;

/// Stands for what was cut away.
const CUT: &str = "..";

/// A URL in at most `columns` columns: without its scheme where it is long, cut in its middle where it is longer.
pub fn url(url: &str, columns: usize) -> String {
    match url.split_once("://") {
        Some((_, rest)) if end(url, columns) != url => middle(rest, columns),
        _ => middle(url, columns),
    }
}

/// `text` in at most `columns` columns, cut in its middle: the end of a name tells more than its beginning.
pub fn middle(text: &str, columns: usize) -> String {
    if end(text, columns) == text {
        return text.to_owned();
    }
    let tail = columns * 2 / 3;
    let start = text.char_indices().rev().scan((0, 0), |(width, count), (at, c)| {
        (*width, *count) = (*width + c.width().unwrap_or(0), *count + 1);
        (*width <= tail && *count <= 2 * tail).then_some(at)
    });
    let start = start.last().unwrap_or(text.len());
    let head = end(text, columns - tail);
    // Of marks without width both may be the same piece.
    match head.strip_suffix(CUT).filter(|head| head.len() <= start) {
        Some(_) => head + &text[start..],
        None => end(text, columns),
    }
}

/// `text` in at most `columns` columns, cut at the end. Marks that take no column of their own are bounded too.
pub fn end(text: &str, columns: usize) -> String {
    let mut whole = 0;
    let mut width = 0;
    for (count, (at, c)) in text.char_indices().enumerate() {
        let next = width + c.width().unwrap_or(0);
        if next > columns || count >= 4 * columns {
            let mut cut = text[..whole].to_owned();
            cut.push_str(&CUT[..columns.min(CUT.len())]);
            return cut;
        }
        width = next;
        if width + CUT.len() <= columns {
            whole = at + c.len_utf8();
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn a_text_that_does_not_fit_is_cut_between_characters() {
        let table = [("abc", 3, "abc"), ("abcd", 3, "a.."), ("日本語", 6, "日本語"), ("日本語", 5, "日..")];
        for (text, columns, expected) in table {
            assert_eq!(end(text, columns), expected);
        }
        for columns in 0..3 {
            assert!(end("日本語", columns).width() <= columns);
        }
    }

    #[test]
    fn a_long_url_keeps_its_host_and_its_name() {
        let url = "https://example.org/some/where/deep/below/data-00017.tar.gz";
        for (columns, expected) in [
            (59, url),
            (58, "example.org/some/where/deep/below/data-00017.tar.gz"),
            (51, "example.org/some/where/deep/below/data-00017.tar.gz"),
            (42, "example.org/..deep/below/data-00017.tar.gz"),
            (24, "exampl..ata-00017.tar.gz"),
            (3, "e.."),
            (0, ""),
        ] {
            let label = super::url(url, columns);
            assert!(label.width() <= columns, "{label}");
            assert_eq!(label, expected, "{columns}");
        }
    }
}
