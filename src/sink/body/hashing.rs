//! What a body hashes to: as its bytes are written, behind those that were there before and are read back for it.

use std::task::Poll;

use super::{Body, Place};
use crate::job::Failure;
use crate::sink::fault::Fault;

/// Bytes of a continued file that are hashed with every write until all are: faster than any network brings new ones.
const READ_BACK: u64 = 1 << 20;

impl Body {
    /// Nothing more comes, and all of it is written: hashes what is left of what was there before, at most `bytes` of it,
    /// which are taken off. Ready when none are left, or cannot be read, which [`Body::verify`] tells.
    pub fn catch_up(&mut self, bytes: &mut u64) -> Poll<()> {
        let before = self.digests.hashed();
        let read = self.read_back(*bytes);
        *bytes = bytes.saturating_sub(self.digests.hashed() - before);
        self.unread = self.unread.take().or(read.err());
        if self.unread.is_none() && self.is_behind() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Nothing more comes: waits until all of it is written, and compares it with what was promised. To be called once,
    /// when [`Body::catch_up`] is ready, and before the body is published.
    ///
    /// # Errors
    /// Its hash is another one (`checksum`), or what was there before cannot be read (`local`).
    pub fn verify(&mut self) -> Result<(), Failure> {
        self.unread.take().map_or(Ok(()), Err)?;
        self.settle()?;
        if self.is_begun() {
            self.read_back(u64::MAX)?;
            self.sha256 = self.digests.finish()?;
        }
        Ok(())
    }

    /// It is whole and has another name: if something else is promised of that, it is read again for [`Body::verify`].
    pub(in crate::sink) fn renamed(&mut self) -> Result<(), Failure> {
        let Place::File(file) = &self.place else { return Ok(()) };
        let digests = self.promises.digests(Some(file.target().path()));
        if digests.expected() == self.digests.expected() {
            return Ok(());
        }
        self.digests = digests;
        self.verify()
    }

    /// Whether its hash is known beforehand.
    pub(in crate::sink) fn is_promised(&self) -> bool {
        self.digests.expected().iter().any(Option::is_some)
    }

    /// Hashes `data`, which was just written behind everything else. Of a continued file, what was there before comes
    /// first: a piece of it with every write, and what is left of it when the last byte has come in [`Body::catch_up`].
    pub(super) fn hash(&mut self, data: &[u8]) -> Result<(), Failure> {
        if self.digests.hashed() + data.len() as u64 == self.size() {
            self.digests.update(data);
            return Ok(());
        }
        self.read_back(READ_BACK)
    }

    /// Whether something is in the file that is to be hashed and was not.
    fn is_behind(&self) -> bool {
        self.digests.are_wanted() && self.digests.hashed() < self.size()
    }

    /// Hashes at most `bytes` of what is in the file and was not hashed yet.
    fn read_back(&mut self, bytes: u64) -> Result<(), Failure> {
        if !self.is_behind() {
            return Ok(());
        }
        let end = self.size().min(self.digests.hashed().saturating_add(bytes));
        let Place::File(file) = &mut self.place else { return Ok(()) };
        let mut buffer = [0; 64 * 1024];
        while self.digests.hashed() < end {
            let at = self.digests.hashed();
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read_at(at, &mut buffer[..most]);
            self.disk_shut |= read.as_ref().is_err_and(Fault::is_of_shut_disk);
            match read.map_err(Fault::into_failure)? {
                0 => return Err(Failure::local("the partial file became shorter while it was read")),
                read => self.digests.update(&buffer[..read]),
            }
        }
        Ok(())
    }

    /// The SHA-256 in hex, where it was computed.
    pub(in crate::sink) fn sha256(&self) -> Option<String> {
        self.sha256.map(|sha256| sha256.to_string())
    }
}

#[cfg(test)]
mod tests;
