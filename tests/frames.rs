//! Servers that speak HTTP/2 but take it back, refuse, flood, promise or bomb: the URLs end, each once, in bounded time
//! and memory.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::harness::command::Stdin;
use crate::harness::frames::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, Frames, GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM, SETTINGS,
    STATUS_200, frame, max_streams, trusted_server,
};
use crate::harness::{Authority, Fetch, Finished, Raw, Running, Stream};

fn urls(server: &Raw, count: usize) -> Vec<String> {
    (0..count).map(|number| server.url(&format!("/{number}"))).collect()
}

fn fetch(authority: &Authority, args: &[&str]) -> Fetch {
    Fetch::recorded().args(args).arg("--cacert").arg(authority.pem())
}

/// All are there, whole.
#[track_caller]
fn check(run: &Finished, count: usize) {
    run.assert_exit(0).check_invariants(count);
    let tree = run.place().tree("out");
    assert!(tree.len() == count && tree.values().all(|content| content == b"whole"), "{run}");
}

#[test]
fn a_hundred_streams_that_a_server_goes_away_from_are_all_fetched_by_another_connection() {
    let (authority, server) = trusted_server(|number, frames| {
        if number > 0 {
            return frames.serve(b"whole");
        }
        frames.requests(100)?;
        // NO_ERROR, and none of them was looked at.
        frames.send(GOAWAY, 0, 0, &[0; 8])?;
        frames.hang()
    });
    let run = fetch(&authority, &["-j", "100", "--retry-delay", "0.1"]).urls(&urls(&server, 100)).run();
    check(&run, 100);
    assert_eq!(server.connections(), 2, "{run}");
}

#[test]
fn a_stream_that_is_refused_again_and_again_is_sent_again_and_its_attempts_are_told() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    let (authority, server) = trusted_server(move |_, frames| {
        loop {
            let stream = frames.request()?;
            match count.fetch_add(1, Ordering::SeqCst) {
                // REFUSED_STREAM
                0..6 => frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 7])?,
                _ => frames.answer(stream, b"whole")?,
            }
        }
    });
    let run = fetch(&authority, &["--retry-delay", "0.1"]).urls(&urls(&server, 1)).run();
    check(&run, 1);
    let retries = run.record()["num_retries"].as_u64().expect("a number") as usize;
    // libcurl sends it again by itself, five times at most.
    assert!(refused.load(Ordering::SeqCst) == 7 && (1..=6).contains(&retries), "{run}");
}

#[test]
fn a_server_that_resets_every_stream_is_given_up() {
    let (authority, server) = trusted_server(|_, frames| {
        loop {
            let stream = frames.request()?;
            // INTERNAL_ERROR
            frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 2])?;
        }
    });
    let args = ["--retry", "1", "--retry-delay", "0.1"];
    let run = fetch(&authority, &args).urls(&urls(&server, 1)).run();
    run.assert_exit(1).assert_failed("protocol").check_invariants(1);
    assert_eq!(run.record()["num_retries"], 1, "{run}");
    assert!(server.connections() <= 2, "{} connections", server.connections());
}

#[test]
fn a_429_counts_though_its_stream_is_reset_at_once() {
    let asked = AtomicUsize::new(0);
    let (authority, server) = trusted_server(move |_, frames| {
        let stream = frames.request()?;
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            // `:status: 429` and `retry-after: 2`, their names by HPACK's static table.
            let head = frame(HEADERS, END_HEADERS, stream, b"\x08\x03429\x0f\x26\x012");
            // INTERNAL_ERROR
            frames.send_bytes(&[head, frame(RST_STREAM, 0, stream, &[0, 0, 0, 2])].concat())?;
            return frames.serve(b"whole");
        }
        frames.answer(stream, b"whole")?;
        frames.serve(b"whole")
    });
    let run = fetch(&authority, &[]).urls(&urls(&server, 1)).run();
    check(&run, 1);
    assert!(run.record()["host_paused"].as_f64() >= Some(1.9), "{run}");
}

