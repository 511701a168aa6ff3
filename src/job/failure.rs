//! Why jobs fail, in the classes that a record tells and by which it is decided whether to try again.

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The part of the world that failed; decides about retries.
    pub class: ErrorClass,
    /// libcurl's code, or the nearest one for failures of our own.
    pub exitcode: i32,
    /// One line for a person, lower case, without the URL. May contain outside text: escape before printing.
    pub message: String,
    /// Whether trying again can change anything, as far as the place that failed knows.
    pub persistence: Persistence,
}

/// How long a cause of failure stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It may be gone at the next attempt.
    Passing,
    /// It will be there again.
    Lasting,
    /// This machine ran out of something that comes back. To wait for it costs no attempt.
    Shortage(Lack),
    /// The disk is full. Room comes back when others end without leaving anything; to wait for that costs no attempt.
    NoSpace,
    /// A part of what was missing came, and no small one: to ask for the rest costs no attempt.
    Advancing,
    /// A part was asked for, and refused in a way that says nothing about the whole.
    OfPart,
    /// Nothing was asked for, since its host asked to be left alone just then: that was no attempt.
    Held,
}

/// What this machine ran out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Of this process, or of the whole system.
    Descriptors,
    /// Local ports: those of closed connections come back after a minute.
    Ports,
    /// Buffers of the kernel.
    Memory,
}

impl Lack {
    /// The word for a person.
    pub fn as_str(self) -> &'static str {
        match self {
            Lack::Descriptors => "descriptors",
            Lack::Ports => "ports",
            Lack::Memory => "memory",
        }
    }
}

impl Failure {
    /// A failure of `class` with libcurl's `exitcode` and a message for a person. It lasts where its class does.
    pub fn new(class: ErrorClass, exitcode: i32, message: impl Into<String>) -> Self {
        Failure { class, exitcode, message: message.into(), persistence: class.persistence() }
    }

    /// The same failure, known to last (a refused certificate).
    pub fn lasting(self) -> Self {
        Failure { persistence: Persistence::Lasting, ..self }
    }

    /// The same failure, known to pass (libcurl lost track of its transfers).
    pub fn passing(self) -> Self {
        Failure { persistence: Persistence::Passing, ..self }
    }

    /// The same failure, for want of something that comes back.
    pub fn shortage(self, lack: Lack) -> Self {
        Failure { persistence: Persistence::Shortage(lack), ..self }
    }

    /// The same failure, since the disk is full.
    pub fn no_space(self) -> Self {
        Failure { persistence: Persistence::NoSpace, ..self }
    }

    /// The same failure, of an attempt that brought a part of the rest.
    pub fn advancing(self) -> Self {
        Failure { persistence: Persistence::Advancing, ..self }
    }

    /// The same failure, of a request for a part.
    pub fn of_part(self) -> Self {
        Failure { persistence: Persistence::OfPart, ..self }
    }

    /// The same failure, of what was not asked for.
    pub fn held(self) -> Self {
        Failure { persistence: Persistence::Held, ..self }
    }

    /// The input line cannot be a job (`CURLE_URL_MALFORMAT`).
    pub fn input(message: impl Into<String>) -> Self {
        Failure::new(ErrorClass::Input, 3, message)
    }

    /// The local file system refused (`CURLE_WRITE_ERROR`).
    pub fn local(message: impl Into<String>) -> Self {
        Failure::new(ErrorClass::Local, 23, message)
    }
}

/// The record's `error_class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The line itself.
    Input,
    /// Name resolution.
    Dns,
    /// No connection, or it ended before TLS.
    Connect,
    /// Handshake, certificate.
    Tls,
    /// A deadline passed.
    Timeout,
    /// Nothing moved for `--stall-timeout`.
    Stall,
    /// The server's status says no.
    Http,
    /// Too many redirects, or one that must not be followed.
    Redirect,
    /// Connected, but no valid response.
    Protocol,
    /// The body broke off.
    Partial,
    /// The server's ranges do not fit what is on disk.
    Range,
    /// Size or hash differs from what was promised.
    Checksum,
    /// Over `--max-filesize`.
    TooLarge,
    /// This machine: disk, directory, descriptors.
    Local,
    /// Stopped by the user.
    Cancelled,
}

impl ErrorClass {
    /// Every class, in the order in which summaries list them.
    pub const ALL: [ErrorClass; 15] = [
        ErrorClass::Input,
        ErrorClass::Dns,
        ErrorClass::Connect,
        ErrorClass::Tls,
        ErrorClass::Timeout,
        ErrorClass::Stall,
        ErrorClass::Http,
        ErrorClass::Redirect,
        ErrorClass::Protocol,
        ErrorClass::Partial,
        ErrorClass::Range,
        ErrorClass::Checksum,
        ErrorClass::TooLarge,
        ErrorClass::Local,
        ErrorClass::Cancelled,
    ];

    /// Whether failures of this class usually pass.
    fn persistence(self) -> Persistence {
        match self {
            ErrorClass::Dns
            | ErrorClass::Connect
            | ErrorClass::Tls
            | ErrorClass::Timeout
            | ErrorClass::Stall
            | ErrorClass::Http
            | ErrorClass::Protocol
            | ErrorClass::Partial => Persistence::Passing,
            ErrorClass::Input
            | ErrorClass::Redirect
            | ErrorClass::Range
            | ErrorClass::Checksum
            | ErrorClass::TooLarge
            | ErrorClass::Local
            | ErrorClass::Cancelled => Persistence::Lasting,
        }
    }

    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorClass::Input => "input",
            ErrorClass::Dns => "dns",
            ErrorClass::Connect => "connect",
            ErrorClass::Tls => "tls",
            ErrorClass::Timeout => "timeout",
            ErrorClass::Stall => "stall",
            ErrorClass::Http => "http",
            ErrorClass::Redirect => "redirect",
            ErrorClass::Protocol => "protocol",
            ErrorClass::Partial => "partial",
            ErrorClass::Range => "range",
            ErrorClass::Checksum => "checksum",
            ErrorClass::TooLarge => "too_large",
            ErrorClass::Local => "local",
            ErrorClass::Cancelled => "cancelled",
        }
    }
}
