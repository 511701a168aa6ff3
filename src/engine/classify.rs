//! What libcurl's result and infos mean: one [`Failure`] for people and for the retry rules.

use curl::multi::Easy2Handle;
use curl_sys::CURLcode;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::ffi;
use super::info::{Long, Off};
use super::transfer::Transfer;
use crate::job::{ErrorClass, Failure, Job, Lack};
use crate::sink::lack;
use crate::text::without_quoted_credentials;

/// Words of TLS alerts by which a server refuses who asks, as OpenSSL has them.
const REFUSALS: [&str; 10] = [
    CERTIFICATE_REQUIRED,
    "bad certificate",
    "unsupported certificate",
    "certificate revoked",
    "certificate expired",
    "certificate unknown",
    "unknown ca",
    "access denied",
    "decrypt error",
    "handshake failure",
];

const CERTIFICATE_REQUIRED: &str = "certificate required";

/// Everything the verdict depends on.
#[derive(Debug, Clone, Copy, Default)]
struct Facts<'a> {
    code: CURLcode,
    /// Body bytes that came.
    received: u64,
    /// A redirect led here.
    redirected: bool,
    /// Addresses were found.
    resolved: bool,
    /// A response's status came.
    answered: bool,
    /// The last connection stood, before TLS.
    connected: bool,
    /// The request went out on it.
    requested: bool,
    /// The status of a proxy that was asked for a tunnel; 0 for none.
    proxy_status: i64,
    /// `errno` of the last failed call.
    os_errno: i64,
    /// libcurl's own words.
    message: &'a str,
}

/// The failure of a transfer for `job` that ended with `code`, which is not `CURLE_OK`. `starved`: it ran while this machine
/// had no descriptor left.
pub fn failure(code: CURLcode, message: &str, easy: &Easy2Handle<Transfer>, job: &Job, starved: bool) -> Failure {
    let transfer = easy.get_ref();
    let short = |doing: &str, errno| {
        let message = format!("{doing}: {}", std::io::Error::from(errno));
        let failure = Failure::new(ErrorClass::Local, code_number(code), message);
        failure.shortage(lack(errno).unwrap_or(Lack::Descriptors))
    };
    if let Some(errno) = transfer.socket_error() {
        return short("open a socket", errno);
    }
    if let Some(errno) = lookup_error(code, starved) {
        return short("look up a name", errno);
    }
    classify(Facts {
        code,
        received: transfer.received(),
        redirected: job.hop.is_some(),
        resolved: ffi::off(easy, Off::NamelookupTime) > Some(0),
        answered: transfer.status() != 0,
        connected: transfer.is_shaking_hands(),
        requested: transfer.is_connected(),
        proxy_status: ffi::long(easy, Long::HttpConnectcode).unwrap_or(0),
        os_errno: ffi::long(easy, Long::OsErrno).unwrap_or(0),
        message,
    })
}

/// Why a lookup that failed just now went wrong, when this machine has no descriptor left or had none. It opens files and sockets of
/// its own, in another thread, and does not tell what it went without.
fn lookup_error(code: CURLcode, starved: bool) -> Option<Errno> {
    match code {
        curl_sys::CURLE_COULDNT_RESOLVE_HOST | curl_sys::CURLE_COULDNT_RESOLVE_PROXY => {
            let had_none = starved.then_some(Errno::MFILE);
            had_none.or_else(|| eventfd(0, EventfdFlags::CLOEXEC).err().filter(|errno| lack(*errno).is_some()))
        }
        _ => None,
    }
}

