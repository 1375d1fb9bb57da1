//! Paths in an archive: those of cargo-nextest.

/// The directory that all entries are in.
pub const TOP: &str = "target";

/// cargo-nextest's list of test binaries.
pub const BINARIES: &str = "target/nextest/binaries-metadata.json";

/// The output of `cargo metadata`.
pub const METADATA: &str = "target/nextest/cargo-metadata.json";

/// The standard libraries of the compiler.
pub const LIBRARIES: &str = "target/nextest/libdirs";
