//! Reports: the events of a run become text. The only printer of the workspace.
//!
//! [`Reporter`] takes the events, [`blocks`] puts them in the order of the binaries, a [`Format`](format::Format)
//! words what `cargo test` prints on stdout, and [`cargo`], [`progress`] and [`closing`] word what
//! stands on stderr. [`screen`] alone writes. Everything else writes to a `dyn Write`; whether
//! there is colour or a terminal comes in as a [`TerminalStyle`]. Nothing here decides a verdict.

mod category;
mod suite;
mod tally;

mod doctests;
mod fact;

mod blocks;
mod format;
mod kept;
mod options;
mod ordered;

mod files;
mod footprint;
mod github;
mod json;
mod junit;
mod libtest;
mod message_findings;
mod message_hints;
mod message_test;
mod messages;
mod plain_json;
mod report_file;
mod sarif;
mod sections;
mod terse;
mod words;

mod formats;

mod cargo;
mod changes;
mod chrome_trace;
mod closing;
mod comparison;
mod completions;
mod conflicts;
mod finding_groups;
mod gates;
mod groups;
mod hints;
mod notes;
mod paint;
mod progress;
mod proving;
mod record;
mod repeated;
mod replay;
mod rerun;
mod rerun_progress;
mod screen;
mod traced_cases;
mod traces;
mod verified;
mod withheld;

mod adopted;
mod baseline;
mod cause_code;
mod cause_words;
mod config;
mod diagnosed;
mod diagnosed_text;
mod diagnosis;
mod diagnosis_line;
mod error;
mod follow;
mod history;
mod hunt_line;
mod hunted;
mod hunted_text;
mod inspect;
mod known;
mod reporter;
mod results;
mod run_report;
mod running;
mod runs;
mod start;
mod stress;
mod timeline;
mod timeline_groups;
mod timeline_json;
mod timeline_rows;

#[cfg(test)]
mod tests;

pub use adopted::{
    AdoptedReport, FileChanges, FlakyTest, Told, Unexplained, adopting, adoption, ask_outside,
    nothing_to_skip, observing, skip_list,
};
pub use baseline::{baseline, filtered_out_of_baseline};
pub use blocks::Order;
pub use cargo::executable;
pub use cause_code::CauseCode;
pub use cause_words::fix;
pub use changes::{changes, changes_as_json, verdict};
pub use chrome_trace::ChromeTrace;
pub use closing::{CaseState, Grant};
pub use comparison::Comparison;
pub use completions::completions;
pub use config::{
    Configuration, EffectiveValue, Overriding, configuration, imported, schema, text,
};
pub use conflicts::{Conflicts, conflicts_for_people, conflicts_for_programs};
pub use diagnosed::{
    ArmPart, Diagnosed, DiagnosisVerdict, Effect, FORMAT as DIAGNOSIS_FORMAT, NamedTest, NextTool,
    OtherParty, Rate, Skipped, ToldArm, ToldCause, ToldWait,
};
pub use diagnosed_text::{diagnosed_for_people, diagnosed_for_programs};
pub use diagnosis::{Check, diagnosis_for_people, diagnosis_for_programs};
pub use diagnosis_line::{DiagnosisLine, Standing};
pub use doctests::DoctestSummary;
pub use error::{
    Archived, archived, cut_off, diagnosis_not_kept, error, findings, kept_files, making_layer,
    not_archived, not_kept, not_recorded, not_repeated, not_set_up, not_summarized, passed_on,
    pruned, pruned_layers, pruned_runs, repeated, services, setting_up, traced, uncopied,
    unpacking, unsupported_keys, waiting_for_layer, warning, weakened,
};
pub use fact::{Fact, FindingFact, Started, State};
pub use follow::follow;
pub use github::{StoppedCommands, Workflow};
pub use hints::{Hint, Remedy, Reruns, Untried, literal};
pub use history::{Histories, histories_for_people, histories_for_programs};
pub use hunt_line::{HuntScreen, HuntStanding};
pub use hunted::{
    Candidate, Condition, FORMAT as HUNT_FORMAT, Hunted, HuntedGroup, Showing, Tried,
};
pub use hunted_text::{hunted_for_people, hunted_for_programs};
pub use inspect::{
    Explanation, Listed, explain, list_for_people, list_for_programs, lists_as_libtest,
    manual_page, pass_on, root_of_doctests, test_command,
};
pub use known::KnownDiagnosis;
pub use messages::{Message, VERSION as FORMAT_VERSION};
pub use notes::tell as lists;
pub use options::{FindingsShown, FormatName, Frame, Options};
pub use ordered::{
    FORMAT as ORDER_FORMAT, OrderFound, OrderLine, OrderStanding, Ordered, order_command,
    ordered_for_people, ordered_for_programs,
};
pub use paint::choose as choose_colour;
pub use proving::proving;
pub use record::{Input, Line, MAX_LINE, Record};
pub use repeated::{
    ProvedFixed, Repeated, proved_fixed_for_people, proved_fixed_for_programs, reproduced,
    token_found,
};
pub use replay::replay;
pub use report_file::ReportFileError;
pub use reporter::Reporter;
pub use rerun::quoted;
pub use rerun_progress::RerunProgress;
pub use results::{BinaryName, Results};
pub use run_report::{EndedCase, Report, Summary};
pub use runs::{Listing, RunState, runs_for_people, runs_for_programs};
pub use start::Start;
pub use stress::Stress;
pub use suite::{Suite, TerminalStyle};
#[cfg(test)]
pub use tally::Tally;
pub use timeline::{TracedCase, trace_for_people, trace_for_programs};
pub use traces::Trace;
pub use verified::{
    Differing, Differs, FORMAT as VERIFY_FORMAT, Verified, verified_for_people,
    verified_for_programs,
};
pub use withheld::Withheld;
pub use words::{TO_OWN, first_lines, uncopied as what_is_uncopied};
