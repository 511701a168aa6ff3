//! Tables of URLs: what is taken, for what, and what is refused.

use super::*;

fn parse(text: &str) -> Result<Address, String> {
    Addresses::default().parse(text.as_bytes()).map_err(Cow::into_owned)
}

/// Table: URL, request URL, TLS, host name, port.
const GOOD: [(&str, &str, bool, &str, u16); 24] = [
    ("http://h", "http://h/", false, "h", 80),
    ("https://h", "https://h/", true, "h", 443),
    ("HTTP://H.Example/A", "http://h.example/A", false, "h.example", 80),
    ("hTTpS://h:443/", "https://h/", true, "h", 443),
    ("http://h:443/", "http://h:443/", false, "h", 443),
    ("http://h:/", "http://h/", false, "h", 80),
    ("http://h:0080/", "http://h/", false, "h", 80),
    ("http://h:65535/", "http://h:65535/", false, "h", 65535),
    ("http://h?q", "http://h/?q", false, "h", 80),
    ("http://h#f", "http://h/", false, "h", 80),
    ("http://h/a#b?c", "http://h/a", false, "h", 80),
    ("http://h/a?b#", "http://h/a?b", false, "h", 80),
    ("http://h/a b?c d", "http://h/a%20b?c%20d", false, "h", 80),
    ("http://h//a", "http://h//a", false, "h", 80),
    ("http://h/a/../b/./c", "http://h/b/c", false, "h", 80),
    ("http://h/?a\\b", "http://h/?a\\b", false, "h", 80),
    ("http://h./a", "http://h./a", false, "h", 80),
    ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC", false, "xn--bcher-kva.example", 80),
    ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/", false, "xn--bcher-kva.example", 80),
    ("http://my_host/", "http://my_host/", false, "my_host", 80),
    ("http://[::1]:8080/", "http://[::1]:8080/", false, "[::1]", 8080),
    ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]/", false, "[::1]", 80),
    ("http://%6c%6Fcalhost/", "http://localhost/", false, "localhost", 80),
    ("http://h/a@b:c", "http://h/a@b:c", false, "h", 80),
];

#[test]
fn a_url_is_normalised_and_its_host_named_as_libcurl_names_it() {
    for (text, request_url, tls, name, port) in GOOD {
        let address = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(address.request_url, request_url, "{text}");
        assert_eq!(address.host, Host { tls, name: name.into(), port }, "{text}");
        assert_eq!(address.credentials, None, "{text}");
    }
}

#[test]
fn every_spelling_of_a_loopback_address_is_the_same_host() {
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "127。0。0。1",
    ] {
        let address = parse(&format!("http://{host}:8080/")).unwrap_or_else(|why| panic!("{host}: {why}"));
        assert_eq!(*address.host.name, *"127.0.0.1", "{host}");
    }
}

#[test]
fn what_the_parser_takes_and_curl_refuses_is_refused() {
    for text in [
        "http:///x",
        "http:////x",
        "http:/x",
        "http:x",
        "http:",
        "http://",
        "https:?x",
        "http:\\\\h\\x",
        "http:/\\h/x",
        "http://\\h/x",
        "http://h\\x",
        "http://h\\@evil/",
        "http://h/a\\b",
        "http://h/a\\..\\b",
        "http://u@v@h/",
        "http://u:p@v:q@h/",
        "http://h @evil/",
        "http://a b/",
        "http://?x",
        "http://#x",
        "http://@/",
        "http://u:p@/",
        "http://u:p@:80/",
        "http://:80/",
        "http://:/",
        "http://./",
        "http://h:0/",
        "http://h:00000/",
        "http://h:65536/",
        "http://h:-1/",
        "http://h:+1/",
        "http://h:99999999999/",
        "http://h:80:80/",
        "http://h:8a/",
        "http://h:８０/",
        "http://a<b/",
        "http://a,b/",
        "http://a;b/",
        "http://a%2fb/",
        "http://a%00b/",
        "http://a%40b/",
        "http://a%/",
        "http://(a)/",
        "http://*/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://4294967296/",
        "http://[::1/",
        "http://::1/",
        "http://[::1]x/",
        "http://[1.2.3.4]/",
        "http://[fe80::1%25eth0]/",
        "http://xn--a/",
        "http://u:%ff@h/",
        "http://u:a%0d%0ab@h/",
        "http://u%00:p@h/",
    ] {
        if let Ok(address) = parse(text) {
            panic!("{text} was taken for {}", address.request_url);
        }
    }
}