#[test]
fn a_server_that_changes_its_mind_about_streams_loses_no_url() {
    let (authority, server) = trusted_server(|number, frames| {
        if number > 0 {
            return frames.serve(b"whole");
        }
        let streams = frames.requests(20)?;
        frames.send(SETTINGS, 0, 0, &max_streams(0))?;
        for stream in streams {
            frames.answer(stream, b"whole")?;
        }
        // Not before the client has heard of the first change.
        while !matches!(frames.next()?, heard if heard.kind == SETTINGS && heard.flags & ACK != 0) {}
        frames.send(SETTINGS, 0, 0, &max_streams(100))?;
        frames.serve(b"whole")
    });
    let args = ["-j", "20", "--retry-delay", "0.1", "--connect-timeout", "5"];
    check(&fetch(&authority, &args).urls(&urls(&server, 60)).run(), 60);
}

#[test]
fn a_connection_that_gets_no_streams_any_more_holds_up_no_url() {
    // One, a hundred, none: the first connection answers what it has and takes nothing more.
    let authority = Authority::new();
    let server = frames::server(&authority.identity(), &max_streams(1), |number, frames| {
        if number > 0 {
            frames.send(SETTINGS, 0, 0, &max_streams(100))?;
            return frames.serve(b"whole");
        }
        let first = frames.request()?;
        frames.send(SETTINGS, 0, 0, &max_streams(100))?;
        frames.answer(first, b"whole")?;
        let streams = frames.requests(10)?;
        frames.send(SETTINGS, 0, 0, &max_streams(0))?;
        for stream in streams {
            frames.answer(stream, b"whole")?;
        }
        loop {
            // What was under way when it was told.
            let frame = frames.next()?;
            if frame.kind == HEADERS {
                // REFUSED_STREAM
                frames.send(RST_STREAM, 0, frame.stream, &[0, 0, 0, 7])?;
            }
        }
    });
    let args = ["-j", "20", "--retry-delay", "0.1", "--connect-timeout", "5"];
    check(&fetch(&authority, &args).urls(&urls(&server, 60)).run(), 60);
    assert!((2..10).contains(&server.connections()), "{} connections", server.connections());
}

/// One URL whose request is followed by `flood`; what became of it, and the most memory there was.
fn fetch_flooded(flood: impl Fn(&mut Frames, u32) -> io::Result<()> + Send + Sync + 'static) -> (Finished, Raw, u64) {
    let (authority, server) = trusted_server(move |_, frames| {
        let stream = frames.request()?;
        flood(frames, stream)
    });
    let args = ["--retry", "0", "--stall-timeout", "3", "-m", "20"];
    let mut running = fetch(&authority, &args).stdin(Stdin::Open).start();
    running.write_stdin(format!("{}\n", server.url("/0")));
    running.wait_for_lines(Stream::Out, 1);
    let peak = running.peak_rss();
    running.close_stdin();
    let run = running.finish();
    run.check_invariants(1);
    (run, server, peak)
}

/// The same frame over and over.
fn endless(flood: &[u8]) -> impl Fn(&mut Frames, u32) -> io::Result<()> + Send + Sync + 'static {
    let many = flood.repeat((1 << 16) / flood.len());
    move |frames, _| loop {
        frames.send_bytes(&many)?;
    }
}

