//! The cookies of a run: one jar for all its transfers. Without a jar, what servers set is ignored.

use std::rc::Rc;

use curl::easy::{Easy2, Handler};

use super::ffi::{self, CookieShare};

/// The jar.
pub struct Jar {
    share: Rc<CookieShare>,
    /// Never transfers anything: through it the jar is filled and read.
    keeper: Easy2<Keeper>,
}

/// What libcurl would call.
struct Keeper(Rc<CookieShare>);

impl Handler for Keeper {}

impl ffi::Sharing for Keeper {
    fn cookies(&self) -> Option<&Rc<CookieShare>> {
        Some(&self.0)
    }
}

impl Jar {
    /// A jar with these cookies: lines of a Netscape cookie file, or `Set-Cookie:` headers.
    pub fn new(lines: &[String]) -> Result<Jar, curl::Error> {
        let share = Rc::new(CookieShare::new()?);
        let mut keeper = Easy2::new(Keeper(Rc::clone(&share)));
        ffi::share_cookies(&mut keeper)?;
        for line in lines {
            keeper.cookie_list(line)?;
        }
        Ok(Jar { share, keeper })
    }

    /// For a transfer.
    pub fn share(&self) -> Rc<CookieShare> {
        Rc::clone(&self.share)
    }

    /// All cookies, as lines of a Netscape cookie file.
    pub fn lines(&mut self) -> Result<Vec<String>, curl::Error> {
        let list = self.keeper.cookies()?;
        Ok(list.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect())
    }
}
