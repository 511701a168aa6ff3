//! Which libcurl this is, and whether its event API can be trusted.

use curl::Version;

/// 8.15.0: from here on libcurl itself asks to be run again when it leaves data in a socket.
const OLDEST: u32 = 0x08_0f_00;

/// Releases with known faults in the event API, with what goes wrong.
///
/// Two faults are not listed, since they do no harm here: 8.15 takes back sockets that it never announced, which the
/// selector ignores; and from 8.16 on transfers that wait for a connection run into the connect timeout, which is an
/// answer of its own (`classify`).
const KNOWN_BAD: [(u32, &str); 2] = [
    (0x08_14_00, "its wake-up descriptor keeps one core busy"),
    (0x08_15_00, "TLS connections that are being closed leak descriptors"),
];

/// `Err`: too old to run with. `Ok(Some(_))`: a warning.
pub fn check() -> Result<Option<String>, String> {
    let version = Version::get();
    verdict(version.version_num(), version.version())
}

fn verdict(number: u32, name: &str) -> Result<Option<String>, String> {
    if number < OLDEST {
        return Err(format!("libcurl {name} is too old: 8.15.0 or newer is needed"));
    }
    let fault = KNOWN_BAD.iter().find(|(bad, _)| *bad == number);
    Ok(fault.map(|(_, fault)| format!("libcurl {name} has a known fault: {fault}; use a newer release")))
}

/// The libraries in use, for `--version`: `libcurl/8.22.0 OpenSSL/3.6.3 zlib/1.3.1 nghttp2/1.68.1`.
pub fn describe() -> String {
    let version = Version::get();
    let mut parts = vec![format!("libcurl/{}", version.version())];
    parts.extend(version.ssl_version().map(str::to_owned));
    parts.extend(version.libz_version().map(|zlib| format!("zlib/{zlib}")));
    parts.extend(version.nghttp2_version().map(|nghttp2| format!("nghttp2/{nghttp2}")));
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_releases_are_refused_and_faulty_ones_warned_of() {
        assert!(verdict(0x07_58_01, "7.88.1").is_err());
        assert!(verdict(0x08_0e_01, "8.14.1").is_err());
        assert_eq!(verdict(0x08_0f_00, "8.15.0"), Ok(None));
        assert_eq!(verdict(0x08_16_00, "8.22.0"), Ok(None));
        for (number, name) in [(0x08_14_00, "8.20.0"), (0x08_15_00, "8.21.0")] {
            let warning = verdict(number, name).expect("usable").expect("a warning");
            assert!(warning.contains(name), "{warning}");
        }
    }

    #[test]
    fn the_libraries_in_use_are_named() {
        let text = describe();
        for library in ["libcurl/", "zlib/", "nghttp2/"] {
            assert!(text.contains(library), "{text}");
        }
    }
}
