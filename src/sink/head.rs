//! What the head of an accepted response says about its body.

use super::sidecar::Resume;
use super::version::Version;

/// The head of an accepted response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Where in the finished file the body begins: 0, or where [`super::Body::resume`] says.
    pub from: u64,
    /// Bytes of the finished file, as far as the response tells.
    pub length: Option<u64>,
    /// Whether the body is content-coded, so that `length` need not be what is written.
    pub content_encoding: bool,
    /// What tells this version from others.
    pub version: Version,
    /// The file name of Content-Disposition, as the server gave it.
    pub name: Option<String>,
}

impl Head {
    /// The same, where it continues what `resume` tells of: what a 206 leaves out, since it was asked for with If-Range,
    /// is as it was (RFC 9110, section 15.3.7).
    pub fn continuing(mut self, resume: Option<&Resume>) -> Head {
        if let Some(Resume { version: Some(version), name, .. }) = resume.filter(|_| self.from > 0) {
            self.version.last_modified = self.version.last_modified.or_else(|| version.last_modified.clone());
            self.name = self.name.or_else(|| name.clone());
        }
        self
    }
}
