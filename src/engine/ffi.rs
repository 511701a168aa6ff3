//! The only unsafe file: options, infos and callbacks of libcurl that the curl crate lacks, one safe function each.
//!
//! Numbers are those of libcurl's `curl.h` and `multi.h`; they are part of its stable ABI. An option that an older
//! library does not know is an error value here, never undefined behaviour.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::ops::Deref;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use curl::easy::{Easy2, Handler};
use curl::multi::{Easy2Handle, Multi};
use curl_sys::{CURL, CURLINFO, CURLM, CURLMoption, CURLSH, CURLcode, CURLoption};

use super::info::{Long, Off, Text};

/// `CURLOPT_XOAUTH2_BEARER`.
const XOAUTH2_BEARER: CURLoption = curl_sys::CURLOPTTYPE_OBJECTPOINT + 220;
/// `CURLAUTH_BEARER`.
const CURLAUTH_BEARER: c_long = 1 << 6;
/// `CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS`.
const HAPPY_EYEBALLS_TIMEOUT_MS: CURLoption = curl_sys::CURLOPTTYPE_LONG + 271;
/// `CURLOPT_SSL_EC_CURVES`.
const SSL_EC_CURVES: CURLoption = curl_sys::CURLOPTTYPE_OBJECTPOINT + 298;
/// `CURLOPT_PREREQFUNCTION`.
const PREREQFUNCTION: CURLoption = curl_sys::CURLOPTTYPE_FUNCTIONPOINT + 312;
/// `CURLOPT_PREREQDATA`.
const PREREQDATA: CURLoption = curl_sys::CURLOPTTYPE_OBJECTPOINT + 313;
/// `CURLOPT_PROTOCOLS_STR`.
const PROTOCOLS_STR: CURLoption = curl_sys::CURLOPTTYPE_OBJECTPOINT + 318;
/// `CURLMOPT_NETWORK_CHANGED`.
const MULTI_NETWORK_CHANGED: CURLMoption = curl_sys::CURLOPTTYPE_LONG + 17;
/// `CURLMNWC_CLEAR_CONNS`.
const CLEAR_CONNS: c_long = 1 << 1;
/// `CURLMOPT_QUICK_EXIT`.
const MULTI_QUICK_EXIT: CURLMoption = curl_sys::CURLOPTTYPE_LONG + 21;

/// `CURLINFO_SOCKET`, the type bits of a socket.
const SOCKET: CURLINFO = 0x50_0000;

/// Looked at before `main`: by then the standard library has opened /dev/null in place of what was closed.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

// SAFETY: the loader calls what this section holds, once and before there are threads; what it hands over, a C function may
// ignore.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look_at_stdout;

extern "C" fn look_at_stdout() {
    // SAFETY: the number is only asked for its flags, which is how to find out whether it is a descriptor.
    let flags = rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(1) });
    STDOUT_WAS_CLOSED.store(flags.is_err(), Ordering::Relaxed);
}

/// Whether the program was started without standard output (`>&-`).
pub fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}

/// Something that owns a live easy handle.
pub trait Handle {
    /// The handle; good as long as `self`.
    fn raw(&self) -> *mut CURL;
}

impl<H> Handle for Easy2<H> {
    fn raw(&self) -> *mut CURL {
        Easy2::raw(self)
    }
}

impl<H> Handle for Easy2Handle<H> {
    fn raw(&self) -> *mut CURL {
        Easy2Handle::raw(self)
    }
}

/// `curl_easy_getinfo` for a `long`; `None` when the library does not know the info.
pub fn long(easy: &impl Handle, info: Long) -> Option<i64> {
    let mut value: c_long = 0;
    // SAFETY: the handle is alive as long as `easy`; an info of type LONG writes one `long` through the pointer.
    let code = unsafe { curl_sys::curl_easy_getinfo(easy.raw(), info.id(), &mut value as *mut c_long) };
    (code == curl_sys::CURLE_OK).then_some(value)
}

