//! What is behind the lock: old protocols, ciphers that hide nothing, authorities that cannot be read, certificates
//! of absurd sizes.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;
use tempfile::TempDir;

use crate::harness::authority::Alpn;
use crate::harness::raw::refusing_url;
use crate::harness::{Authority, Fetch, Finished, Identity, Place, Reply, Seen, Server};

/// `openssl s_server` on a port of its own; killed when dropped.
struct Openssl {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Openssl {
    /// A web server with these options. `None`, with a word about it, where openssl is not installed; in CI that is a
    /// failure.
    fn start(identity: &Identity, options: &[&str]) -> Option<Openssl> {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        identity.write(dir.path());
        let child = Command::new("openssl")
            .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem"])
            .args(options)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            assert!(std::env::var_os("CI").is_none(), "openssl must be installed in CI");
            eprintln!("skipped: openssl is not installed");
            return None;
        };
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        // `ACCEPT 127.0.0.1:40001`
        let accept = said.lines().map_while(Result::ok).find(|line| line.starts_with("ACCEPT"));
        let port = accept.as_deref().and_then(|line| line.rsplit(':').next()?.parse().ok());
        let port = port.unwrap_or_else(|| panic!("openssl does not serve with {options:?}"));
        Some(Openssl { child, port, _dir: dir })
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fetch(authority: &Authority, url: &str) -> Finished {
    let args = ["--retry-delay", "0.01", "-m", "20", "--cacert"];
    let run = Fetch::recorded().args(args).arg(authority.pem()).arg(url).run();
    run.check_invariants(1);
    run
}

#[test]
fn old_protocols_and_ciphers_that_hide_nothing_are_refused_once() {
    let authority = Authority::new();
    for (options, accepted) in [
        (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..], false),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"], false),
        (&["-tls1_2"], true),
        (&["-tls1_3"], true),
    ] {
        let Some(server) = Openssl::start(&authority.identity(), options) else { return };
        let run = fetch(&authority, &format!("https://127.0.0.1:{}/a", server.port));
        if accepted {
            run.assert_exit(0);
        } else {
            run.assert_exit(1).assert_failed_with("tls", 35);
            assert_eq!(run.record()["num_retries"], 0, "{options:?}\n{run}");
        }
    }
}

#[test]
fn a_refusal_is_one_too_when_another_address_of_the_name_had_refused_the_connection() {
    let authority = Authority::new();
    let Some(server) = Openssl::start(&authority.identity(), &["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"]) else {
        return;
    };
    let name = format!("both.test:{}", server.port);
    let fetch = Fetch::recorded().args(["--retry-delay", "0.01", "--resolve", &format!("{name}:[::1],127.0.0.1")]);
    let run = fetch.arg(format!("https://{name}/a")).run();
    run.assert_exit(1).assert_failed_with("tls", 35).check_invariants(1);
    assert_eq!(run.record()["num_retries"], 0, "{run}");
}

#[test]
fn who_was_talked_to_is_unknown_when_nobody_was() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |_| Reply::ok("x"));
    for url in [server.url_as("127.0.0.1", "/untrusted"), refusing_url(), "http://no-such-host.invalid/".to_owned()] {
        let run = Fetch::recorded().args(["--retry", "0"]).arg(url).run();
        run.assert_exit(1).check_invariants(1);
        let record = run.record();
        let known = (record["remote_ip"].is_string(), record["remote_port"].is_number());
        assert!(known == (false, false) || (known == (true, true) && record["remote_port"] != 65535), "{run}");
    }
}

#[test]
fn many_names_in_a_certificate_are_fine_and_too_many_are_a_failure() {
    let authority = Authority::new();
    // OpenSSL takes 100 KiB of certificates.
    for (count, accepted) in [(2000, true), (10_000, false)] {
        let names: Vec<String> = (0..count).map(|number| format!("host-{number}.test")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["localhost", "127.0.0.1"]).collect();
        let Some(server) = Openssl::start(&authority.issue(&names, |_| {}), &[]) else { return };
        let run = fetch(&authority, &format!("https://127.0.0.1:{}/a", server.port));
        if accepted {
            run.assert_exit(0);
        } else {
            run.assert_exit(1).assert_failed("tls");
            assert_eq!(run.record()["num_retries"], 0, "{run}");
        }
    }
}

