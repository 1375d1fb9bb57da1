//! Tests that drive the real program, a file a topic.

mod architecture;
mod archives;
mod bad_input;
mod book;
mod config;
mod course;
mod faults;
mod fork_server;
mod isolation;
mod lifecycle;
mod looking;
mod messages;
mod pid1;
mod propagation;
mod reference;
mod refusals;
mod remembered;
mod roots;
mod runner;
mod running;
mod same_as_cargo_test;
mod services;
mod setup_commands;
mod system_calls;
mod unit;
mod zoo;