/// `curl_easy_getinfo` for a `curl_off_t`; `None` when the library does not know the info.
pub fn off(easy: &impl Handle, info: Off) -> Option<i64> {
    let mut value: i64 = 0;
    // SAFETY: as above; an info of type OFF_T writes one 64-bit integer.
    let code = unsafe { curl_sys::curl_easy_getinfo(easy.raw(), info.id(), &mut value as *mut i64) };
    (code == curl_sys::CURLE_OK).then_some(value)
}

/// `CURLINFO_ACTIVESOCKET`: the socket of the connection a transfer had last, while that stands. libcurl walks over its
/// connections to find it.
pub fn active_socket(easy: &impl Handle) -> Option<RawFd> {
    let id = SOCKET + 44;
    let mut value: curl_sys::curl_socket_t = -1;
    // SAFETY: as above; an info of type SOCKET writes one socket.
    let code = unsafe { curl_sys::curl_easy_getinfo(easy.raw(), id, &mut value as *mut curl_sys::curl_socket_t) };
    (code == curl_sys::CURLE_OK && value >= 0).then_some(value)
}

/// `curl_easy_getinfo` for a string; `None` when there is none.
pub fn text(easy: &impl Handle, info: Text) -> Option<String> {
    let mut value: *const c_char = ptr::null();
    // SAFETY: as above; an info of type STRING writes one pointer, to memory that lives as long as the handle.
    unsafe {
        let code = curl_sys::curl_easy_getinfo(easy.raw(), info.id(), &mut value as *mut *const c_char);
        if code != curl_sys::CURLE_OK || value.is_null() {
            return None;
        }
        Some(CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}

/// `CURLINFO_CERTINFO`: the fields of each certificate that the server showed, as `Name:value`.
pub fn certificates(easy: &impl Handle) -> Vec<Vec<String>> {
    let mut info: *const curl_sys::curl_certinfo = ptr::null();
    // SAFETY: as above; this info writes one pointer, to a table that lives as long as the handle: of so many lists, each
    // of which ends in a null pointer and consists of strings.
    unsafe {
        let code = curl_sys::curl_easy_getinfo(easy.raw(), curl_sys::CURLINFO_CERTINFO, &mut info as *mut *const _);
        if code != curl_sys::CURLE_OK || info.is_null() || (*info).certinfo.is_null() {
            return Vec::new();
        }
        let count = usize::try_from((*info).num_of_certs).unwrap_or_default();
        let fields = |index| {
            let first: *const curl_sys::curl_slist = *(*info).certinfo.add(index);
            let items = std::iter::successors(first.as_ref(), |item| item.next.as_ref());
            items.map(|item| CStr::from_ptr(item.data).to_string_lossy().into_owned()).collect()
        };
        (0..count).map(fields).collect()
    }
}

/// What libcurl calls `code`, for people.
pub fn strerror(code: CURLcode) -> String {
    // SAFETY: curl_easy_strerror returns a static string for every number.
    unsafe { CStr::from_ptr(curl_sys::curl_easy_strerror(code)) }.to_string_lossy().into_owned()
}

/// The schemes that may be asked for (`CURLOPT_PROTOCOLS_STR`).
pub fn schemes<H>(easy: &mut Easy2<H>, schemes: &CStr) -> Result<(), curl::Error> {
    set_str(easy, PROTOCOLS_STR, schemes)
}

/// Groups offered for the key exchange of TLS (`CURLOPT_SSL_EC_CURVES`). That they exist is found out by a handshake.
pub fn curves<H>(easy: &mut Easy2<H>, names: &str) -> Result<(), curl::Error> {
    set_str(easy, SSL_EC_CURVES, &terminated(names)?)
}

/// An OAuth 2.0 token, and no other way to show who we are (`CURLOPT_XOAUTH2_BEARER`, `CURLAUTH_BEARER`).
pub fn bearer<H>(easy: &mut Easy2<H>, token: &str) -> Result<(), curl::Error> {
    set_str(easy, XOAUTH2_BEARER, &terminated(token)?)?;
    set_long(easy, curl_sys::CURLOPT_HTTPAUTH, CURLAUTH_BEARER)
}

/// The head start of IPv6 (`CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS`).
pub fn happy_eyeballs<H>(easy: &mut Easy2<H>, head_start: Duration) -> Result<(), curl::Error> {
    set_long(easy, HAPPY_EYEBALLS_TIMEOUT_MS, c_long::try_from(head_start.as_millis()).unwrap_or(c_long::MAX))
}

/// Cookies that several handles share (a `CURLSH`); for one thread.
pub struct CookieShare(*mut CURLSH);

impl CookieShare {
    /// No cookies yet.
    pub fn new() -> Result<CookieShare, curl::Error> {
        // SAFETY: the handle is checked before use; option and argument are those of the manual page.
        unsafe {
            let share = curl_sys::curl_share_init();
            if share.is_null() {
                return Err(curl::Error::new(curl_sys::CURLE_OUT_OF_MEMORY));
            }
            let share = CookieShare(share);
            let what = curl_sys::CURL_LOCK_DATA_COOKIE as c_int;
            match curl_sys::curl_share_setopt(share.0, curl_sys::CURLSHOPT_SHARE, what) {
                curl_sys::CURLSHE_OK => Ok(share),
                _ => Err(curl::Error::new(4 /* CURLE_NOT_BUILT_IN */)),
            }
        }
    }
}

impl Drop for CookieShare {
    fn drop(&mut self) {
        // SAFETY: it is alive, and every easy handle that used it is gone: its handler kept this value.
        unsafe { curl_sys::curl_share_cleanup(self.0) };
    }
}

/// A handler whose transfer may share cookies.
pub trait Sharing: Handler {
    /// The same for as long as the handler lives.
    fn cookies(&self) -> Option<&Rc<CookieShare>>;
}

/// Keeps the transfer's cookies where others do (`CURLOPT_SHARE`); without such a place they are not kept.
pub fn share_cookies<H: Sharing>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    let Some(share) = easy.get_ref().cookies().map(|share| share.0) else { return Ok(()) };
    // SAFETY: both handles are alive; the handler keeps the share, and is dropped after its easy handle.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_SHARE, share) })?;
    // An empty name: the engine on, no file read.
    set_str(easy, curl_sys::CURLOPT_COOKIEFILE, c"")
}

/// The number that the socket callback and [`curl::multi::Message::token`] give back (`CURLOPT_PRIVATE`).
pub fn set_token<H>(easy: &mut Easy2<H>, token: usize) -> Result<(), curl::Error> {
    // SAFETY: the handle is alive; libcurl stores the pointer-sized value and never follows it.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_PRIVATE, token as *const c_void) })
}

/// Addresses in libcurl's cache never age (`CURLOPT_DNS_CACHE_TIMEOUT` of -1).
pub fn names_do_not_age<H>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    set_long(easy, curl_sys::CURLOPT_DNS_CACHE_TIMEOUT, -1)
}

