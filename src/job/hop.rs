//! Where a redirect led: the next request of a job, which is scheduled as a job of that host.

use std::time::Duration;

use super::{Host, Job, Stats};

/// A redirect that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The URL as it is sent, without user, password and fragment.
    pub url: String,
    /// What stands behind the `#` in the redirect's.
    pub fragment: Option<String>,
    /// Whom the request goes to.
    pub host: Host,
    /// The URL that led here.
    pub from: String,
    /// Whether the request's body stayed behind, and the method with it that a body makes (301, 302, 303).
    pub without_body: bool,
    /// Bytes of the heads of all responses that led here.
    pub heads: u64,
    /// What was measured on the way.
    pub stats: Stats,
}

impl Job {
    /// Whom its next request goes to: its own host, or where a redirect led.
    pub fn target(&self) -> &Host {
        self.hop.as_ref().map_or(&self.host, |hop| &hop.host)
    }

    /// The URL of its next request.
    pub fn target_url(&self) -> &str {
        self.hop.as_ref().map_or(&self.request_url, |hop| &hop.url)
    }

    /// What stands behind the `#` of that URL, and is not sent; a mirror's is not kept.
    pub fn target_fragment(&self) -> Option<&str> {
        match &self.hop {
            Some(hop) => hop.fragment.as_deref(),
            None if self.is_at_mirror() => None,
            None => self.url.split_once('#').map(|(_, fragment)| fragment),
        }
    }

    /// Whether a redirect led to another origin than that of its URL, which alone its secrets are for.
    pub fn is_elsewhere(&self) -> bool {
        self.hop.as_ref().is_some_and(|hop| hop.host != self.host)
    }

    /// What its last request measured, if one was sent, with those that led there.
    pub fn through(&self, last: Option<Stats>) -> Option<Stats> {
        match (&self.hop, last) {
            (Some(hop), Some(last)) => Some(last.after(&hop.stats)),
            (Some(hop), None) => Some(hop.stats.clone()),
            (None, last) => last,
        }
    }

    /// Time that the requests before the next one took.
    pub fn spent(&self) -> Duration {
        self.hop.as_ref().and_then(|hop| hop.stats.time_total).unwrap_or_default()
    }
}

impl Stats {
    /// Of one more request than `before`, as curl counts them together.
    fn after(self, before: &Stats) -> Stats {
        let both = |last: Option<Duration>, before: Option<Duration>| {
            last.map_or(before, |last| Some(last + before.unwrap_or_default()))
        };
        let time_total = both(self.time_total, before.time_total);
        let before_took = before.time_total.unwrap_or_default();
        let extras = self.extras.iter().enumerate().map(|(index, last)| {
            before.extras.get(index).map_or_else(|| last.clone(), |before| last.clone().after(before, before_took))
        });
        let speed = |time: Duration| (self.size_download as f64 / time.as_secs_f64()) as u64;
        Stats {
            http_code: self.http_code.or(before.http_code),
            num_redirects: Some(before.num_redirects.unwrap_or_default() + 1),
            num_connects: self.num_connects.map(|count| count + before.num_connects.unwrap_or_default()),
            time_namelookup: both(self.time_namelookup, before.time_namelookup),
            time_connect: both(self.time_connect, before.time_connect),
            time_appconnect: both(self.time_appconnect, before.time_appconnect),
            time_starttransfer: both(self.time_starttransfer, before.time_starttransfer),
            speed_download: time_total.filter(|time| !time.is_zero()).map(speed).or(self.speed_download),
            time_total,
            extras: extras.collect(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_chain_are_counted_together() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let first = Stats {
            http_code: Some(302),
            num_redirects: Some(0),
            num_connects: Some(1),
            time_connect: ms(10),
            time_starttransfer: ms(30),
            time_total: ms(40),
            ..Stats::default()
        };
        let second = Stats {
            http_code: Some(200),
            num_redirects: Some(0),
            num_connects: Some(0),
            size_download: 1000,
            time_connect: ms(0),
            time_starttransfer: ms(5),
            time_total: ms(60),
            ..Stats::default()
        };
        let both = second.clone().after(&first);
        assert_eq!((both.http_code, both.num_redirects, both.num_connects), (Some(200), Some(1), Some(1)));
        assert_eq!((both.time_connect, both.time_starttransfer, both.time_total), (ms(10), ms(35), ms(100)));
        assert_eq!((both.size_download, both.speed_download), (1000, Some(10_000)));
        let third = Stats::default().after(&both);
        assert_eq!((third.http_code, third.num_redirects, third.time_total), (Some(200), Some(2), ms(100)));
    }
}
