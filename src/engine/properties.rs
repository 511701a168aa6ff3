//! What holds for every head of a response. `PROPTEST_CASES=100000 cargo test properties` looks longer.

use std::time::{Duration, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;

use super::response::{Asked, Response};

/// Ten years: anything longer counts as this.
const LONGEST: u64 = 10 * 365 * 24 * 3600;
/// The end of the year 9999, the last that an HTTP-date can name.
const LAST: u64 = 253_402_300_799;

fn response(lines: &[String]) -> Response {
    let mut response = Response::default();
    lines.iter().for_each(|line| response.read(line.as_bytes()));
    response
}

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn seconds_are_seconds_up_to_ten_years(seconds in "[0-9]{1,30}", name in "[Rr]etry-[aA]fter", space in "[ \t]{0,3}") {
        let line = format!("{name}:{space}{seconds}{space}\r\n");
        let expected = seconds.parse().unwrap_or(u64::MAX).min(LONGEST);
        let found = response(&["HTTP/1.1 503 x\r\n".into(), line]).retry_after();
        prop_assert_eq!(found, Some(Duration::from_secs(expected)));
    }

    #[test]
    fn a_date_counts_from_the_responses_own(now in 0..LAST, then in 0..LAST) {
        let lines = ["HTTP/2 429\r\n".into(), format!("retry-after: {}\r\n", date(then)), format!("date: {}\r\n", date(now))];
        let expected = then.saturating_sub(now).min(LONGEST);
        prop_assert_eq!(response(&lines).retry_after(), Some(Duration::from_secs(expected)));
    }

    #[test]
    fn anything_else_is_no_time_or_a_bounded_one(value in any::<String>()) {
        let found = response(&["HTTP/1.1 503 x\r\n".into(), format!("Retry-After: {value}\r\n")]).retry_after();
        prop_assert!(found.is_none_or(|time| time <= Duration::from_secs(LONGEST)));
    }

    #[test]
    fn no_head_makes_the_reader_stumble(lines in vec(vec(any::<u8>(), 0..60), 0..20), status in any::<u32>()) {
        let mut response = Response::default();
        response.read(format!("HTTP/1.1 {status} x\r\n").as_bytes());
        lines.iter().for_each(|line| response.read(line));
        let _ = (response.accept(Asked::default()), response.retry_after(), response.declared(), response.leads().is_some());
    }
}
