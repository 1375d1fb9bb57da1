//! Layers made once: directories that a command fills, once, in a sandbox, and of which each case has
//! a copy-on-write view.
//!
//! [`key`] says which directory a layer is, from its definition and the files that [`inputs`] finds;
//! [`store`] keeps them in the target directory; [`make`] runs the command. [`Layers`] is asked by
//! whoever plans cases.

mod error;
mod inputs;
mod key;
mod layers;
mod make;
mod store;

pub use error::{LayerError, LayersError};
pub use layers::Layers;
pub use store::prune;