/// From its next read on a running transfer takes at most so many bytes at a time (`CURLOPT_BUFFERSIZE`).
pub fn receive_at_most(easy: &impl Handle, bytes: usize) {
    // SAFETY: the handle is alive; an option of type LONG takes one `long`. Without it a pause costs more memory.
    unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_BUFFERSIZE, bytes as c_long) };
}

/// No `CURLOPT_CAPATH`: the curl crate sets one on every handle, and libcurl then neither keeps nor shares the
/// parsed certificate store, so that every new connection parses the bundle again.
pub fn no_capath<H>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    // SAFETY: the handle is alive; NULL resets a string option.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_CAPATH, ptr::null::<c_char>()) })
}

/// Someone who wants to know when a request is about to be sent.
pub trait Prereq {
    /// The connection stands (TLS included) and the request goes out next (`CURLOPT_PREREQFUNCTION`). Called once
    /// for every request, the repeated ones of a challenge too. Whether it may: otherwise the transfer ends with
    /// `CURLE_ABORTED_BY_CALLBACK`. Must not panic and must not call libcurl.
    fn connected(&self) -> bool;
}

/// A handler that shares what libcurl tells with libcurl. Not the handler itself: the other callbacks have it
/// exclusively.
pub trait Linked: Handler {
    /// What is shared.
    type Link: Prereq;
    /// The same one for as long as the handler lives.
    fn link(&self) -> &Rc<Self::Link>;
}

