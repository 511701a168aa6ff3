//! What `-w` can ask of a transfer beyond what every record tells.

use std::time::Duration;

/// One such thing; named as curl's `--write-out` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extra {
    /// `%header{NAME}`: the value of a header of the last response, its name in lower case. With a separator of all those
    /// that have this name.
    Header(String, Option<String>),
    /// All headers of the last response, as JSON.
    HeaderJson,
    /// The certificates that the last server showed, as curl prints them: a line for each of their fields, and PEM. None where
    /// the connection stood already.
    Certs,
    /// How many certificates it showed.
    NumCerts,
    /// What FTP calls the directory after login. There is no FTP here.
    FtpEntryPath,
    /// How many headers the last response had.
    NumHeaders,
    /// The status with which a proxy answered CONNECT.
    HttpConnect,
    /// Address of this end of the connection.
    LocalIp,
    /// Its port.
    LocalPort,
    /// The method of the last request.
    Method,
    /// Whether a proxy was used.
    ProxyUsed,
    /// OpenSSL's verdict on the proxy's certificate; 0 is good.
    ProxySslVerifyResult,
    /// Where a redirect leads that was not followed.
    RedirectUrl,
    /// The Referer that was sent.
    Referer,
    /// Bytes of the heads of all responses.
    SizeHeader,
    /// Bytes of all requests.
    SizeRequest,
    /// Bytes of the bodies that were sent.
    SizeUpload,
    /// Bytes a second of the body that was sent.
    SpeedUpload,
    /// OpenSSL's verdict on the server's certificate; 0 is good.
    SslVerifyResult,
    /// Start to the end of what was sent.
    TimePosttransfer,
    /// Start to the moment when the request could be sent.
    TimePretransfer,
    /// What all redirects took.
    TimeRedirect,
    /// Bytes sent as early data of TLS 1.3.
    TlsEarlydata,
}

/// What an [`Extra`] was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// Of the last request.
    Text(String),
    /// Of the last request.
    Number(i64),
    /// Of all requests of a chain of redirects together.
    Sum(i64),
    /// Of all requests of a chain of redirects together.
    Time(Duration),
    /// What the requests before it took.
    Before(Duration),
}

impl Datum {
    /// The same with what the requests before have brought, which took `time`.
    pub fn after(self, before: &Datum, time: Duration) -> Datum {
        match (self, before) {
            (Datum::Sum(last), Datum::Sum(before)) => Datum::Sum(last + before),
            (Datum::Time(last), Datum::Time(before)) => Datum::Time(last + *before),
            (Datum::Before(_), _) => Datum::Before(time),
            (last, _) => last,
        }
    }
}
