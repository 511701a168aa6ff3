//! One turn: everything libcurl has to be told after a wait, and everything it has to tell.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use curl::multi::Events;
use rustix::io::Errno;

use super::ffi::EventMulti;
use super::waiter::EVENTS;
use super::{Engine, Entry, Reactor, classify, ffi, multi, stats};
use crate::job::{Failure, Lack, Persistence};
use crate::sink::lack;

/// Receive buffer of a transfer that once came faster than it could be kept.
const CROWDED: usize = 128 * 1024;

impl Engine {
    /// Everything libcurl has to be told in one turn, and everything it has to tell.
    /// `full`: the kernel had more to tell than fits.
    pub(super) fn turn(&mut self, now: Instant, full: bool) -> anyhow::Result<()> {
        if let Err(error) = self.drive() {
            self.start_over(&error)?;
        }
        for token in self.reactor.selector.connected() {
            if let Some(entry) = self.running.get(&token) {
                entry.handle.get_ref().stands();
            }
        }
        self.collect_connected();
        self.serve_paused(now);
        self.serve_crowded();
        self.collect();
        let sweep = self.sweep_is_due(now, full);
        if sweep {
            self.shared.extend(self.multiplexed());
        }
        if let Err(error) = self.read_on() {
            self.start_over(&error)?;
        }
        self.hear_paused();
        self.drop_unwatched();
        if sweep {
            self.check_deadlines(now);
        }
        Ok(())
    }

    /// What is told last has moved, too: judged when each had its turn. epoll tells them in rounds.
    fn sweep_is_due(&mut self, now: Instant, full: bool) -> bool {
        if self.sweep.is_none_or(|at| at > now) {
            return false;
        }
        let rounds = self.running.len() / EVENTS + 1;
        self.put_off = if full && self.put_off < rounds { self.put_off + 1 } else { 0 };
        self.put_off == 0
    }

    /// Nobody looked for `unseen`: nobody is judged before what came meanwhile is read.
    pub(super) fn excuse(&mut self, unseen: Duration, now: Instant) {
        for entry in self.running.values_mut() {
            entry.pulse.pause(unseen, now);
        }
        if self.sweep.is_some() {
            self.sweep = Some(now + self.options.deadlines.interval());
        }
    }

    /// Socket events first, then the timer.
    fn drive(&mut self) -> Result<(), curl::MultiError> {
        let mut ready = std::mem::take(&mut self.ready);
        let driven = ready.drain(..).try_for_each(|ready| {
            if !self.reactor.selector.contains(ready.fd) {
                // Idle, or closed by an earlier event of this turn.
                if ready.closed {
                    self.idle.died();
                }
                return Ok(());
            }
            self.serve(ready.fd, Events::new().input(ready.input).output(ready.output).error(ready.error))?;
            // Its end came together with the end of a response: epoll does not tell it again.
            if ready.closed && !self.reactor.selector.contains(ready.fd) {
                self.idle.died();
            }
            Ok(())
        });
        self.ready = ready;
        driven?;
        if self.reactor.timer.expired() {
            self.action(|multi| multi.timeout())?;
        }
        Ok(())
    }

    /// The connections that may carry several transfers.
    fn multiplexed(&self) -> Vec<RawFd> {
        let mut watched = self.reactor.selector.watched();
        watched.retain(|(_, token)| match self.running.get(token) {
            Some(entry) => entry.job.target().tls && self.hosts.may_multiplex(entry.job.target()),
            None => true, // whoever waits for it now did not open it
        });
        watched.into_iter().map(|(fd, _)| fd).collect()
    }

    /// libcurl stops reading an HTTP/2 connection where a response ends. What has come for the other transfers by then
    /// lies in the TLS layer, and no event tells of it: they are run again until none of them ends. Nothing tells of a
    /// response that ends with libcurl sending its request elsewhere (a refused stream): each sweep looks for those.
    fn read_on(&mut self) -> Result<(), curl::MultiError> {
        while let Some(fd) = self.shared.pop_first() {
            if self.reactor.selector.contains(fd) {
                self.serve(fd, Events::new().input(true))?;
                self.collect();
            }
        }
        Ok(())
    }

    /// Has libcurl serve a socket, and epoll tell again what is still ready then.
    fn serve(&mut self, fd: RawFd, events: &Events) -> Result<(), curl::MultiError> {
        self.action(|multi| multi.action(fd, events))?;
        self.reactor.selector.rearm(fd);
        Ok(())
    }

    fn action(
        &mut self,
        action: impl FnOnce(&EventMulti<Reactor>) -> Result<u32, curl::MultiError>,
    ) -> Result<(), curl::MultiError> {
        #[cfg(debug_assertions)]
        {
            self.actions += 1;
            if self.options.fault == Some(super::Fault::Action(self.actions)) {
                return Err(curl::MultiError::new(curl_sys::CURLM_INTERNAL_ERROR));
            }
        }
        match action(&self.multi) {
            // Said by old libraries for a socket they just closed.
            Err(error) if error.code() == curl_sys::CURLM_BAD_SOCKET => Ok(()),
            done => done.map(drop),
        }
    }

    /// Connections that came to stand are told.
    fn collect_connected(&mut self) {
        for token in self.tidings.connected.take() {
            let Some(entry) = self.running.get_mut(&token) else { continue };
            if let Some(address) = stats::unresolved(&mut entry.handle) {
                self.hosts.forgotten(entry.job.target(), address);
            }
            self.connected.push(entry.job.target().clone());
        }
    }