/// Has [`Prereq::connected`] called.
pub fn on_connected<H: Linked>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    extern "C" fn callback<L: Prereq>(
        data: *mut c_void,
        _remote: *mut c_char,
        _local: *mut c_char,
        _remote_port: c_int,
        _local_port: c_int,
    ) -> c_int {
        // SAFETY: `data` is the link, set below; the handler keeps it as long as the easy handle lives, and nobody
        // has an exclusive reference to what an Rc shares.
        let may_go = unsafe { &*(data as *const L) }.connected();
        // CURL_PREREQFUNC_OK, CURL_PREREQFUNC_ABORT
        if may_go { 0 } else { 1 }
    }
    let link = Rc::as_ptr(easy.get_ref().link());
    let callback: extern "C" fn(*mut c_void, *mut c_char, *mut c_char, c_int, c_int) -> c_int = callback::<H::Link>;
    // SAFETY: option and argument types are those of the manual page; an Rc does not move what it shares.
    unsafe {
        check(curl_sys::curl_easy_setopt(easy.raw(), PREREQDATA, link as *const c_void))?;
        check(curl_sys::curl_easy_setopt(easy.raw(), PREREQFUNCTION, callback))
    }
}

fn terminated(text: &str) -> Result<CString, curl::Error> {
    CString::new(text).map_err(|_| curl::Error::new(curl_sys::CURLE_BAD_FUNCTION_ARGUMENT))
}

fn set_str<H>(easy: &mut Easy2<H>, option: CURLoption, value: &CStr) -> Result<(), curl::Error> {
    // SAFETY: the handle is alive; libcurl copies string options.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), option, value.as_ptr()) })
}

fn set_long<H>(easy: &mut Easy2<H>, option: CURLoption, value: c_long) -> Result<(), curl::Error> {
    // SAFETY: the handle is alive; options of type LONG take a `long`.
    check(unsafe { curl_sys::curl_easy_setopt(easy.raw(), option, value) })
}

fn check(code: CURLcode) -> Result<(), curl::Error> {
    match code {
        curl_sys::CURLE_OK => Ok(()),
        code => Err(curl::Error::new(code)),
    }
}

/// What a socket should be watched for (`CURL_POLL_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Readable.
    In,
    /// Writable.
    Out,
    /// Both.
    InOut,
    /// Nothing any more.
    Remove,
}

/// What libcurl asks of the event loop. Called from within most libcurl calls: implementations record or make one
/// system call, they must not panic and must not call libcurl.
pub trait Callbacks {
    /// `CURLMOPT_SOCKETFUNCTION`. `token` is that of the transfer the socket belongs to, 0 for libcurl's own.
    fn socket(&self, token: usize, fd: RawFd, watch: Watch);
    /// `CURLMOPT_TIMERFUNCTION`: the single timer; `None` deletes it.
    fn timer(&self, timeout: Option<Duration>);
}

/// A multi handle that reports to `C`.
///
/// Unlike the curl crate's own callbacks, the socket callback here learns the transfer, so that a socket that cannot
/// be watched fails that transfer alone. Dropping takes the callbacks back first: easy handles that outlive this
/// value keep libcurl's multi handle alive, but never reach a freed `C`.
pub struct EventMulti<C: Callbacks> {
    multi: Multi,
    /// Owned here so that the pointer libcurl holds stays good.
    _callbacks: Rc<C>,
}

