//! From the answer of a binary to its list.

use isotest_core::case::{Case, Ignore, Kind};

use super::error::{BinaryListError, ListCause, ListingError, MAX_LINES};
use super::output::{ListOutput, shortened};
use crate::discover::list::{self, ListError, Note};
use crate::discover::{Binary, Declared, Harness};
use crate::select::arguments;

/// Tests of a binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryList {
    /// Its cases.
    pub cases: Vec<Case>,
    /// Its harness; where it has none it is one case itself.
    pub harness: Harness,
    /// Remarks on its list.
    pub notes: Vec<Note>,
}

impl BinaryList {
    /// The cases of a harness.
    pub fn of(harness: Harness, cases: Vec<Case>) -> BinaryList {
        BinaryList { cases, harness, notes: Vec::new() }
    }

    /// A program without a list is one case, named after its target.
    pub fn program(binary: &Binary, note: Option<Note>) -> BinaryList {
        let case = Case::listed(binary.target_name.clone(), Kind::Test, Ignore::No);
        let notes = note.into_iter().collect();
        BinaryList { cases: vec![case], harness: Harness::None, notes }
    }
}

/// Meaning of an output.
pub enum ListReply {
    /// All that is to be known.
    Complete(BinaryList),
    /// A terse list, of which it is not known what is ignored.
    WithoutIgnored(Vec<Case>),
    /// None: the arguments are not understood.
    Refused,
}

/// Reads the answer to a request for JSON. Nothing but libtest prints its events; what else prints a
/// list is another harness.
pub fn read_json(
    binary: &Binary,
    answer: &ListOutput,
    limit: u64,
) -> Result<ListReply, ListingError> {
    let output = &answer.stdout.head;
    let error =
        |cause| Err(BinaryListError::of(binary, list::JSON_ARGUMENTS, &answer.stderr, cause));
    let is_declared = binary.declared == Declared::Harness;
    match answer.trouble(limit) {
        Some(cause @ ListCause::NotRun(_)) => return error(cause),
        // An old libtest, one without unstable options, or another harness.
        Some(_) if answer.is_refused() => return Ok(ListReply::Refused),
        Some(cause) if is_declared || list::has_json(output) => return error(cause),
        Some(cause) => {
            let note = answer.note(&cause, false);
            return Ok(ListReply::Complete(BinaryList::program(binary, note)));
        }
        None => {}
    }
    match list::parse_json(output) {
        Ok(cases) => return Ok(ListReply::Complete(BinaryList::of(Harness::Libtest, cases))),
        Err(cause) if list::has_json(output) => return error(ListCause::List(cause)),
        Err(_) => {}
    }
    let reads_arguments = || arguments::reads_arguments(binary.executable.as_std_path());
    let is_counted = !output.is_empty();
    Ok(match list::parse_counted(output) {
        Ok(cases) if !cases.is_empty() => ListReply::WithoutIgnored(cases),
        Ok(_) if is_counted => ListReply::Complete(BinaryList::of(Harness::Foreign, Vec::new())),
        Ok(_) => ListReply::Complete(without_tests(binary, reads_arguments())),
        Err(cause) => {
            let note = answer.note(&ListCause::List(cause), reads_arguments());
            ListReply::Complete(BinaryList::program(binary, note))
        }
    })
}

/// Reads the answer to a request for a terse list.
pub fn read_terse(
    binary: &Binary,
    answer: &ListOutput,
    reads_arguments: impl Fn() -> bool,
    limit: u64,
) -> Result<ListReply, ListingError> {
    let output = &answer.stdout.head;
    let cause = match answer.trouble(limit) {
        None => match list::parse_terse(output) {
            Ok(cases) if cases.is_empty() => {
                return Ok(ListReply::Complete(without_tests(binary, reads_arguments())));
            }
            Ok(cases) => return Ok(ListReply::WithoutIgnored(cases)),
            Err(cause) => ListCause::List(cause),
        },
        Some(cause) => cause,
    };
    // What a program without a harness floods is no list; it need not be kept.
    let is_wanted = match &cause {
        ListCause::TooLong(_) | ListCause::TooMany => {
            binary.declared == Declared::Harness || list::lines_of_a_list(output) > 0
        }
        ListCause::NotRun(_) | ListCause::Ended(_) => binary.declared == Declared::Harness,
        ListCause::List(_) => false,
    };
    if is_wanted {
        return Err(BinaryListError::of(binary, list::TERSE_ARGUMENTS, &answer.stderr, cause));
    }
    let note = answer.note(&cause, reads_arguments());
    Ok(ListReply::Complete(BinaryList::program(binary, note)))
}

/// A binary that has printed nothing: a harness without tests, or a program that does not know that
/// it was asked.
fn without_tests(binary: &Binary, reads_arguments: bool) -> BinaryList {
    match reads_arguments {
        true => {
            BinaryList { notes: vec![Note::Empty], ..BinaryList::of(Harness::Foreign, Vec::new()) }
        }
        false => BinaryList::program(binary, None),
    }
}

/// Marks the ignored cases.
pub fn mark_ignored(cases: &mut Vec<Case>, answer: &ListOutput, limit: u64) -> Result<(), String> {
    match answer.trouble(limit) {
        Some(ListCause::Ended(how)) => return Err(format!("it {how}")),
        Some(ListCause::TooLong(limit)) => return Err(format!("it wrote more than {limit} bytes")),
        Some(ListCause::TooMany) => return Err(format!("it wrote more than {MAX_LINES} lines")),
        Some(ListCause::NotRun(error)) => return Err(error.to_string()),
        Some(ListCause::List(_)) | None => {}
    }
    list::mark_ignored(cases, &answer.stdout.head).map_err(|error| match error {
        ListError::UnexpectedLine(line) => format!("unexpected line `{}`", shortened(&line)),
        ListError::NotUtf8(_) | ListError::Incomplete { .. } => error.to_string(),
    })
}

/// True if a harness lists its tests with their kinds, but selects them without: libtest-mimic
/// before 0.7 does so. `lists` tests whether it has a test of exactly this name.
pub fn selects_without_kind(
    cases: &[Case],
    mut lists: impl FnMut(&str) -> Result<bool, ListingError>,
) -> Result<bool, ListingError> {
    let of_a_kind = cases.iter().map(Case::called);
    let mut of_a_kind = of_a_kind.filter_map(|name| Some((name, list::without_kind(name)?)));
    match of_a_kind.next() {
        Some((name, short)) => Ok(!lists(name)? && lists(short)?),
        None => Ok(false),
    }
}

/// True if an output is a list with a test in it.
pub fn names(answer: &ListOutput, limit: u64) -> bool {
    let list = list::parse_terse(&answer.stdout.head);
    answer.trouble(limit).is_none() && list.is_ok_and(|cases| !cases.is_empty())
}
