//! `cargo isotest`: runs every test as PID 1 of fresh namespaces.

mod cli;
mod discover;

fn main() {}
