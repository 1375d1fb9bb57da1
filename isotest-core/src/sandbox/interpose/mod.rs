//! The library that shows a case other clocks and the like, as the warden has to do with it: its
//! settings, and the programs that it cannot be loaded before.
//!
//! The library itself is in the directory `library`, which `build.rs` alone compiles. `settings` belongs
//! to both.

pub mod programs;
pub mod settings;
pub mod written;
