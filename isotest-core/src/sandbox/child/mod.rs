//! All that runs between clone and the program, in the warden's child and in the fork server's.
//!
//! A rule holds for this directory: NO ALLOCATION, no lock, no formatting, no panic, nothing but
//! `core`. The child is a copy of its parent, made by a raw clone: whatever it needs was made
//! ready before. It walks a list of system calls and decides nothing.
//!
//! The directory is compiled twice: as this module, and with `preload.rs` as its root into the
//! library that makes a fork server of a test binary (`build.rs`). Both ways of starting a case
//! therefore run the same code on the same bytes.

#![allow(unsafe_code)]
#![allow(dead_code, reason = "the library uses the rest")]

pub mod bytecode;
#[cfg(test)]
mod image;
pub mod kernel;
#[cfg(test)]
mod linked;
pub mod order;
#[cfg(test)]
mod server;
pub mod start;