fn classify(facts: Facts<'_>) -> Failure {
    use ErrorClass::*;
    if let Some(lack) = local_lack(&facts) {
        return Failure::new(Local, code_number(facts.code), text(facts)).shortage(lack);
    }
    if let Some(refusal) = refused_by_proxy(&facts) {
        return refusal;
    }
    if let Some(refusal) = refused_by_alert(&facts) {
        return refusal;
    }
    let broken = if facts.received > 0 { Partial } else { Protocol };
    let class = match facts.code {
        curl_sys::CURLE_COULDNT_RESOLVE_HOST | curl_sys::CURLE_COULDNT_RESOLVE_PROXY => Dns,
        curl_sys::CURLE_COULDNT_CONNECT | 97 /* CURLE_PROXY */ => Connect,
        curl_sys::CURLE_INTERFACE_FAILED => Local,
        curl_sys::CURLE_OPERATION_TIMEDOUT if facts.requested => Timeout,
        curl_sys::CURLE_OPERATION_TIMEDOUT if facts.connected => Tls,
        curl_sys::CURLE_OPERATION_TIMEDOUT if facts.message.starts_with("Resolving") => Dns,
        // It waits for others to the same host, whose connection or streams it could share, and never had a socket.
        curl_sys::CURLE_OPERATION_TIMEDOUT if facts.message.starts_with("Operation timed out") => {
            return Failure::new(Connect, code_number(facts.code), "waited for a connection");
        }
        // It is said so, too, while names are looked up.
        curl_sys::CURLE_OPERATION_TIMEDOUT if !facts.resolved => Dns,
        curl_sys::CURLE_OPERATION_TIMEDOUT => Connect,
        curl_sys::CURLE_SSL_CONNECT_ERROR => return handshake(facts),
        curl_sys::CURLE_PEER_FAILED_VERIFICATION
        | curl_sys::CURLE_SSL_ENGINE_NOTFOUND
        | curl_sys::CURLE_SSL_ENGINE_SETFAILED
        | curl_sys::CURLE_SSL_CERTPROBLEM
        | curl_sys::CURLE_SSL_CIPHER
        | curl_sys::CURLE_USE_SSL_FAILED
        | curl_sys::CURLE_SSL_CACERT_BADFILE
        | curl_sys::CURLE_SSL_CRL_BADFILE
        | curl_sys::CURLE_SSL_ISSUER_ERROR
        | 90 /* CURLE_SSL_PINNEDPUBKEYNOTMATCH */
        | 91 /* CURLE_SSL_INVALIDCERTSTATUS */
        | 98 /* CURLE_SSL_CLIENTCERT */ => return Failure::new(Tls, code_number(facts.code), text(facts)).lasting(),
        // --proto does not allow it. An answer that is no HTTP has the same code.
        curl_sys::CURLE_UNSUPPORTED_PROTOCOL if !facts.requested => Input,
        curl_sys::CURLE_URL_MALFORMAT if !facts.answered => if facts.redirected { Redirect } else { Input },
        curl_sys::CURLE_PARTIAL_FILE => Partial,
        curl_sys::CURLE_FILESIZE_EXCEEDED => TooLarge,
        curl_sys::CURLE_WRITE_ERROR
        | curl_sys::CURLE_OUT_OF_MEMORY
        | curl_sys::CURLE_FAILED_INIT
        | curl_sys::CURLE_BAD_FUNCTION_ARGUMENT => Local,
        // Connection refused by the other end after it stood: reset, empty reply, framing, HTTP/2 errors.
        _ => broken,
    };
    Failure::new(class, code_number(facts.code), text(facts))
}

/// What this machine ran out of, when that is why.
fn local_lack(facts: &Facts<'_>) -> Option<Lack> {
    match facts.code {
        curl_sys::CURLE_COULDNT_CONNECT | curl_sys::CURLE_SEND_ERROR | curl_sys::CURLE_RECV_ERROR => {
            let error = std::io::Error::from_raw_os_error(i32::try_from(facts.os_errno).ok()?);
            Errno::from_io_error(&error).and_then(lack)
        }
        _ => None,
    }
}

