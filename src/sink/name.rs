//! A path below the output directory, split into directory and file name. Knows nothing of what makes a good one.

/// A relative path, split into directory and file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    path: String,
    /// Where the file name begins.
    file: usize,
}

impl Name {
    /// The path `path`, with `/` between its components.
    pub fn new(path: String) -> Name {
        let file = path.rfind('/').map_or(0, |at| at + 1);
        Name { path, file }
    }

    /// All of it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The directory, empty for the output directory itself.
    pub fn directory(&self) -> &str {
        self.path[..self.file].trim_end_matches('/')
    }

    /// The file name in that directory.
    pub fn file(&self) -> &str {
        &self.path[self.file..]
    }
}
