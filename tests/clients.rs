//! Client certificates: keys of their own files, behind passwords, and what cannot be used.

use std::process::Command;

use rcgen::ExtendedKeyUsagePurpose;

use crate::harness::authority::Alpn;
use crate::harness::{Authority, Fetch, Finished, Place, Reply, Server};

/// A server that asks for certificates, and a place with that of a client.
struct Asked {
    authority: Authority,
    server: Server,
    place: Place,
}

impl Asked {
    fn new() -> Asked {
        let authority = Authority::new();
        let server =
            Server::tls(&authority.identity_asking_for_client_certificates(), Alpn::Http2, |_| Reply::ok("welcome"));
        let place = Place::new();
        let client = authority
            .issue(&["client"], |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        client.write(&place.work());
        place.write("both.pem", format!("{}{}", place.read_text("cert.pem"), place.read_text("key.pem")));
        Asked { authority, server, place }
    }

    /// Puts the key behind a password, in a file of its own and in one with the certificate. `None`, with a word about it,
    /// where openssl is not installed.
    fn locked(self) -> Option<Asked> {
        let args = [
            "pkcs8",
            "-topk8",
            "-in",
            "key.pem",
            "-out",
            "locked.pem",
            "-v2",
            "aes-256-cbc",
            "-passout",
            "pass:S3CR3T",
        ];
        match Command::new("openssl").args(args).current_dir(self.place.work()).output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "openssl must be installed in CI: {error}");
                eprintln!("skipped: openssl is not installed");
                return None;
            }
        }
        let both = [self.place.read_text("cert.pem"), self.place.read_text("locked.pem")].concat();
        self.place.write("locked-both.pem", both);
        self.place.write("pass", "S3CR3T\n");
        Some(self)
    }

    fn run(&self, args: &[&str], edit: impl FnOnce(Fetch) -> Fetch) -> Finished {
        let fetch = self.place.fetch().args(["--discard", "--json", "--retry-delay", "0.01"]).args(args);
        edit(fetch.arg("--cacert").arg(self.authority.pem()).arg(self.server.url("/a"))).run()
    }
}

#[test]
fn a_client_shows_its_certificate() {
    let asked = Asked::new();
    asked.run(&[], |it| it).assert_exit(1);
    for good in [&["-E", "cert.pem", "--key", "key.pem"][..], &["-E", "both.pem"], &["-E", "both.pem:not-needed"]] {
        asked.run(good, |it| it).assert_exit(0);
    }
}

#[test]
fn a_key_behind_a_password_is_opened() {
    let Some(asked) = Asked::new().locked() else { return };
    let (two, one) = (["-E", "cert.pem", "--key", "locked.pem"], ["-E", "locked-both.pem"]);
    for typed in [&["--pass", "S3CR3T"][..], &["--pass", "@pass"]] {
        asked.run(&[&two, typed].concat(), |it| it).assert_exit(0);
        asked.run(&[&one, typed].concat(), |it| it.env("FETCHMANY_PASS", "wrong")).assert_exit(0);
    }
    asked.run(&two, |it| it.env("FETCHMANY_PASS", "S3CR3T")).assert_exit(0);
    asked.run(&["-E", "locked-both.pem:S3CR3T"], |it| it).assert_exit(0);
    // What is typed comes before the environment, and the option before what stands behind the name.
    asked.run(&["-E", "locked-both.pem:S3CR3T"], |it| it.env("FETCHMANY_PASS", "wrong")).assert_exit(0);
    asked.run(&["-E", "locked-both.pem:wrong", "--pass", "S3CR3T"], |it| it).assert_exit(0);
}

#[test]
fn a_certificate_that_cannot_be_shown_is_refused_before_anything_is_sent() {
    let asked = Asked::new();
    asked.place.write("no-key.pem", "-----BEGIN NOTHING-----");
    let Some(asked) = asked.locked() else { return };
    for (args, told) in [
        (&["-E", "missing.pem"][..], "--cert: read missing.pem"),
        (&["-E", "cert.pem", "--key", "missing.pem"], "--key: read missing.pem"),
        (&["-E", "cert.pem"], "--cert cert.pem: there is no key in it"),
        (&["-E", "cert.pem", "--key", "no-key.pem"], "--key no-key.pem: there is no key in it"),
        (&["-E", "cert.pem", "--key", "locked.pem"], "--key locked.pem: the key needs a password (--pass"),
        (&["-E", "cert.pem", "--key", "locked.pem", "--pass", "wrong"], "--key locked.pem: the password does not open"),
        (&["-E", "locked-both.pem:wrong"], "--cert locked-both.pem: the password does not open"),
    ] {
        let run = asked.run(args, |it| it);
        run.assert_exit(2).assert_stderr_has(told);
        assert!(run.stdout.is_empty(), "{run}");
    }
    assert_eq!(asked.server.seen().len(), 0);
}