/// The failure of a transfer whose proxy answered CONNECT with no. That lasts like any other refusal of a server.
fn refused_by_proxy(facts: &Facts<'_>) -> Option<Failure> {
    let ended = [curl_sys::CURLE_COULDNT_CONNECT, curl_sys::CURLE_RECV_ERROR, 97 /* CURLE_PROXY */];
    if facts.requested || facts.proxy_status < 300 || !ended.contains(&facts.code) {
        return None;
    }
    let message = format!("the proxy answered {}", facts.proxy_status);
    let failure = Failure::new(ErrorClass::Connect, code_number(facts.code), message);
    match facts.proxy_status {
        408 | 429 | 500.. => Some(failure),
        _ => Some(failure.lasting()),
    }
}

/// The failure of a transfer whose server refused our certificate, or that there was none. With TLS 1.3 that comes when
/// our handshake is over, and libcurl takes it for a connection that broke off.
fn refused_by_alert(facts: &Facts<'_>) -> Option<Failure> {
    let (_, alert) = facts.message.split_once(" alert ")?;
    let words = REFUSALS.into_iter().find(|words| alert.starts_with(words))?;
    let message = match words {
        CERTIFICATE_REQUIRED => "the server asks for a client certificate (--cert)".to_owned(),
        _ => format!("the server refused the handshake: {words}"),
    };
    Some(Failure::new(ErrorClass::Tls, code_number(facts.code), message).lasting())
}

/// `CURLE_SSL_CONNECT_ERROR` is a refusal (versions, certificates, alerts) or a connection that broke off; only the
/// second may pass.
fn handshake(facts: Facts<'_>) -> Failure {
    let failure = Failure::new(ErrorClass::Tls, code_number(facts.code), text(facts));
    // Other numbers are left over from earlier calls: an address that refused, a connect that took its time.
    let broken = [Errno::CONNRESET, Errno::PIPE];
    let broke_off = broken.iter().any(|errno| i64::from(errno.raw_os_error()) == facts.os_errno)
        || ["unexpected eof", "SSL_ERROR_SYSCALL", "reset by peer"].iter().any(|sign| facts.message.contains(sign));
    if broke_off { failure } else { failure.lasting() }
}

fn text(facts: Facts<'_>) -> String {
    match facts.message.trim() {
        "" => ffi::strerror(facts.code),
        // It quotes a proxy that it cannot use.
        message if facts.code == curl_sys::CURLE_PEER_FAILED_VERIFICATION && is_of_unknown_authority(message) => {
            format!("{message}; --cacert FILE trusts its authority, -k any")
        }
        message => without_quoted_credentials(message),
    }
}

/// OpenSSL's words for a chain that does not end in an authority that it knows.
fn is_of_unknown_authority(message: &str) -> bool {
    ["self-signed", "self signed", "unable to get local issuer"].iter().any(|words| message.contains(words))
}

