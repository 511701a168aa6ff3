//! What libcurl measured, read from a handle whose attempt is over.

use std::net::IpAddr;
use std::time::Duration;

use curl::multi::Easy2Handle;

use super::extras;
use super::ffi;
use super::info::{Long, Off, Text};
use super::transfer::Transfer;
use crate::job::{Extra, Job, Stats};

/// Everything the record tells about an attempt of `job`, and what is `asked` beyond that.
pub fn read(easy: &mut Easy2Handle<Transfer>, job: &Job, asked: &[Extra]) -> Stats {
    let time = |info| micros(ffi::off(easy, info));
    let mut stats = Stats {
        http_version: ffi::long(easy, Long::HttpVersion).and_then(version),
        size_download: easy.get_ref().received(),
        speed_download: ffi::off(easy, Off::SpeedDownload).and_then(|speed| u64::try_from(speed).ok()),
        num_connects: ffi::long(easy, Long::NumConnects).and_then(|count| u32::try_from(count).ok()),
        scheme: ffi::text(easy, Text::Scheme).map(|scheme| scheme.to_ascii_lowercase()),
        time_namelookup: time(Off::NamelookupTime),
        time_connect: time(Off::ConnectTime),
        time_appconnect: time(Off::AppconnectTime),
        time_starttransfer: time(Off::StarttransferTime),
        time_total: time(Off::TotalTime),
        conn_id: ffi::off(easy, Off::ConnId).filter(|id| *id >= 0),
        xfer_id: ffi::off(easy, Off::XferId).filter(|id| *id >= 0),
        extras: extras::read(easy, asked),
        ..Stats::default()
    };
    let fragment = job.target_fragment().map(|fragment| format!("#{fragment}"));
    stats.url_effective =
        lossy(easy.effective_url_bytes().ok().flatten()).map(|url| url + fragment.as_deref().unwrap_or_default());
    stats.http_code = easy.response_code().ok().filter(|code| *code != 0);
    stats.content_type = lossy(easy.content_type_bytes().ok().flatten());
    stats.num_redirects = Some(0);
    stats.remote_ip = easy.primary_ip().ok().flatten().filter(|ip| !ip.is_empty()).map(str::to_owned);
    // -1 while no connection has stood.
    stats.remote_port =
        ffi::long(easy, Long::PrimaryPort).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    stats
}

/// What changes where libcurl did not end the transfer: its clock stood since it last had to do with it.
pub fn stopped_after(stats: Stats, took: Duration) -> Stats {
    let time_total = stats.time_total.unwrap_or_default().max(took);
    let speed = (!time_total.is_zero()).then(|| (stats.size_download as f64 / time_total.as_secs_f64()) as u64);
    Stats { time_total: Some(time_total), speed_download: speed.or(stats.speed_download), ..stats }
}

/// Whether a transfer's connection carries several at once; `None` when no response told.
pub fn multiplexes(stats: &Stats) -> Option<bool> {
    stats.http_version.map(|version| version == "2")
}

/// The address that a transfer connected to before its lookup was done; `None` where libcurl knows the name, and
/// where a proxy has another one.
pub fn unresolved(easy: &mut Easy2Handle<Transfer>) -> Option<IpAddr> {
    let is_unresolved = ffi::off(easy, Off::NamelookupTime) == Some(0);
    if !is_unresolved || ffi::long(easy, Long::UsedProxy) != Some(0) {
        return None;
    }
    easy.primary_ip().ok().flatten()?.parse().ok()
}

fn version(number: i64) -> Option<&'static str> {
    // CURL_HTTP_VERSION_*
    match number {
        1 => Some("1.0"),
        2 => Some("1.1"),
        3 => Some("2"),
        _ => None,
    }
}

fn micros(value: Option<i64>) -> Option<Duration> {
    value.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros)
}

fn lossy(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
