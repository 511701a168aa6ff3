//! Whole bodies on standard output, one after another: each is spooled until it is whole, then written as fast as
//! the reader takes it. Behind a part of a body nothing is written any more: it would be taken for the rest.
//!
//! Must not know what is in them.

use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;

use rustix::fs::{CWD, MemfdFlags, OFlags};
use rustix::io::Errno;

use super::fault::{Fault, reason};
use super::sys;
use crate::outlet::Outlet;

/// Bytes of a body kept in memory before it goes to a temporary file.
const IN_MEMORY: usize = 64 * 1024;

/// Bytes read back from a temporary file at a time.
const CHUNK: usize = 256 * 1024;

/// Why nothing can be written any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Nobody reads: the end of the run, quietly, as by SIGPIPE.
    ReaderGone,
    /// The write failed, and how: a full disk behind `>`, for example. Or a body is there in part.
    Failed(String),
}

/// Standard output with one body at a time.
#[derive(Debug)]
pub struct Stdout {
    outlet: Outlet,
    /// The body that is being written.
    turn: Option<u64>,
    /// Bodies handed out.
    bodies: u64,
    buffer: Vec<u8>,
    lost: Option<Lost>,
}

impl Stdout {
    /// Bodies to `outlet`.
    pub fn new(outlet: Outlet) -> Stdout {
        Stdout { outlet, turn: None, bodies: 0, buffer: Vec::new(), lost: None }
    }

    /// What is written to.
    pub fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Why nothing can be written any more.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// An empty body, of `url`.
    pub fn spool(&mut self, url: &str) -> Spool {
        self.bodies += 1;
        Spool { body: self.bodies, url: url.to_owned(), kept: Vec::new(), file: None, length: 0, sent: 0 }
    }

    /// Writes what the reader takes of `spool`; pending too while another body has its turn.
    ///
    /// # Errors
    /// Standard output is lost, or the temporary file cannot be read.
    pub fn publish(&mut self, spool: &mut Spool) -> Poll<Result<(), Fault>> {
        if let Some(lost) = &self.lost {
            return Poll::Ready(Err(fault(lost)));
        }
        if self.turn.is_some_and(|body| body != spool.body) {
            return Poll::Pending;
        }
        self.turn = Some(spool.body);
        match self.send(spool) {
            Ok(false) => Poll::Pending,
            Ok(true) => {
                self.turn = None;
                Poll::Ready(Ok(()))
            }
            Err(fault) => {
                self.abandon(spool);
                Poll::Ready(Err(fault))
            }
        }
    }

    /// Gives up on `spool`; the next body has its turn, but never when this one was written in part.
    pub fn abandon(&mut self, spool: &Spool) {
        if self.turn == Some(spool.body) && spool.sent == 0 {
            self.turn = None;
        }
    }

    /// `true` when all of it is written.
    fn send(&mut self, spool: &mut Spool) -> Result<bool, Fault> {
        while spool.sent < spool.length {
            let lost = match spool.unsent(&mut self.buffer) {
                Ok(data) => match self.outlet.write(data) {
                    Ok(0) => Lost::Failed(reason(io::Error::from(io::ErrorKind::WriteZero))),
                    Ok(taken) => {
                        spool.sent += taken as u64;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Lost::ReaderGone,
                    Err(error) => Lost::Failed(reason(error)),
                },
                Err(fault) if spool.sent == 0 => return Err(fault),
                Err(fault) => {
                    let why = fault.into_failure().message;
                    Lost::Failed(format!("a part of the body of {} alone was written: {why}", spool.url))
                }
            };
            return Err(fault(self.lost.insert(lost)));
        }
        Ok(true)
    }
}

fn fault(lost: &Lost) -> Fault {
    match lost {
        Lost::Failed(why) => Fault::local(format!("write standard output: {why}")),
        Lost::ReaderGone => Fault::system("write", "standard output", Errno::PIPE),
    }
}

/// One body, in memory while it is small, then in a temporary file without a name.
#[derive(Debug)]
pub struct Spool {
    /// Which body it is.
    body: u64,
    /// Whose, as it is shown.
    url: String,
    /// All of it, unless there is a file.
    kept: Vec<u8>,
    file: Option<OwnedFd>,
    length: u64,
    /// Bytes that standard output took.
    sent: u64,
}

impl Spool {
    /// Appends `data`.
    ///
    /// # Errors
    /// No temporary file can be made or written.
    pub fn write(&mut self, data: &[u8]) -> Result<(), Fault> {
        let fault = |errno| Fault::system("write", "temporary file for standard output", errno);
        match &self.file {
            Some(file) => sys::write_all(file, data).map_err(fault)?,
            None if self.kept.len() + data.len() <= IN_MEMORY => self.kept.extend_from_slice(data),
            None => {
                let file = temporary()?;
                sys::write_all(&file, &self.kept).map_err(fault)?;
                sys::write_all(&file, data).map_err(fault)?;
                self.kept = Vec::new();
                self.file = Some(file);
            }
        }
        self.length += data.len() as u64;
        Ok(())
    }

