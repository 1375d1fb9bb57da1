//! Tests that drive the real program, a file a topic.

mod adopted;
mod architecture;
mod archives;
mod bad_input;
mod book;
mod changes;
mod command;
mod completions;
mod config;
mod configured;
mod debuggers;
mod diagnosed;
mod explained;
mod faults;
mod findings;
mod foreign;
mod fork_server;
mod guard;
mod harnesses;
mod harnesses_table;
mod hostile;
mod hunted;
mod interposed;
mod isolation;
mod kept_diagnoses;
mod lifecycle;
mod looking;
mod made_once;
mod messages;
mod module_graph;
mod mounts;
mod observed;
mod overlay;
mod perturbed;
mod pid1;
mod places;
mod propagation;
mod recipes;
mod recorded;
mod reference;
mod refusals;
mod remembered;
mod rerun;
mod roots;
mod run_options;
mod runner;
mod running;
mod same_as_cargo_test;
mod schema;
mod services;
mod setup_commands;
mod streams;
mod system_calls;
mod time;
mod traced;
mod unit;
mod write_back;
mod zoo;

/// Makes libtest run more tests at once than there are processors, where nobody says how many
/// (`RUST_TEST_THREADS`, `--test-threads`): half of the time they wait, for a time-out or a program.
#[allow(unsafe_code)]
extern "C" fn run_more_at_once() {
    const THREADS: &str = "RUST_TEST_THREADS";
    if std::env::var_os(THREADS).is_none() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // SAFETY: no thread but this one is there before `main`.
        unsafe { std::env::set_var(THREADS, (2 * processors).to_string()) };
    }
}

/// Function that the loader calls before `main`, which is libtest's.
// SAFETY: a function without arguments that does not unwind, as the loader wants it.
#[used]
#[allow(unsafe_code)]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = run_more_at_once;