#[test]
fn a_missing_scheme_and_an_unsupported_one_are_told_apart() {
    for text in ["example.com/x", "ftp.example.com/x", "//h/x", "h:80", "localhost:8080/x", "x", "u:p@h/", ":x", ""] {
        assert_eq!(parse(text), Err("no scheme: write https://… or http://…".into()), "{text}");
    }
    for text in ["1http://h/", "ht tp://h/", "hétp://h/", "http ://h/", "see http://h/", "/etc/passwd", "\"http://h\""]
    {
        assert_eq!(parse(text), Err("no scheme: write https://… or http://…".into()), "{text}");
    }
    for (text, scheme) in [
        ("file:///etc/passwd", "file"),
        ("file:/etc/passwd", "file"),
        ("FTP://h/x", "ftp"),
        ("sftp://h/x", "sftp"),
        ("scp://h/x", "scp"),
        ("gopher://h/x", "gopher"),
        ("dict://h/x", "dict"),
        ("mqtt://h/x", "mqtt"),
        ("ws://h/x", "ws"),
        ("telnet://h", "telnet"),
        ("ldap://h", "ldap"),
        ("smb://h/x", "smb"),
        ("ipfs://h/x", "ipfs"),
        ("httpx://h/", "httpx"),
        ("data:text/plain,x", "data"),
        ("javascript:alert(1)", "javascript"),
        ("mailto:a@b", "mailto"),
    ] {
        assert_eq!(parse(text), Err(format!("unsupported scheme {scheme}: only http and https are fetched")));
    }
    let long = format!("{}://h/", "x".repeat(60_000));
    assert!(parse(&long).is_err_and(|why| why.len() < 100));
}

#[test]
fn credentials_are_taken_out_and_decoded() {
    for (userinfo, user, password) in [
        ("u:p", "u", "p"),
        ("u", "u", ""),
        ("u:", "u", ""),
        (":p", "", "p"),
        ("u;v=1:p;q", "u;v=1", "p;q"),
        ("u%40example.com:p%40%3A%2F", "u@example.com", "p@:/"),
        ("u:p:q", "u", "p:q"),
        ("u:%zz%", "u", "%zz%"),
        ("ü:ß", "ü", "ß"),
        ("u:a%20b", "u", "a b"),
    ] {
        let address = parse(&format!("http://{userinfo}@h/a")).unwrap_or_else(|why| panic!("{userinfo}: {why}"));
        let expected = Credentials { user: user.into(), password: password.into() };
        assert!(address.credentials == Some(expected), "{userinfo}");
        assert_eq!(address.request_url, "http://h/a", "{userinfo}");
    }
    for userinfo in ["", ":"] {
        let address = parse(&format!("http://{userinfo}@h/a")).unwrap_or_else(|why| panic!("{userinfo}: {why}"));
        assert_eq!((address.credentials, address.request_url), (None, "http://h/a".into()));
    }
}

#[test]
fn bytes_that_are_no_utf8_are_encoded_in_the_path_and_refused_in_the_host() {
    let mut addresses = Addresses::default();
    let good = addresses.parse(b"http://h/\xff\xc3\x28?\xfe").map(|address| address.request_url);
    assert_eq!(good, Ok("http://h/%FF%C3(?%FE".into()));
    for bad in [b"http://h\xff/".as_slice(), b"http://\xc3@h/", b"http://h%ff/"] {
        assert!(addresses.parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn one_host_is_one_allocation_while_it_is_named_again_and_again() {
    let mut addresses = Addresses::default();
    let names: Vec<_> =
        ["http://h/a", "http://H/b", "http://h:80/c"].map(|text| addresses.parse(text.as_bytes())).into();
    let names: Vec<_> = names.into_iter().flatten().map(|address| address.host.name).collect();
    assert!(names.len() == 3 && names.iter().all(|name| Arc::ptr_eq(name, &names[0])));
    assert_eq!(addresses.parse(b"https://h/").map(|address| address.host.port), Ok(443));
}

#[test]
fn relative_urls_are_meant_from_the_base() {
    let base = |text| Addresses::new(Some(Base::parse(text).unwrap()));
    let found = |addresses: &mut Addresses, text: &str| -> Result<String, String> {
        let absolute = addresses.absolute(text.as_bytes()).map_err(Cow::into_owned)?;
        addresses.parse(&absolute).map(|address| address.request_url).map_err(Cow::into_owned)
    };
    let mut addresses = base("http://u:p@h/dir/file?q#f");
    for (text, url) in [
        ("a", "http://h/dir/a"),
        ("/a", "http://h/a"),
        ("../a", "http://h/a"),
        ("../../../a", "http://h/a"),
        ("./", "http://h/dir/"),
        ("?x", "http://h/dir/file?x"),
        ("a:b/c", ""),
        ("x/a:b", "http://h/dir/x/a:b"),
        ("//other/a", "http://other/a"),
        ("https://other/a", "https://other/a"),
        ("a\u{e9}", "http://h/dir/a%C3%A9"),
        ("", "http://h/dir/file?q"),
        ("ftp://h/a", ""),
        ("localhost:80/a", ""),
        ("///a", ""),
        ("//", ""),
        ("//a@b@c/", ""),
        ("\\\\other\\a", ""),
        ("/\\other/a", ""),
    ] {
        assert_eq!(found(&mut addresses, text).unwrap_or_default(), url, "{text:?}");
    }
    for text in ["", "h/dir", "ftp://h/", "http://", "http://h/\n"] {
        assert!(Base::parse(text).is_err(), "{text:?}");
    }
    assert!(found(&mut Addresses::default(), "a").is_err());
}
