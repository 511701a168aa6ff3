//! Where options stand that were not typed, so that a mistake which shows only later can be found too.

use std::fmt::Display;

/// The lines of the config file that options come from.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<Origin>);

#[derive(Debug, Clone)]
struct Origin {
    /// With its dashes.
    option: String,
    path: String,
    /// `None` where several lines add to it.
    line: Option<usize>,
}

impl Origins {
    /// `option` stands in the file at `path` on `line`. One that `adds` to earlier ones does not replace them.
    pub fn add(&mut self, option: String, path: &impl Display, line: usize, adds: bool) {
        match self.0.iter_mut().find(|origin| origin.option == option) {
            Some(origin) => origin.line = (!adds).then_some(line),
            None => self.0.push(Origin { option, path: path.to_string(), line: Some(line) }),
        }
    }

    /// File and line of the option that `message` begins with; `None` when it was typed.
    pub fn of(&self, message: &str) -> Option<String> {
        let option = message.split([' ', ':']).next()?;
        let origin = self.0.iter().find(|origin| origin.option == option)?;
        Some(match origin.line {
            Some(line) => format!("{}:{line}", origin.path),
            None => origin.path.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_unless_each_adds() {
        let mut origins = Origins::default();
        for (option, line, adds) in [("--output", 1, false), ("--header", 2, true), ("--output", 3, false)] {
            origins.add(option.to_owned(), &"conf", line, adds);
        }
        assert_eq!(origins.of("--output \"{x\": a lone {").as_deref(), Some("conf:3"));
        assert_eq!(origins.of("--header: read x").as_deref(), Some("conf:2"));
        assert_eq!(origins.of("--output-dir: x"), None);
        origins.add("--header".to_owned(), &"conf", 4, true);
        assert_eq!(origins.of("--header: read x").as_deref(), Some("conf"));
    }
}
