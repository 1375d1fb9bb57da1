//! Layers and limits: one table, from which flags, variables, keys, schema and `explain` are made.
//!
//! [`Layer`] is a row of it, [`LAYERS`](table::LAYERS) the rows; [`LayerOptions`] is what was
//! typed. The core's policy and plan define the effect of a value.

mod layer;
mod table;
mod time;
mod value;

mod options;

pub use layer::Layer;
pub use options::{LayerOptions, layers_as_shown};
pub(super) use options::{is_layer_of_run, workspace_layer, workspace_of_cargo};
