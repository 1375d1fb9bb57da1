//! `cargo isotest list`.
