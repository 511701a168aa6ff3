//! What may be typed about requests: the group *Request*, in curl's names and spellings.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};

use super::values;

/// How every request is made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
pub struct RequestArgs {
    /// Add a request header, "Name: value"; "Name:" removes one; @FILE adds those in FILE, one a line
    ///
    /// @- reads them from standard input, where that is not the list. Range is refused: only whole files are
    /// fetched, and what broke off is continued by itself.
    #[arg(short = 'H', long = "header", value_name = "HEADER|@FILE", action = ArgAction::Append, value_parser = values::header)]
    pub headers: Vec<String>,

    /// User-Agent to send
    #[arg(short = 'A', long, value_name = "TEXT")]
    pub user_agent: Option<String>,

    /// Referer to send; with ";auto" at the end, redirects are sent the URL before them
    #[arg(short = 'e', long, value_name = "URL[;auto]")]
    pub referer: Option<String>,

    /// Method to send instead of GET, to wherever redirects lead too
    #[arg(short = 'X', long = "request", value_name = "METHOD", value_parser = values::method, conflicts_with = "head")]
    pub method: Option<String>,

    /// Send HEAD requests: check links, fetch nothing
    #[arg(short = 'I', long, conflicts_with_all = ["output", "tree"])]
    pub head: bool,

    /// Authentication for every server; what a URL itself names comes first
    ///
    /// @FILE reads it from the first line of FILE, and without this option, --oauth2-bearer and an entry of a netrc file it
    /// is taken from FETCHMANY_USER: what stands on the command line can be seen by other users. It goes to the server of
    /// the URL alone (scheme, name and port), not to where that redirects.
    #[arg(short = 'u', long, value_name = "USER:PASSWORD|@FILE")]
    pub user: Option<String>,

    /// Basic authentication, the default
    #[arg(long, overrides_with_all = ["digest", "anyauth"], conflicts_with = "aws_sigv4")]
    pub basic: bool,

    /// Digest authentication
    #[arg(long, overrides_with_all = ["basic", "anyauth"], conflicts_with = "aws_sigv4")]
    pub digest: bool,

    /// The safest authentication that the server offers
    #[arg(long, overrides_with_all = ["basic", "digest"], conflicts_with = "aws_sigv4")]
    pub anyauth: bool,

    /// Sign requests with AWS's version 4; the user is the access key, the password the secret
    #[arg(long, value_name = "PROVIDER1[:PROVIDER2[:REGION[:SERVICE]]]")]
    pub aws_sigv4: Option<String>,

    /// Send this OAuth 2.0 token; as with --user, @FILE or FETCHMANY_OAUTH2_BEARER keep it from the command line
    #[arg(long, value_name = "TOKEN|@FILE", conflicts_with_all = ["user", "aws_sigv4"])]
    pub oauth2_bearer: Option<String>,

    /// Take users and passwords from ~/.netrc
    ///
    /// They are used for URLs with exactly the host of an entry, where neither the URL, --user nor --oauth2-bearer says
    /// who asks; "default" entries do not count. The file must be yours and nobody else may read it (mode 0600).
    #[arg(short = 'n', long, overrides_with = "netrc_file")]
    pub netrc: bool,

    /// The same from FILE
    #[arg(long, value_name = "FILE", overrides_with = "netrc")]
    pub netrc_file: Option<PathBuf>,

    /// Send these cookies, "name=value; name=value", or those of a Netscape cookie file
    ///
    /// A FILE of - is standard input, where that is not the list. With a FILE, or with --cookie-jar, cookies that servers set are kept and sent for the rest of the run, by the rules
    /// of their domains. Otherwise they are ignored. There is no list of public suffixes: a server may set a cookie
    /// for its whole top-level domain of two labels, such as co.uk.
    #[arg(short = 'b', long = "cookie", value_name = "DATA|FILE", action = ArgAction::Append)]
    pub cookies: Vec<String>,

    /// Keep cookies, and write all of them to FILE at the end, readable by its owner alone
    #[arg(short = 'c', long, value_name = "FILE")]
    pub cookie_jar: Option<PathBuf>,

    /// Use this proxy, in curl's syntax, such as socks5h://host:1080 or host:3128
    #[arg(short = 'x', long, value_name = "PROXY")]
    pub proxy: Option<String>,

