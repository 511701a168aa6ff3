//! Proves by a connection to a listener of our own what the libcurl at hand can do.
//!
//! Descriptors of 1024 and above: a libcurl built without `HAVE_POLL` waits with `select()`, which cannot, and every
//! connect on such a descriptor fails as if the server had refused it. The flag is set for our own build, but the
//! program may have been built elsewhere. And what only OpenSSL knows, before thousands of transfers fail by it: names of
//! groups, a key and its password.

use std::net::TcpListener;
use std::os::fd::{AsFd, IntoRawFd};
use std::time::Duration;

use curl::easy::{Easy2, Handler};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::tls::Client;
use super::{Fault, ffi};

/// The first descriptor that `select()` cannot watch.
pub const FD_SETSIZE: i32 = 1024;

/// How long a connection to ourselves may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A transfer of which nothing is wanted.
struct Plain;

impl Handler for Plain {
    fn debug(&mut self, _kind: curl::easy::InfoType, _data: &[u8]) {}
}

/// Gives libcurl a socket whose number is at least [`FD_SETSIZE`].
struct HighSocket {
    /// Whether there was such a number to give.
    opened: bool,
}

impl Handler for HighSocket {
    fn open_socket(&mut self, family: i32, kind: i32, _protocol: i32) -> Option<curl_sys::curl_socket_t> {
        let family = AddressFamily::from_raw(family as u16);
        let low =
            rustix::net::socket_with(family, SocketType::from_raw(kind as u32), SocketFlags::CLOEXEC, None).ok()?;
        let high = fcntl_dupfd_cloexec(low.as_fd(), FD_SETSIZE).ok()?;
        self.opened = true;
        Some(high.into_raw_fd())
    }

    fn debug(&mut self, _kind: curl::easy::InfoType, _data: &[u8]) {}
}

/// Connects once to a listener of our own on the loopback interface. `false` only when libcurl failed on a socket
/// that was there; where nothing can be tried (no loopback, no such descriptor), nothing is disproved.
pub fn high_descriptors_work(fault: Option<Fault>) -> bool {
    match fault {
        #[cfg(debug_assertions)]
        Some(Fault::Select) => false,
        _ => connects(),
    }
}

fn connects() -> bool {
    let Ok(listener) = TcpListener::bind(("127.0.0.1", 0)) else { return true };
    let Ok(address) = listener.local_addr() else { return true };
    let mut easy = Easy2::new(HighSocket { opened: false });
    let connect = |easy: &mut Easy2<HighSocket>| {
        easy.url(&format!("http://{address}/"))?;
        easy.noproxy("*")?;
        easy.connect_only(true)?;
        easy.connect_timeout(TIMEOUT)?;
        easy.perform()
    };
    let connected = connect(&mut easy).is_ok();
    connected || !easy.get_ref().opened
}

/// Whether libcurl can offer these groups for the key exchange of TLS; so, too, where that cannot be tried.
pub fn curves_are_known(curves: &str) -> bool {
    !begins(|easy| ffi::curves(easy, curves)).is_err_and(|error| error.code() == curl_sys::CURLE_SSL_CIPHER)
}

/// Whether libcurl can show this certificate, and use its key; so, too, where that cannot be tried.
pub fn client_is_usable(client: &Client) -> bool {
    // The second one stands for a key that is none, or another one's.
    const UNUSABLE: [curl_sys::CURLcode; 2] = [curl_sys::CURLE_SSL_CERTPROBLEM, curl_sys::CURLE_BAD_FUNCTION_ARGUMENT];
    !begins(|easy| client.apply(easy)).is_err_and(|error| UNUSABLE.contains(&error.code()))
}

/// Begins a handshake with a listener of our own that hangs up on whoever tries; what `option` asks for is looked at before
/// anything is sent.
fn begins(option: impl FnOnce(&mut Easy2<Plain>) -> Result<(), curl::Error>) -> Result<(), curl::Error> {
    let Ok(listener) = TcpListener::bind(("127.0.0.1", 0)) else { return Ok(()) };
    let Ok(address) = listener.local_addr() else { return Ok(()) };
    if std::thread::Builder::new().spawn(move || drop(listener.accept())).is_err() {
        return Ok(());
    }
    let mut easy = Easy2::new(Plain);
    easy.url(&format!("https://{address}/"))?;
    easy.noproxy("*")?;
    option(&mut easy)?;
    easy.timeout(TIMEOUT)?;
    easy.perform()
}

#[cfg(test)]
mod tests {
    #[test]
    fn groups_are_known_or_not() {
        assert!(super::curves_are_known("X25519:P-256"));
        assert!(!super::curves_are_known("X25519:no-such-curve"));
    }

    #[test]
    fn this_build_uses_descriptors_above_1023() {
        assert!(super::high_descriptors_work(None));
    }
}
