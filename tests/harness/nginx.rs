//! A real nginx, for the cases where numbers matter.
//!
//! It comes from the distribution (Debian: `nginx-light` or `nginx`, and `libnginx-mod-http-echo`). Where it is not
//! installed its cases skip and say so; in CI that is a failure.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{Authority, until};

/// Where nginx listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// On 127.0.0.1.
    Localhost,
    /// On all of 127.0.0.0/8, which means on every address.
    EveryAddress,
}

/// A running nginx with three ports; killed when dropped.
pub struct Nginx {
    child: Child,
    dir: TempDir,
    authority: Authority,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    http: u16,
    tls: u16,
    http2: u16,
}

/// One line of the access log.
#[derive(Debug, Clone)]
pub struct Access {
    /// When the answer had been sent, in seconds.
    pub ended: f64,
    /// How long it took, in seconds.
    pub took: f64,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: String,
    /// Number of its connection.
    pub connection: u64,
    /// The answer's status.
    pub status: u16,
    /// Path and query.
    pub path: String,
}

impl Nginx {
    /// Starts one that serves an empty directory, [`Nginx::root`]; `None`, with a word about it, when it is not
    /// installed. `/sleep/2/…` answers after two seconds, `/limited/429/…` and `/limited/503/…` 20 times a second and
    /// with that status and Retry-After else, `/crowded/429/…` and `/crowded/503/…` 20 requests at a time and with that
    /// status else.
    pub fn start(listen: Listen) -> Option<Nginx> {
        Nginx::start_closing_after(1_000_000, listen)
    }

    /// The same, but every connection is closed after so many requests.
    pub fn start_closing_after(requests: u32, listen: Listen) -> Option<Nginx> {
        let Some(modules) = echo_module() else {
            assert!(std::env::var_os("CI").is_none(), "nginx and its echo module must be installed in CI");
            eprintln!("skipped: nginx is not installed, or not its echo module");
            return None;
        };
        // The ports are free when they are chosen; somebody else may be faster, then others are.
        for _ in 0..5 {
            if let Some(nginx) = Nginx::try_start(requests, listen, &modules) {
                return Some(nginx);
            }
        }
        panic!("nginx does not start");
    }

    fn try_start(requests: u32, listen: Listen, module: &Path) -> Option<Nginx> {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        fs::create_dir(dir.path().join("root")).expect("make its root");
        fs::create_dir(dir.path().join("logs")).expect("make its logs");
        let authority = Authority::new();
        authority.identity().write(dir.path());
        let ports = free_ports();
        fs::write(dir.path().join("nginx.conf"), config(requests, listen, module, ports))
            .expect("write its configuration");
        let child = Command::new("sh")
            .args([
                "-c",
                r#"ulimit -n "$(ulimit -H -n)"; exec nginx -e "$1/logs/error.log" -p "$1" -c nginx.conf"#,
                "sh",
            ])
            .arg(dir.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("start sh");
        let mut nginx = Nginx { child, dir, authority, ports };
        let mut ended = false;
        until("nginx to accept", || {
            ended = matches!(nginx.child.try_wait(), Ok(Some(_)));
            ended
                || [ports.http, ports.tls, ports.http2]
                    .iter()
                    .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        if ended {
            eprintln!("nginx: {}", fs::read_to_string(nginx.dir.path().join("logs/error.log")).unwrap_or_default());
            return None;
        }
        Some(nginx)
    }

    /// The directory it serves.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A URL with HTTP/1.1 and no TLS.
    pub fn http(&self, path: &str) -> String {
        self.http_at("127.0.0.1", path)
    }

    /// The same by another of its addresses.
    pub fn http_at(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.ports.http)
    }

    /// A URL with HTTP/1.1 and TLS.
    pub fn tls(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.ports.tls)
    }

    /// A URL with HTTP/2 and TLS.
    pub fn http2(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.ports.http2)
    }

    /// The file for `--cacert`.
    pub fn cacert(&self) -> PathBuf {
        self.authority.pem()
    }

