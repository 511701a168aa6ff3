//! Handshakes after the handshake: keys that change, certificates that are asked for late, and connections that are
//! negotiated anew, hundreds of times inside one response. Served by `openssl s_server`, which does that on command.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Authority, Fetch, Place, until};

/// Times that a handshake is made again inside one response.
const AGAIN: usize = 200;

/// `openssl s_server`, which answers with what is written to it and obeys one-letter commands.
struct Commanded {
    child: Child,
    log: std::path::PathBuf,
}

impl Commanded {
    /// `None` where openssl is not installed, which in CI is a failure.
    fn start(dir: &Path, options: &[&str]) -> Option<Commanded> {
        let log = dir.join("s_server");
        let out = File::create(&log).expect("make the log");
        let started = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem", "-msg"])
            .args(options)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stderr(out.try_clone().expect("share the log"))
            .stdout(out)
            .spawn();
        match started {
            Ok(child) => Some(Commanded { child, log }),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "openssl is missing: {error}");
                println!("skipped: openssl is missing: {error}");
                None
            }
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Records it sent.
    fn records(&self) -> usize {
        self.log().matches(">>> ").count()
    }

    /// Where it listens.
    fn port(&self) -> u16 {
        let port = || self.log().lines().find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:")?.trim().parse().ok());
        until("openssl s_server", || port().is_some());
        port().expect("there it was")
    }

    /// Has a line sent, or obeyed if it is a command, again and again until `met`: of lines that are read together only
    /// the first one counts.
    fn write(&mut self, line: &str, mut met: impl FnMut(&Commanded) -> bool) {
        until(line, || {
            let stdin = self.child.stdin.as_mut().expect("a pipe");
            stdin.write_all(format!("{line}\n").as_bytes()).expect("write to openssl s_server");
            met(self)
        });
    }
}

impl Drop for Commanded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn handshakes_inside_a_response_neither_break_nor_stall_it() {
    for (name, version, command) in [
        ("new keys, ours wanted too", "-tls1_3", "K"),
        ("new keys", "-tls1_3", "k"),
        ("a certificate asked for late", "-tls1_3", "c"),
        ("negotiated anew", "-tls1_2", "r"),
        ("negotiated anew, a certificate asked for", "-tls1_2", "R"),
    ] {
        let authority = Authority::new();
        let place = Place::new();
        let dir = place.path("server");
        std::fs::create_dir(&dir).expect("make a directory");
        authority.identity().write(&dir);
        let Some(mut server) = Commanded::start(&dir, &[version]) else { return };
        let url = format!("https://127.0.0.1:{}/a", server.port());
        let fetch = Fetch::recorded().args(["--http1.1", "--retry", "0", "--cacert"]).arg(authority.pem());
        let running = fetch.arg(url).start();
        until("the request", || server.log().contains("GET /a"));
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin";
        let before = server.records();
        server.write(head, |_| true);
        until("the head", || server.records() > before);
        server.write(command, |server| server.log().matches("SSL_do_handshake").count() >= AGAIN);
        let took = running.cpu_time();
        assert!(took < Duration::from_secs(2), "{name}: {took:?} for {AGAIN} handshakes");
        server.write("end", |_| !running.is_alive());
        let run = running.finish();
        run.assert_exit(0).check_invariants(1);
        assert_eq!(run.place().read_text("out/a"), "begin\nend\n", "{name}\n{run}");
    }
}
