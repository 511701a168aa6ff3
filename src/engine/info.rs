//! What libcurl can be asked about a transfer, by the type of the answer: the number of each is one of that type, which
//! is what makes asking safe.

use curl_sys::CURLINFO;

/// `CURLINFO_OFF_T`, the type bits of a 64-bit info.
const OFF_T: CURLINFO = 0x60_0000;

/// Infos of type `long`.
#[derive(Clone, Copy)]
pub enum Long {
    /// `CURLINFO_HTTP_VERSION`.
    HttpVersion,
    /// `CURLINFO_OS_ERRNO`.
    OsErrno,
    /// `CURLINFO_NUM_CONNECTS`.
    NumConnects,
    /// `CURLINFO_PRIMARY_PORT`.
    PrimaryPort,
    /// `CURLINFO_HTTP_CONNECTCODE`.
    HttpConnectcode,
    /// `CURLINFO_USED_PROXY`.
    UsedProxy,
    /// `CURLINFO_LOCAL_PORT`.
    LocalPort,
    /// `CURLINFO_HEADER_SIZE`, bytes.
    HeaderSize,
    /// `CURLINFO_REQUEST_SIZE`, bytes.
    RequestSize,
    /// `CURLINFO_SSL_VERIFYRESULT`.
    SslVerifyResult,
    /// `CURLINFO_PROXY_SSL_VERIFYRESULT`.
    ProxySslVerifyResult,
}

impl Long {
    /// Its number.
    pub fn id(self) -> CURLINFO {
        match self {
            Long::HttpVersion => curl_sys::CURLINFO_LONG + 46,
            Long::OsErrno => curl_sys::CURLINFO_OS_ERRNO,
            Long::NumConnects => curl_sys::CURLINFO_NUM_CONNECTS,
            Long::PrimaryPort => curl_sys::CURLINFO_PRIMARY_PORT,
            Long::HttpConnectcode => curl_sys::CURLINFO_HTTP_CONNECTCODE,
            Long::UsedProxy => curl_sys::CURLINFO_LONG + 66,
            Long::LocalPort => curl_sys::CURLINFO_LOCAL_PORT,
            Long::HeaderSize => curl_sys::CURLINFO_HEADER_SIZE,
            Long::RequestSize => curl_sys::CURLINFO_REQUEST_SIZE,
            Long::SslVerifyResult => curl_sys::CURLINFO_SSL_VERIFYRESULT,
            Long::ProxySslVerifyResult => curl_sys::CURLINFO_LONG + 47,
        }
    }
}

/// Infos of type `curl_off_t`.
#[derive(Clone, Copy)]
pub enum Off {
    /// `CURLINFO_XFER_ID`.
    XferId,
    /// `CURLINFO_CONN_ID`.
    ConnId,
    /// `CURLINFO_SPEED_DOWNLOAD_T`, bytes a second.
    SpeedDownload,
    /// `CURLINFO_TOTAL_TIME_T`, microseconds.
    TotalTime,
    /// `CURLINFO_NAMELOOKUP_TIME_T`, microseconds.
    NamelookupTime,
    /// `CURLINFO_CONNECT_TIME_T`, microseconds.
    ConnectTime,
    /// `CURLINFO_APPCONNECT_TIME_T`, microseconds.
    AppconnectTime,
    /// `CURLINFO_STARTTRANSFER_TIME_T`, microseconds.
    StarttransferTime,
    /// `CURLINFO_PRETRANSFER_TIME_T`, microseconds.
    PretransferTime,
    /// `CURLINFO_POSTTRANSFER_TIME_T`, microseconds.
    PosttransferTime,
    /// `CURLINFO_SIZE_UPLOAD_T`, bytes.
    SizeUpload,
    /// `CURLINFO_SPEED_UPLOAD_T`, bytes a second.
    SpeedUpload,
    /// `CURLINFO_EARLYDATA_SENT_T`, bytes.
    EarlydataSent,
}

impl Off {
    /// Its number.
    pub fn id(self) -> CURLINFO {
        match self {
            Off::XferId => OFF_T + 63,
            Off::ConnId => OFF_T + 64,
            Off::SpeedDownload => OFF_T + 9,
            Off::TotalTime => OFF_T + 50,
            Off::NamelookupTime => OFF_T + 51,
            Off::ConnectTime => OFF_T + 52,
            Off::AppconnectTime => OFF_T + 56,
            Off::StarttransferTime => OFF_T + 54,
            Off::PretransferTime => OFF_T + 53,
            Off::PosttransferTime => OFF_T + 67,
            Off::SizeUpload => OFF_T + 7,
            Off::SpeedUpload => OFF_T + 10,
            Off::EarlydataSent => OFF_T + 68,
        }
    }
}

/// Infos of type `char *`.
#[derive(Clone, Copy)]
pub enum Text {
    /// `CURLINFO_REDIRECT_URL`.
    RedirectUrl,
    /// `CURLINFO_LOCAL_IP`.
    LocalIp,
    /// `CURLINFO_SCHEME`.
    Scheme,
    /// `CURLINFO_EFFECTIVE_METHOD`.
    EffectiveMethod,
    /// `CURLINFO_REFERER`.
    Referer,
}

impl Text {
    /// Its number.
    pub fn id(self) -> CURLINFO {
        match self {
            Text::RedirectUrl => curl_sys::CURLINFO_REDIRECT_URL,
            Text::LocalIp => curl_sys::CURLINFO_LOCAL_IP,
            Text::Scheme => curl_sys::CURLINFO_STRING + 49,
            Text::EffectiveMethod => curl_sys::CURLINFO_STRING + 58,
            Text::Referer => curl_sys::CURLINFO_STRING + 60,
        }
    }
}