/// libcurl's code as the record has it.
pub fn code_number(code: CURLcode) -> i32 {
    i32::try_from(code).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Persistence;

    const CONNECTED: Facts<'static> = Facts {
        code: 0,
        received: 0,
        redirected: false,
        resolved: true,
        answered: false,
        connected: true,
        requested: true,
        proxy_status: 0,
        os_errno: 0,
        message: "",
    };

    #[test]
    fn each_code_has_its_class() {
        use ErrorClass::*;
        let resolving = Facts {
            connected: false,
            requested: false,
            message: "Resolving timed out after 9 milliseconds",
            ..CONNECTED
        };
        let waiting = Facts { message: "Operation timed out after 9 milliseconds with 0 bytes received", ..resolving };
        let connecting = Facts { message: "Connection timeout after 9 ms", ..resolving };
        let shaking = Facts { connected: true, message: "", ..connecting };
        let alert = |code, message: &'static str| Facts { code, message, ..CONNECTED };
        let required = "OpenSSL SSL_read: OpenSSL/3.6.3: error:0A00045C:SSL routines::tlsv13 alert certificate \
                        required, errno 0";
        let tunnel = Facts { code: 7, proxy_status: 407, ..shaking };
        for (facts, class, persistence) in [
            (Facts { code: 6, ..resolving }, Dns, Persistence::Passing),
            (Facts { code: 7, ..connecting }, Connect, Persistence::Passing),
            (Facts { code: 7, os_errno: 111, ..connecting }, Connect, Persistence::Passing),
            (Facts { code: 7, os_errno: 99, ..connecting }, Local, Persistence::Shortage(Lack::Ports)),
            (Facts { code: 55, os_errno: 105, ..CONNECTED }, Local, Persistence::Shortage(Lack::Memory)),
            (Facts { code: 28, ..resolving }, Dns, Persistence::Passing),
            (Facts { code: 28, ..connecting }, Connect, Persistence::Passing),
            (Facts { code: 28, resolved: false, ..connecting }, Dns, Persistence::Passing),
            (Facts { code: 28, ..waiting }, Connect, Persistence::Passing),
            (Facts { code: 28, ..shaking }, Tls, Persistence::Passing),
            (Facts { code: 28, ..CONNECTED }, Timeout, Persistence::Passing),
            (Facts { code: 35, os_errno: 104, ..shaking }, Tls, Persistence::Passing),
            (
                Facts { code: 35, message: "TLS connect error: unexpected eof while reading", ..shaking },
                Tls,
                Persistence::Passing,
            ),
            (Facts { code: 35, os_errno: 111, ..shaking }, Tls, Persistence::Lasting),
            (tunnel, Connect, Persistence::Lasting),
            (Facts { code: 56, ..tunnel }, Connect, Persistence::Lasting),
            (Facts { proxy_status: 429, ..tunnel }, Connect, Persistence::Passing),
            (Facts { proxy_status: 503, ..tunnel }, Connect, Persistence::Passing),
            (Facts { proxy_status: 200, code: 56, ..CONNECTED }, Protocol, Persistence::Passing),
            (Facts { code: 35, message: "tlsv1 alert protocol version", ..shaking }, Tls, Persistence::Lasting),
            (Facts { code: 60, ..shaking }, Tls, Persistence::Lasting),
            (alert(35, "sslv3 alert handshake failure"), Tls, Persistence::Lasting),
            (alert(56, required), Tls, Persistence::Lasting),
            (alert(55, "tlsv1 alert unknown ca"), Tls, Persistence::Lasting),
            (alert(56, "ssl/tls alert bad certificate"), Tls, Persistence::Lasting),
            (alert(16, "tlsv1 alert access denied"), Tls, Persistence::Lasting),
            (alert(56, "tlsv1 alert internal error"), Protocol, Persistence::Passing),
            (alert(56, "unexpected eof while reading"), Protocol, Persistence::Passing),
            (Facts { code: 52, ..CONNECTED }, Protocol, Persistence::Passing),
            (Facts { code: 56, ..CONNECTED }, Protocol, Persistence::Passing),
            (Facts { code: 56, received: 1, ..CONNECTED }, Partial, Persistence::Passing),
            (Facts { code: 92, received: 1, ..CONNECTED }, Partial, Persistence::Passing),
            (Facts { code: 18, received: 1, ..CONNECTED }, Partial, Persistence::Passing),
            (Facts { code: 18, ..CONNECTED }, Partial, Persistence::Passing),
            (Facts { code: 1, ..CONNECTED }, Protocol, Persistence::Passing),
            (Facts { code: 1, ..resolving }, Input, Persistence::Lasting),
            (Facts { code: 45, ..connecting }, Local, Persistence::Lasting),
            (Facts { code: 3, redirected: true, ..resolving }, Redirect, Persistence::Lasting),
            (Facts { code: 3, ..resolving }, Input, Persistence::Lasting),
            (Facts { code: 63, ..CONNECTED }, TooLarge, Persistence::Lasting),
            (Facts { code: 23, ..CONNECTED }, Local, Persistence::Lasting),
        ] {
            let failure = classify(facts);
            assert_eq!((failure.class, failure.persistence), (class, persistence), "{facts:?}");
            assert_eq!(failure.exitcode, code_number(facts.code));
            assert!(!failure.message.is_empty());
        }
    }
}
