//! The terminal on stdin, taken over while a run goes on: its keys come one by one and without echo,
//! and where a program has a terminal of its own they come raw.
//!
//! The terminal is the caller's before and afterwards, however the run ends: where it is stopped,
//! by a panic, by the second of two signals. In the background it is left alone: whoever sets its
//! modes from there is stopped (SIGTTOU, termios(3)).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The caller's modes.
static SAVED: OnceLock<Termios> = OnceLock::new();

/// The modes are ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Held by whoever changes the modes, but for handlers of signals, which may not wait.
static TURN: Mutex<()> = Mutex::new(());

/// While it lives keys are read one by one. Dropping it restores the terminal.
#[derive(Debug)]
pub struct Keyboard(());

impl Keyboard {
    /// `None` where stdin is no terminal.
    pub fn open() -> Option<Keyboard> {
        let found = tcgetattr(stdin()).ok()?;
        SAVED.get_or_init(|| found);
        Some(Keyboard(()))
    }

    /// The keys that have been pressed since it was last asked; none while this process is in the
    /// background.
    pub fn pressed(&self) -> Vec<u8> {
        let mut keys = vec![0; 64];
        let one_by_one =
            |modes: &mut Termios| modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        let length = match set(one_by_one) && is_readable() {
            true => rustix::io::read(stdin(), &mut keys).unwrap_or(0),
            false => 0,
        };
        keys.truncate(length);
        keys
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        drop(release());
    }
}

/// While it lives what is typed comes as it is, signals too. Dropping it restores the terminal.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// It, and the caller's modes; `None` where stdin is no terminal.
    pub fn open() -> Option<(RawMode, &'static Termios)> {
        let found = tcgetattr(stdin()).ok()?;
        let saved = SAVED.get_or_init(|| found);
        let raw = RawMode(());
        raw.take();
        Some((raw, saved))
    }

    /// Sets the modes where they are not set, as while this process is in the background.
    pub fn take(&self) {
        set(Termios::make_raw);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        drop(release());
    }
}

/// While it lives the terminal is the caller's.
#[derive(Debug)]
pub struct Released(#[expect(dead_code, reason = "it is held")] MutexGuard<'static, ()>);

/// Gives the terminal back until what is returned is dropped.
pub fn release() -> Released {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    restore();
    Released(turn)
}

/// Gives the terminal back where it is not the caller's. For handlers of signals too: it makes
/// system calls and nothing else.
pub fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst)
        && is_in_foreground()
        && let Some(saved) = SAVED.get()
    {
        let _ = tcsetattr(stdin(), OptionalActions::Now, saved);
    }
}

/// Changes the caller's modes where that is not done. Returns whether there are keys to read.
fn set(change: impl FnOnce(&mut Termios)) -> bool {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(saved), true) = (SAVED.get(), is_in_foreground()) else { return false };
    if TAKEN.swap(true, Ordering::SeqCst) {
        return true;
    }
    let mut modes = saved.clone();
    change(&mut modes);
    tcsetattr(stdin(), OptionalActions::Now, &modes).is_ok()
}

/// A terminal that is not this session's knows no background.
fn is_in_foreground() -> bool {
    tcgetpgrp(stdin()).map_or(true, |foreground| foreground == getpgrp())
}

fn is_readable() -> bool {
    let mut polled = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
}