#[test]
fn floods_of_frames_end_in_a_failure_and_take_no_memory() {
    let begun = frame(HEADERS, 0, 1, STATUS_200);
    let header = [&b"\x00\x01a\x7f\x81\x07"[..], &[b'x'; 262]].concat();
    let continued = frame(CONTINUATION, 0, 1, &header);
    type Flood = Box<dyn Fn(&mut Frames, u32) -> io::Result<()> + Send + Sync>;
    let floods: [(&str, Flood); 5] = [
        ("PING", Box::new(endless(&frame(PING, 0, 0, &[7; 8])))),
        ("SETTINGS", Box::new(endless(&frame(SETTINGS, 0, 0, &max_streams(100))))),
        (
            "empty DATA",
            Box::new(|frames, stream| {
                frames.send(HEADERS, END_HEADERS, stream, STATUS_200)?;
                endless(&frame(DATA, 0, stream, &[]))(frames, stream)
            }),
        ),
        (
            "empty CONTINUATION",
            Box::new({
                let begun = begun.clone();
                move |frames, stream| {
                    frames.send_bytes(&begun)?;
                    endless(&frame(CONTINUATION, 0, stream, &[]))(frames, stream)
                }
            }),
        ),
        (
            "CONTINUATION",
            Box::new(move |frames, stream| {
                frames.send_bytes(&begun)?;
                endless(&continued)(frames, stream)
            }),
        ),
    ];
    for (name, flood) in floods {
        let begin = Instant::now();
        let (run, _server, peak) = fetch_flooded(flood);
        assert_eq!(run.record()["error_class"], "protocol", "{name}\n{run}");
        assert!(peak < 48 << 20, "{name}: {peak} bytes of memory");
        assert!(begin.elapsed() < Duration::from_secs(40), "{name}: {:?}", begin.elapsed());
    }
}

#[test]
fn what_a_server_pushes_is_refused() {
    let (heard, hears) = mpsc::channel();
    let (run, server, _) = fetch_flooded(move |frames, stream| {
        // `GET https://localhost/pushed`, promised on stream 2 and sent.
        let head = b"\x82\x87\x41\x09localhost\x44\x07/pushed";
        let promise = [&[0, 0, 0, 2][..], head].concat();
        frames.send(PUSH_PROMISE, END_HEADERS, stream, &promise)?;
        frames.answer(2, b"pushed")?;
        frames.answer(stream, b"whole")?;
        loop {
            heard.send(frames.next()?).map_err(io::Error::other)?;
        }
    });
    // The client's settings came before its request, with SETTINGS_ENABLE_PUSH of 0: a promise is an error of the
    // connection (RFC 9113, 8.4).
    let refused = hears.iter().any(|frame| frame.kind == GOAWAY && frame.payload[4..8] == [0, 0, 0, 1]);
    assert!(refused, "GOAWAY with PROTOCOL_ERROR\n{run}");
    assert_eq!(run.record()["error_class"], "protocol", "{run}");
    assert!(run.place().names("out").is_empty(), "{run}");
    assert_eq!(server.connections(), 1, "{run}");
}

#[test]
fn pushes_are_forbidden_from_the_first_on() {
    let (heard, hears) = mpsc::channel();
    let (authority, server) = trusted_server(move |_, frames| {
        loop {
            let frame = frames.next()?;
            if frame.kind == HEADERS {
                frames.answer(frame.stream, b"whole")?;
            }
            heard.send(frame).map_err(io::Error::other)?;
        }
    });
    check(&fetch(&authority, &[]).urls(&urls(&server, 1)).run(), 1);
    let first = hears.recv().expect("frames came");
    assert_eq!((first.kind, first.flags), (SETTINGS, 0), "{first:?}");
    // SETTINGS_ENABLE_PUSH
    assert!(first.payload.chunks(6).any(|setting| setting == [0, 2, 0, 0, 0, 0]), "{first:?}");
}

/// A header field of this name and value, added to the dynamic table.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let length = |count: usize| {
        // RFC 7541, 5.1: an integer with a prefix of seven bits.
        let mut digits = vec![127];
        let mut rest = count - 127;
        while rest >= 128 {
            digits.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        digits.push(rest as u8);
        digits
    };
    [&[0x40, name.len() as u8][..], name, &length(value.len()), value].concat()
}