    /// Some of what was not sent yet.
    fn unsent<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Fault> {
        let fault = |errno| Fault::system("read", "temporary file for standard output", errno);
        let Some(file) = &self.file else {
            let sent = usize::try_from(self.sent).unwrap_or(usize::MAX);
            return Ok(self.kept.get(sent..).unwrap_or_default());
        };
        buffer.resize(CHUNK, 0);
        match sys::read_at(file, buffer, self.sent).map_err(fault)? {
            0 => Err(fault(Errno::IO)),
            read => Ok(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// A file without a name in `$TMPDIR` or `/tmp`; where there is none, in memory that can be swapped out.
fn temporary() -> Result<OwnedFd, Fault> {
    let directory = std::env::temp_dir();
    sys::open(CWD, &*directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL)
        .or_else(|errno| {
            let memory = rustix::fs::memfd_create("fetchmany", MemfdFlags::CLOEXEC).map_err(|_| errno)?;
            sys::above_standard(memory)
        })
        .map_err(|errno| Fault::system("create", "temporary file for standard output", errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    fn piped() -> anyhow::Result<(OwnedFd, Stdout)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((reader, Stdout::new(Outlet::owned(writer)?)))
    }

    fn read(reader: &OwnedFd) -> anyhow::Result<Vec<u8>> {
        let mut buffer = vec![0; 16 * 1024];
        let read = rustix::io::read(reader, &mut *buffer)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    fn told(result: Result<(), Fault>) -> anyhow::Result<()> {
        result.map_err(|fault| anyhow::anyhow!(fault.into_failure().message))
    }

    #[test]
    fn bodies_come_out_whole_one_after_another_as_the_reader_takes_them() -> anyhow::Result<()> {
        let (reader, mut stdout) = piped()?;
        let (mut first, mut second) = (stdout.spool("http://h/"), stdout.spool("http://h/"));
        let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        for piece in body.chunks(10_000) {
            told(first.write(piece))?;
        }
        told(second.write(b"second"))?;
        assert!(first.file.is_some() && second.file.is_none());
        let mut seen = Vec::new();
        while stdout.publish(&mut first).is_pending() {
            assert!(stdout.publish(&mut second).is_pending(), "the first has its turn");
            seen.extend(read(&reader)?);
        }
        assert!(stdout.publish(&mut second).is_ready());
        drop(stdout);
        while seen.len() < body.len() + 6 {
            seen.extend(read(&reader)?);
        }
        assert!(seen.starts_with(&body) && seen.ends_with(b"second"));
        Ok(())
    }

    #[test]
    fn a_body_given_up_lets_the_next_have_its_turn_but_not_half_way() -> anyhow::Result<()> {
        let (_reader, mut stdout) = piped()?;
        let [mut first, mut second, mut third] = [(); 3].map(|()| stdout.spool("http://h/"));
        told(first.write(&[b'x'; 200_000]))?;
        told(second.write(b"second"))?;
        stdout.turn = Some(first.body);
        stdout.abandon(&first);
        assert!(stdout.publish(&mut third).is_ready());
        assert!(stdout.publish(&mut first).is_pending());
        stdout.abandon(&first);
        assert!(stdout.publish(&mut second).is_pending(), "it would be taken for the rest");
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_again_costs_itself_alone_unless_a_part_of_it_was_written() -> anyhow::Result<()> {
        let (reader, mut stdout) = piped()?;
        let [mut first, mut second, mut third] = [(); 3].map(|()| stdout.spool("http://h/"));
        for spool in [&mut first, &mut second] {
            told(spool.write(&[b'x'; 200_000]))?;
        }
        let empty = || -> anyhow::Result<Option<OwnedFd>> { Ok(Some(tempfile::tempfile()?.into())) };
        first.file = empty()?;
        assert!(matches!(stdout.publish(&mut first), Poll::Ready(Err(_))));
        stdout.abandon(&first);
        assert!(stdout.lost().is_none() && stdout.publish(&mut second).is_pending());
        second.file = empty()?;
        read(&reader)?;
        assert!(matches!(stdout.publish(&mut second), Poll::Ready(Err(_))));
        assert!(
            matches!(stdout.lost(), Some(Lost::Failed(why)) if why.contains("a part of the body of http://h/ alone"))
        );
        told(third.write(b"third"))?;
        assert!(matches!(stdout.publish(&mut third), Poll::Ready(Err(_))));
        Ok(())
    }

    #[test]
    fn a_reader_that_went_away_is_lost_for_good() -> anyhow::Result<()> {
        let (reader, mut stdout) = piped()?;
        drop(reader);
        for _ in 0..2 {
            let mut spool = stdout.spool("http://h/");
            told(spool.write(b"x"))?;
            assert!(matches!(stdout.publish(&mut spool), Poll::Ready(Err(_))));
            assert_eq!(stdout.lost(), Some(&Lost::ReaderGone));
        }
        Ok(())
    }
}