    /// Transfers that were too fast wait, and go on when the limits allow.
    fn serve_paused(&mut self, now: Instant) {
        self.hear_paused();
        while let Some(token) = self.throttle.resume(now) {
            if let Some(entry) = self.running.get(&token) {
                // Brings bytes at once, which may pause it again. An error ends the transfer, and is told then.
                let _ = entry.handle.unpause_write();
            }
            self.hear_paused();
        }
    }

    /// Transfers whose bytes could not be kept go on when there is room.
    fn serve_crowded(&mut self) {
        self.hear_paused();
        for token in std::mem::take(&mut self.crowded) {
            let Some(Entry { handle, .. }) = self.running.get(&token) else { continue };
            if !handle.get_ref().has_room() {
                self.crowded.push(token);
                continue;
            }
            // What it has in hand when it pauses again stays in memory.
            let sizes = handle.get_ref().permit().sizes(CROWDED);
            ffi::receive_at_most(handle, sizes.map_or(CROWDED, |sizes| sizes.write));
            // As above.
            let _ = handle.unpause_write();
        }
        self.hear_paused();
    }

    /// Whether one of those would go on.
    pub(super) fn has_room(&self) -> bool {
        let goes_on = |token| self.running.get(token).is_none_or(|entry| entry.handle.get_ref().has_room());
        self.crowded.iter().any(goes_on)
    }

    fn hear_paused(&mut self) {
        self.crowded.append(&mut self.tidings.crowded.borrow_mut());
        for token in self.tidings.paused.take() {
            if let Some(entry) = self.running.get(&token) {
                self.throttle.paused(token, entry.handle.get_ref().permit());
            }
        }
    }

    /// Reads every message: a shrinking number of running transfers does not say which one ended.
    fn collect(&mut self) {
        self.leave_busy();
        let mut ended = Vec::new();
        self.multi.messages(|message| {
            let Ok(token) = message.token() else { return };
            let Some(entry) = self.running.get(&token) else { return };
            ended.extend(message.result_for2(&entry.handle).map(|result| (token, result)));
        });
        for (token, result) in ended {
            let Some(mut entry) = self.running.remove(&token) else { continue };
            let (body, verdict) = entry.handle.get_mut().finish(result.is_ok());
            let starved = token < self.starved;
            let result = verdict.unwrap_or_else(|| {
                result.map_err(|error| {
                    let message = error.extra_description().unwrap_or_default();
                    classify::failure(error.code(), message, &entry.handle, &entry.job, starved)
                })
            });
            if matches!(&result, Err(failure) if failure.persistence == Persistence::Shortage(Lack::Descriptors)) {
                self.starved = self.next_token;
            }
            let stats = self.stats(&mut entry);
            self.give_back(entry, body, result, stats);
        }
    }

    /// An answer that asks for a pause ends with its head: whoever learns of the pause is not to wait for a page that
    /// nobody reads, and what libcurl says of that page by now counts for nothing.
    fn leave_busy(&mut self) {
        for token in self.tidings.busy.take() {
            if let Some(mut entry) = self.running.remove(&token) {
                let (body, verdict) = entry.handle.get_mut().finish(true);
                let stats = self.stats(&mut entry);
                self.give_back(entry, body, verdict.unwrap_or(Ok(())), stats);
            }
        }
    }

    /// A socket that cannot be watched fails the one transfer it belongs to.
    fn drop_unwatched(&mut self) {
        for unwatched in self.reactor.selector.unwatched() {
            match self.running.remove(&unwatched.token) {
                Some(entry) => {
                    let lack = Errno::from_io_error(&unwatched.error).and_then(lack).unwrap_or(Lack::Memory);
                    let failure = Failure::local(format!("watch a socket: {}", unwatched.error)).shortage(lack);
                    self.end(entry, Err(failure));
                }
                None => self.unwatched.push(unwatched.fd),
            }
        }
    }

    /// Ends what is late, and serves what epoll cannot.
    fn check_deadlines(&mut self, now: Instant) {
        for fd in std::mem::take(&mut self.unwatched) {
            // An error here is seen again by the next action.
            let _ = self.multi.action(fd, &Events::new());
        }
        let mut late = Vec::new();
        for (token, entry) in &mut self.running {
            let transfer = entry.handle.get_ref();
            let silence_counts = transfer.is_connected() && !transfer.is_paused();
            let (progress, received) = (transfer.progress(), transfer.received());
            self.options.deadlines.beat(&mut entry.pulse, progress, received, silence_counts, now);
            late.extend(self.options.deadlines.late(&entry.pulse, transfer.received(), now).map(|why| (*token, why)));
        }
        for (token, failure) in late {
            if let Some(entry) = self.running.remove(&token) {
                self.end(entry, Err(failure));
            }
        }
        self.sweep = (!self.running.is_empty()).then(|| now + self.options.deadlines.interval());
    }

    /// After an error from libcurl the state of every transfer is uncertain: a new multi handle, and every running
    /// job goes back as a failed attempt.
    fn start_over(&mut self, error: &curl::MultiError) -> anyhow::Result<()> {
        let count = self.running.len();
        for entry in std::mem::take(&mut self.running).into_values() {
            let failure = Failure::local(format!("libcurl's multi handle failed: {error}")).passing();
            self.end(entry, Err(failure));
        }
        self.multi = multi(&self.options, &self.reactor)?;
        self.reactor.selector.clear();
        self.reactor.timer.set(None);
        self.unwatched.clear();
        self.notes.push(format!("libcurl failed ({error}): {count} running transfers broke off"));
        Ok(())
    }
}