#[test]
fn header_bombs_end_in_a_failure_and_take_no_memory() {
    // 300 KiB as they are, and 4,000 bytes that are named again ten thousand times.
    let large: Vec<u8> = (0..75).flat_map(|_| field(b"x", &[b'y'; 4000])).collect();
    let bomb = [field(b"x", &[b'y'; 4000]), vec![0xbe; 10_000]].concat();
    for (name, fields) in [("large", large), ("bomb", bomb)] {
        let (run, _server, peak) = fetch_flooded(move |frames, stream| {
            let block = [STATUS_200, &fields].concat();
            let mut pieces = block.chunks(16_384).peekable();
            let mut kind = HEADERS;
            while let Some(piece) = pieces.next() {
                let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
                frames.send(kind, flags, stream, piece)?;
                kind = CONTINUATION;
            }
            frames.send(DATA, 1, stream, b"whole")?;
            frames.hang()
        });
        assert_eq!(run.record()["error_class"], "protocol", "{name}\n{run}");
        assert!(peak < 48 << 20, "{name}: {peak} bytes of memory");
    }
}

/// A server that answers requests one after another. What is returned beside it, called once for each request, has it do
/// `ping` on the idle connection, and returns when it did.
fn pinging(ping: impl Fn(&mut Frames) -> io::Result<()> + Send + Sync + 'static) -> (Authority, Raw, impl Fn()) {
    let (idles, idle) = mpsc::channel();
    let (pings, pinged) = mpsc::channel();
    let idle = Mutex::new(idle);
    let (authority, server) = trusted_server(move |_, frames| {
        loop {
            let stream = frames.request()?;
            frames.answer(stream, b"whole")?;
            idle.lock().expect("no panic while held").recv().map_err(io::Error::other)?;
            ping(frames)?;
            pings.send(()).map_err(io::Error::other)?;
        }
    });
    let ping = move || {
        idles.send(()).expect("the server waits for it");
        pinged.recv().expect("the connection stands");
    };
    (authority, server, ping)
}

/// Fetches URL `number` with a program that has fetched those before.
fn fetch_next(running: &mut Running, server: &Raw, number: usize) {
    running.write_stdin(format!("{}\n", server.url(&format!("/{number}"))));
    running.wait_for_lines(Stream::Out, number + 1);
}

/// Ends it; all are there, whole, and each was asked for once.
#[track_caller]
fn check_idled(mut running: Running, count: usize) {
    running.close_stdin();
    let run = running.finish();
    check(&run, count);
    assert!(run.records().iter().all(|record| record["num_retries"] == 0), "{run}");
}

#[test]
fn frames_on_a_connection_that_idles_cost_no_attempt() {
    let (authority, server, ping) = pinging(|frames| frames.send_bytes(&frame(PING, 0, 0, &[7; 8]).repeat(20)));
    let mut running = fetch(&authority, &[]).stdin(Stdin::Open).start();
    for number in 0..4 {
        fetch_next(&mut running, &server, number);
        ping();
    }
    check_idled(running, 4);
}

#[test]
fn frames_on_a_connection_that_idles_do_not_keep_the_program_awake() {
    const PINGS: usize = 60;
    let (authority, server, ping) = pinging(|frames| {
        for _ in 0..PINGS {
            frames.send(PING, 0, 0, &[7; 8])?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    });
    let fetch = fetch(&authority, &[]).stdin(Stdin::Open);
    let Some(fetch) = fetch.strace(["-e", "trace=?epoll_wait,epoll_pwait"]) else { return };
    let mut running = fetch.start();
    for number in 0..2 {
        fetch_next(&mut running, &server, number);
        let before = running.place().trace().len();
        ping();
        let waits = running.place().trace().len() - before;
        // One for each at most, and some for what else there is to do once a request is over.
        assert!(waits < 2 * PINGS, "{waits} waits for {PINGS} frames");
    }
    check_idled(running, 2);
}