    /// Hosts that are asked without a proxy, with commas between them; * for all
    #[arg(long, value_name = "HOSTS")]
    pub noproxy: Option<String>,

    /// Do not verify certificates
    #[arg(short = 'k', long)]
    pub insecure: bool,

    /// Trust the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,

    /// Client certificate, a PEM file; a colon in its name is written \:
    #[arg(short = 'E', long, value_name = "FILE[:PASSWORD]")]
    pub cert: Option<String>,

    /// Private key of the client certificate, a PEM file, where it is not in the same one
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Password of the private key; @FILE or FETCHMANY_PASS keep it from the command line
    #[arg(long, value_name = "PASSWORD|@FILE")]
    pub pass: Option<String>,

    /// Accept only servers with one of these public keys
    #[arg(long, value_name = "FILE|sha256//HASH[;sha256//HASH]...")]
    pub pinnedpubkey: Option<String>,

    /// Offer these groups for the key exchange of TLS, by OpenSSL's names
    ///
    /// X25519 alone makes a new connection a seventh cheaper for this side, and gives up the protection from quantum
    /// computers to come that OpenSSL's own list has.
    #[arg(long, value_name = "NAME[:NAME]...", value_parser = NonEmptyStringValueParser::new())]
    pub curves: Option<String>,

    /// Use this address for a host and port: HOST:PORT:ADDRESS
    #[arg(long, value_name = "HOST:PORT:ADDRESS", action = ArgAction::Append, value_parser = values::resolve)]
    pub resolve: Vec<String>,

    /// Connect to HOST2:PORT2 for requests to HOST1:PORT1; an empty part stands for any, or for the same
    #[arg(long, value_name = "HOST1:PORT1:HOST2:PORT2", action = ArgAction::Append, value_parser = values::connect_to)]
    pub connect_to: Vec<String>,

    /// Connect through this Unix domain socket
    #[arg(long, value_name = "PATH")]
    pub unix_socket: Option<PathBuf>,

    /// Send from this network interface, address or host name
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,

    /// Names have IPv4 addresses only; an address in a URL is used as it is
    #[arg(short = '4', long, overrides_with = "ipv6")]
    pub ipv4: bool,

    /// Names have IPv6 addresses only; an address in a URL is used as it is
    #[arg(short = '6', long, overrides_with = "ipv4")]
    pub ipv6: bool,

    /// How long IPv6 is tried before IPv4 is tried as well, in milliseconds [default: 200]
    #[arg(long, value_name = "MS", alias = "happy-eyeballs-timeout", value_parser = values::milliseconds)]
    pub happy_eyeballs_timeout_ms: Option<Duration>,

    /// Resolve names by DNS over HTTPS at this URL
    #[arg(long, value_name = "URL")]
    pub doh_url: Option<String>,

    /// HTTP/1.1 only
    #[arg(long = "http1.1", overrides_with_all = ["http2", "http2_prior_knowledge"])]
    pub http1_1: bool,

    /// HTTP/2, also without TLS by upgrade; without this option HTTP/2 is used where TLS negotiates it
    #[arg(long = "http2", overrides_with_all = ["http1_1", "http2_prior_knowledge"])]
    pub http2: bool,

    /// HTTP/2, also without TLS, and at once: for servers that are known to speak it
    #[arg(long = "http2-prior-knowledge", overrides_with_all = ["http1_1", "http2"])]
    pub http2_prior_knowledge: bool,

    /// Ask for compressed bodies and store them decoded
    #[arg(long)]
    pub compressed: bool,

    /// Redirects to follow; -1 for no limit, which is 1000 here
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::redirects, overrides_with = "no_location")]
    pub max_redirs: u32,

    /// Follow no redirects: each is a failure
    #[arg(long, overrides_with_all = ["max_redirs", "proto_redir"])]
    pub no_location: bool,

    /// Schemes that may be used, such as =https or -http
    #[arg(long, value_name = "SCHEMES", value_parser = values::schemes, allow_hyphen_values = true)]
    pub proto: Option<Schemes>,

    /// Schemes to which redirects may lead
    #[arg(long, value_name = "SCHEMES", value_parser = values::schemes, allow_hyphen_values = true, overrides_with = "no_location")]
    pub proto_redir: Option<Schemes>,
}

/// `--proto`, `--proto-redir`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    /// http may be used.
    pub http: bool,
    /// https may be used.
    pub https: bool,
}