impl<C: Callbacks> EventMulti<C> {
    /// A new multi handle that keeps at most `max_connects` connections (`CURLMOPT_MAXCONNECTS`).
    pub fn new(callbacks: Rc<C>, max_connects: usize) -> Result<Self, curl::MultiError> {
        extern "C" fn socket<C: Callbacks>(
            easy: *mut CURL,
            fd: curl_sys::curl_socket_t,
            what: c_int,
            data: *mut c_void,
            _socket_data: *mut c_void,
        ) -> c_int {
            let mut token: usize = 0;
            let watch = match what {
                curl_sys::CURL_POLL_IN => Watch::In,
                curl_sys::CURL_POLL_OUT => Watch::Out,
                curl_sys::CURL_POLL_INOUT => Watch::InOut,
                _ => Watch::Remove,
            };
            // SAFETY: libcurl passes a live easy handle; CURLINFO_PRIVATE writes one pointer-sized value, and
            // curl_easy_getinfo is allowed in callbacks. `data` is the callbacks' address, set below and valid
            // until EventMulti's drop has taken the callback back.
            unsafe {
                curl_sys::curl_easy_getinfo(easy, curl_sys::CURLINFO_PRIVATE, &mut token as *mut usize);
                (*(data as *const C)).socket(token, fd, watch);
            }
            0 // anything else would abort every transfer
        }
        extern "C" fn timer<C: Callbacks>(_multi: *mut CURLM, timeout_ms: c_long, data: *mut c_void) -> c_int {
            let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
            // SAFETY: as above.
            unsafe { &*(data as *const C) }.timer(timeout);
            0
        }
        // SAFETY: a handle of our own, cleaned up at once. The curl crate takes it for granted that there is one.
        let none_left = unsafe {
            let probe = curl_sys::curl_multi_init();
            probe.is_null() || curl_sys::curl_multi_cleanup(probe) != curl_sys::CURLM_OK
        };
        if none_left {
            return Err(curl::MultiError::new(curl_sys::CURLM_OUT_OF_MEMORY));
        }
        let mut multi = Multi::new();
        multi.set_max_connects(max_connects)?;
        let data = Rc::as_ptr(&callbacks);
        let socket: curl_sys::curl_socket_callback = socket::<C>;
        let timer: curl_sys::curl_multi_timer_callback = timer::<C>;
        // SAFETY: option and argument types are those of the manual pages; `callbacks` is kept in the value made
        // here, and its drop unsets both functions: without them libcurl does not use the data.
        unsafe {
            let raw = multi.raw();
            for code in [
                curl_sys::curl_multi_setopt(raw, curl_sys::CURLMOPT_SOCKETDATA, data as *const c_void),
                curl_sys::curl_multi_setopt(raw, curl_sys::CURLMOPT_SOCKETFUNCTION, socket),
                curl_sys::curl_multi_setopt(raw, curl_sys::CURLMOPT_TIMERDATA, data as *const c_void),
                curl_sys::curl_multi_setopt(raw, curl_sys::CURLMOPT_TIMERFUNCTION, timer),
            ] {
                if code != curl_sys::CURLM_OK {
                    return Err(curl::MultiError::new(code));
                }
            }
            // Unknown before 8.20, where cleanup joins resolver threads: slower to exit, not wrong.
            curl_sys::curl_multi_setopt(raw, MULTI_QUICK_EXIT, 1 as c_long);
        }
        Ok(EventMulti { multi, _callbacks: callbacks })
    }
}

impl<C: Callbacks> EventMulti<C> {
    /// Closes every idle connection (`CURLMOPT_NETWORK_CHANGED`). Those in use would not be used again.
    pub fn drop_idle(&self) {
        // SAFETY: the multi handle is alive; the option takes a `long`. Unknown before 8.16: they stay open then.
        unsafe {
            curl_sys::curl_multi_setopt(self.multi.raw(), MULTI_NETWORK_CHANGED, CLEAR_CONNS);
        }
    }
}

impl<C: Callbacks> Deref for EventMulti<C> {
    type Target = Multi;
    fn deref(&self) -> &Multi {
        &self.multi
    }
}

impl<C: Callbacks> Drop for EventMulti<C> {
    fn drop(&mut self) {
        let none = ptr::null::<c_void>();
        // SAFETY: NULL unsets a callback; the multi handle is alive.
        unsafe {
            curl_sys::curl_multi_setopt(self.multi.raw(), curl_sys::CURLMOPT_SOCKETFUNCTION, none);
            curl_sys::curl_multi_setopt(self.multi.raw(), curl_sys::CURLMOPT_TIMERFUNCTION, none);
        }
    }
}
