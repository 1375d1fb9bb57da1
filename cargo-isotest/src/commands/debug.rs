//! `--debugger` and `--tracer`: one test, in its sandbox, under another command.
//!
//! The sandbox starts that command, so the command, or the reaping init, is PID 1; the test is its
//! child. Nothing is captured, and there is no time limit.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::foreground;

use crate::cli::{CommandLine, RunCommand};
use crate::commands::find_program::with_program;
use crate::commands::foreground::{exit_code, plan_of};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;
use crate::run::batch::Batch;
use crate::run::case_plan;
use crate::run::context::{Cases, Context};
use crate::run::policies::Member;
use crate::select::selected::{Selected, case};

/// Command that starts the test.
pub enum Tool<'a> {
    /// A debugger, which gets the terminal.
    Debugger(&'a CommandLine),
    /// A tracer: it reads nothing, and its stdout and stderr are the caller's, each its own.
    Tracer(&'a CommandLine),
}

impl<'a> Tool<'a> {
    /// The one that is asked for.
    pub fn of(command: &'a RunCommand) -> Option<Tool<'a>> {
        let debugger = command.run.debugger.as_ref().map(Tool::Debugger);
        debugger.or(command.run.tracer.as_ref().map(Tool::Tracer))
    }

    fn flag(&self) -> &'static str {
        match self {
            Tool::Debugger(_) => "--debugger",
            Tool::Tracer(_) => "--tracer",
        }
    }

    fn words(&self) -> &[String] {
        match self {
            Tool::Debugger(CommandLine(words)) | Tool::Tracer(CommandLine(words)) => words,
        }
    }
}

/// A test, and what it is run under.
pub struct Debugged<'a> {
    tool: Tool<'a>,
    /// The number of its batch.
    batch: usize,
    member: Member,
}

/// The one test that is selected.
pub fn find<'a>(
    tool: Tool<'a>,
    batches: &[Batch],
    selected: &[Selected],
) -> Result<Debugged<'a>, Error> {
    let runs = |member: &&Member| case(selected, member.index).ignore == Ignore::No;
    let mut found = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        found.extend(batch.members.iter().filter(runs).map(|member| (number, member.clone())));
    }
    match found.as_slice() {
        [(batch, member)] => Ok(Debugged { tool, batch: *batch, member: member.clone() }),
        _ => {
            let found: Vec<CaseIndex> = found.iter().map(|(_, member)| member.index).collect();
            Err(not_one(&tool, selected, &found))
        }
    }
}

/// Runs the test. The exit code is the command's.
pub fn run(
    context: Context<'_>,
    debugged: &Debugged<'_>,
    batches: &mut [Batch],
    cases: Cases<'_>,
) -> Result<ExitCode, Error> {
    let Context { machine, signals, .. } = context;
    let Cases { selected, provision, .. } = cases;
    let Debugged { tool, batch, member } = debugged;
    let factory = &mut batches[*batch].factory;
    let subject = &selected[member.index.binary];
    let given = provision.give(&member.terms.needs);
    let spec = case_plan::spec(factory, subject, given);
    let case = case(selected, member.index);
    let test = case_plan::plan_of(factory, &spec, subject, case, &member.terms.limits);
    let words = tool.words().iter().map(OsString::from);
    let line = spec.arguments.iter().chain(&test.arguments).map(word);
    let words: Vec<OsString> = words.chain(line).collect();
    let spec = with_program(&spec, &words, &factory.policy, machine)?;
    let plan = plan_of(factory, Arc::new(spec), None);
    let ended = match tool {
        Tool::Debugger(_) => foreground::run(&mut factory.warden, &plan, signals),
        Tool::Tracer(_) => foreground::run_without_input(&mut factory.warden, &plan, signals),
    };
    exit_code(ended?)
}

fn word(argument: &CString) -> OsString {
    OsStr::from_bytes(argument.to_bytes()).to_owned()
}

/// None is selected, or more than one.
fn not_one(tool: &Tool<'_>, selected: &[Selected], found: &[CaseIndex]) -> Error {
    let flag = tool.flag();
    if found.is_empty() {
        return Error::Case(format!(
            "cannot find a test to run under `{flag}`: the filters select none\n\
             hint: `cargo isotest list` prints all names"
        ));
    }
    let lines = found.iter().map(|index| {
        format!("{} {}", selected[index.binary].binary.id, case(selected, *index).name)
    });
    let lines = report::first_lines(lines);
    Error::NotOne(format!(
        "`{flag}` runs one test, but {} are selected{lines}\n\
         hint: `--exact NAME`, with `--lib` or `--test BINARY`, selects one",
        found.len()
    ))
}