    /// The requests it logged so far.
    pub fn accesses(&self) -> Vec<Access> {
        let log = fs::read_to_string(self.dir.path().join("logs/access.log")).unwrap_or_default();
        log.lines().filter_map(access).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One process, no master: this is all of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most requests that were being answered at the same time.
pub fn most_at_once(accesses: &[Access]) -> usize {
    let mut changes: Vec<(f64, isize)> =
        accesses.iter().flat_map(|access| [(access.ended - access.took, 1), (access.ended, -1)]).collect();
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let running = changes.iter().scan(0, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    running.max().unwrap_or(0).unsigned_abs()
}

fn access(line: &str) -> Option<Access> {
    let mut words = line.split(' ');
    Some(Access {
        ended: words.next()?.parse().ok()?,
        took: words.next()?.parse().ok()?,
        connection: words.next()?.parse().ok()?,
        protocol: words.next()?.to_owned(),
        status: words.next()?.parse().ok()?,
        path: words.nth(1)?.to_owned(),
    })
}

/// The echo module of the installed nginx.
fn echo_module() -> Option<PathBuf> {
    let version = Command::new("nginx").arg("-V").output().ok()?;
    let options = String::from_utf8_lossy(&version.stderr).into_owned();
    let dir = options.split_whitespace().find_map(|option| option.strip_prefix("--modules-path="))?;
    let module = Path::new(dir).join("ngx_http_echo_module.so");
    module.exists().then_some(module)
}

fn free_ports() -> Ports {
    let held: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port")).collect();
    let port = |index: usize| held[index].local_addr().expect("it is bound").port();
    Ports { http: port(0), tls: port(1), http2: port(2) }
}

fn config(requests: u32, listen: Listen, echo_module: &Path, ports: Ports) -> String {
    let host = match listen {
        Listen::Localhost => "127.0.0.1",
        Listen::EveryAddress => "0.0.0.0",
    };
    let Ports { http, tls, http2 } = ports;
    // `listen … http2` is the spelling that nginx 1.22 knows and later ones still take.
    format!(
        "load_module {module};
daemon off;
master_process off;
pid nginx.pid;
events {{
    worker_connections 20000;
    multi_accept on;
}}
http {{
    log_format times '$msec $request_time $connection $server_protocol $status \"$request\"';
    access_log logs/access.log times buffer=64k flush=1s;
    client_body_temp_path temp-body;
    proxy_temp_path temp-proxy;
    fastcgi_temp_path temp-fastcgi;
    uwsgi_temp_path temp-uwsgi;
    scgi_temp_path temp-scgi;
    keepalive_requests {requests};
    keepalive_timeout 75s;
    limit_req_zone $server_addr zone=requests:1m rate=20r/s;
    limit_req_zone $server_addr zone=others:1m rate=20r/s;
    limit_conn_zone $server_addr zone=crowd:1m;
    server {{
        listen {host}:{http} backlog=16384;
        listen 127.0.0.1:{tls} ssl backlog=16384;
        listen 127.0.0.1:{http2} ssl http2 backlog=16384;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        root root;
        location /sleep/2/ {{
            echo_sleep 2;
            echo -n 'slept for $uri';
        }}
        location /limited/429/ {{
            limit_req zone=requests burst=5 nodelay;
            limit_req_status 429;
            add_header Retry-After 1 always;
            echo -n 'let through';
        }}
        location /limited/503/ {{
            limit_req zone=others burst=5 nodelay;
            limit_req_status 503;
            add_header Retry-After 1 always;
            echo -n 'let through';
        }}
        location /crowded/429/ {{
            limit_conn crowd 20;
            limit_conn_status 429;
            echo_sleep 0.05;
            echo -n 'not too many';
        }}
        location /crowded/503/ {{
            limit_conn crowd 20;
            limit_conn_status 503;
            echo_sleep 0.05;
            echo -n 'not too many';
        }}
    }}
}}
",
        module = echo_module.display(),
    )
}
