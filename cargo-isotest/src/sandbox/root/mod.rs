//! Other root filesystems: what `--root` names becomes a directory.
//!
//! A directory is taken as it is. A tarball and the image of a container are unpacked once into
//! the user's cache directory. Nothing here knows what a sandbox does with the directory.

mod cache;
mod error;
mod find;
mod image;
mod resolve;
mod stream;
mod unpack;

pub use cache::{Cache, Pruned};
pub use error::RootError;
pub use find::{find, find_conflict};
pub use resolve::{Links, resolve};
pub use stream::decompressed;
pub use unpack::{LIMITS, UnpackError, Unpacker, Whiteouts};

#[cfg(test)]
mod tests;