#[test]
fn a_long_chain_is_fine_and_one_without_end_is_a_failure() {
    let authority = Authority::new();
    for (length, accepted) in [(5, true), (500, false)] {
        let mut below = authority.intermediate();
        for _ in 1..length {
            below = below.intermediate();
        }
        let server = Server::tls(&below.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
        let run = fetch(&authority, &server.url("/a"));
        assert_eq!(run.record()["result"], if accepted { "ok" } else { "failed" }, "{length}\n{run}");
        if !accepted {
            run.assert_failed("tls");
        }
    }
}

#[test]
fn authorities_that_cannot_be_read_are_named_before_anything_is_sent() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
    let place = Place::new();
    place.write("empty.pem", "");
    place.write("garbage.pem", b"not a certificate\n\0\xff");
    place.write("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    place.write("directory/file", "");
    place.write("unreadable.pem", "");
    std::fs::set_permissions(place.path("unreadable.pem"), Permissions::from_mode(0o000)).expect("chmod");
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path("pipe"), Mode::RUSR).expect("make a pipe");
    for name in
        ["missing.pem", "empty.pem", "garbage.pem", "key.pem", "directory", "unreadable.pem", "pipe", "/dev/null"]
    {
        let fetch = || place.fetch().args(["--json", "-d", "out"]).arg(server.url("/a"));
        for fetch in [fetch().args(["--cacert", name]), fetch().env("SSL_CERT_FILE", name)] {
            let run = fetch.run();
            run.assert_exit(2).assert_stderr_has(&format!("authorities {name}: ")).check_invariants(0);
        }
    }
    assert_eq!(server.counts(|counts| counts.connections), 0);
}

#[test]
fn a_file_of_broken_certificates_fails_every_transfer_and_is_named() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
    let plain = Server::http(|seen: &Seen| Reply::ok(seen.path.clone()));
    let fetch = Fetch::recorded().urls(&[server.url("/a"), server.url("/b"), plain.url("/plain")]);
    let content = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let path = fetch.place().write("authorities.pem", content);
    let run = fetch.arg("--cacert").arg(path).run();
    run.assert_exit(1);
    assert_eq!(run.results(), ["failed", "failed", "ok"], "{run}");
    for record in &run.records()[..2] {
        assert_eq!((&record["error_class"], &record["num_retries"]), (&"tls".into(), &0.into()), "{run}");
        assert!(record["errormsg"].as_str().is_some_and(|text| text.contains("authorities.pem")), "{run}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_file_of_authorities_in_the_environment_counts() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
    Fetch::recorded().env("SSL_CERT_FILE", authority.pem()).arg(server.url("/a")).run().assert_exit(0);
}

#[test]
fn curls_variable_for_authorities_comes_before_openssls_and_counts_where_anything_is_verified() {
    let [authority, another] = [Authority::new(), Authority::new()];
    let [ours, other] = [authority.pem(), another.pem()];
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
    let fetch = |bundle: &Path, file: &Path| {
        Fetch::recorded().env("CURL_CA_BUNDLE", bundle).env("SSL_CERT_FILE", file).arg(server.url("/a"))
    };
    fetch(&ours, &other).run().assert_exit(0);
    fetch(&other, &ours).run().assert_exit(1).assert_failed("tls");
    fetch(Path::new(""), &ours).run().assert_exit(0);
    fetch(&other, &other).arg("--cacert").arg(&ours).run().assert_exit(0);
    let missing = Path::new("/nonexistent/ca.pem");
    fetch(missing, &ours).run().assert_exit(2).assert_stderr_has("CURL_CA_BUNDLE: read the authorities");
    fetch(missing, &ours).arg("-k").run().assert_exit(0);
}

#[test]
fn who_meets_an_unknown_authority_is_told_how_to_trust_it() {
    for identity in [Identity::self_signed(), Authority::new().identity()] {
        let server = Server::tls(&identity, Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
        let run = Fetch::recorded().arg(server.url("/a")).run();
        run.assert_exit(1).assert_failed("tls");
        assert!(run.record()["errormsg"].as_str().is_some_and(|text| text.contains("--cacert FILE")), "{run}");
    }
}

#[test]
fn keys_of_connections_are_written_where_the_environment_asks_for_it() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
    let fetch = || Fetch::recorded().arg("--cacert").arg(authority.pem()).arg(server.url("/a"));
    let run = fetch().env("SSLKEYLOGFILE", "keys").run();
    run.assert_exit(0);
    assert!(run.place().read_text("keys").contains("CLIENT_TRAFFIC_SECRET_0 "), "{run}");
    let run = fetch().run();
    run.assert_exit(0);
    assert_eq!(run.place().names("."), ["out/a"], "{run}");
}

#[test]
fn a_file_of_authorities_in_the_environment_that_is_not_there_is_not_replaced_by_another_and_is_named() {
    let authority = Authority::new();
    let server = Server::tls(&authority.identity(), Alpn::Http2, |seen: &Seen| Reply::ok(seen.path.clone()));
    let run = Fetch::recorded().env("SSL_CERT_FILE", "/nonexistent/ca.pem").arg(server.url("/a")).run();
    assert!(matches!(run.code(), Some(1 | 2)), "{run}");
    let told = format!("{}{}", run.stderr_text(), run.stdout_text());
    assert!(told.contains("/nonexistent/ca.pem"), "nobody is told that it is not there\n{run}");
}
