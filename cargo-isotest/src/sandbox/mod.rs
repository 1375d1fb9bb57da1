//! Sandboxes for the tests of a project: a policy, the host and a project become a warden that
//! starts cases.
//!
//! [`factory`] starts the warden and builds its template from the paths of the host that
//! [`exposures`] finds, in the root filesystems that [`roots`] finds and [`root`] unpacks. [`environment`] decides which
//! variables reach a test; [`provision`] runs setup commands and prepares services, [`stored_layers`] keeps what
//! is made once for many tests. [`trial`] tries a
//! policy on this machine. [`jobs`] runs jobs in sandboxes.

pub mod factory;

pub mod exposures;
pub mod owners;

pub mod environment;

pub mod provision;
pub mod stored_layers;

pub mod fork_server;

pub mod early_code;

pub mod trial;

pub mod jobs;

pub mod roots;

pub mod root;

pub mod coverage;

pub mod run_directory;
