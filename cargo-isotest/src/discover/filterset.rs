//! Filter expressions: nextest's language, which `nextest-filtering` reads.
//!
//! An expression is read against the packages of the workspace, which cargo is asked for before
//! anything is built, so that a wrong one costs no build. What is selected by name, and how the two
//! are combined, is [`filter`](super::filter)'s and the caller's business.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use guppy::graph::PackageGraph;
use guppy::graph::cargo::BuildPlatform;
use guppy::{CargoMetadata, PackageId};
use isotest_core::case::Case;
use miette::Diagnostic;
use nextest_filtering::errors::{FiltersetParseErrors, ParseSingleError};
use nextest_filtering::{
    BinaryQuery, CompiledExpr, EvalContext, FiltersetKind, GroupLookup, KnownGroups, NameMatcher,
    ParseContext, TestQuery,
};
use nextest_metadata::{RustBinaryId, RustTestBinaryKind, TestCaseName};

use super::cargo::{BuildRequest, metadata_json};
use super::error::DiscoverError;
use super::project::Binary;

/// The packages of a workspace.
#[derive(Debug)]
pub struct FilterPackages {
    graph: PackageGraph,
    root: Utf8PathBuf,
    arguments: Vec<OsString>,
    has_dependencies: bool,
    /// The names of all test groups, which expressions of the command line may ask for.
    pub test_groups: HashSet<String>,
}

impl FilterPackages {
    /// Asks cargo for the workspace of a request, without its dependencies.
    pub fn find(request: &BuildRequest) -> Result<FilterPackages, DiscoverError> {
        let arguments = request.metadata_arguments.clone();
        let graph = graph(&arguments, false)?;
        let root = graph.workspace().root().to_owned();
        let test_groups = HashSet::new();
        Ok(FilterPackages { graph, root, arguments, has_dependencies: false, test_groups })
    }

    /// One that is known with its dependencies, and where it is now.
    pub(super) fn known(graph: PackageGraph, root: Utf8PathBuf) -> FilterPackages {
        let test_groups = HashSet::new();
        FilterPackages { graph, root, arguments: Vec::new(), has_dependencies: true, test_groups }
    }

    /// The directory of its manifest.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Its packages: the id of each by its name, which no other has.
    pub fn packages(&self) -> BTreeMap<String, String> {
        let packages = self.graph.workspace().iter();
        packages.map(|package| (package.name().to_owned(), package.id().to_string())).collect()
    }

    /// Reads an expression. Cargo resolves the dependencies for the first that asks for them.
    pub fn read(&mut self, text: &str, place: ExpressionContext) -> Result<Expression, ReadError> {
        if nextest_filtering::Filterset::needs_deps(text) && !self.has_dependencies {
            self.graph = graph(&self.arguments, true).map_err(ReadError::Discover)?;
            self.has_dependencies = true;
        }
        let kind = match place {
            ExpressionContext::Selection => FiltersetKind::Test,
            ExpressionContext::Override => FiltersetKind::OverrideFilter,
            ExpressionContext::Default => FiltersetKind::DefaultFilter,
            ExpressionContext::Archive => FiltersetKind::TestArchive,
        };
        let groups = KnownGroups::Known { custom_groups: self.test_groups.clone() };
        let context = ParseContext::new(&self.graph);
        let read = nextest_filtering::Filterset::parse(text.to_owned(), &context, kind, &groups);
        match read {
            Ok(filterset) => Ok(Expression(filterset.compiled)),
            Err(errors) => Err(ReadError::Expression(fault(&errors))),
        }
    }
}

fn graph(arguments: &[OsString], dependencies: bool) -> Result<PackageGraph, DiscoverError> {
    let json = metadata_json(arguments, dependencies)?;
    let json = String::from_utf8_lossy(&json);
    let graph = CargoMetadata::parse_json(json).and_then(CargoMetadata::build_graph);
    graph.map_err(|cause| DiscoverError::Graph(Box::new(cause)))
}

/// Place of an expression, which decides the predicates that it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpressionContext {
    /// On the command line.
    Selection,
    /// In an override.
    Override,
    /// It is a `default-filter`.
    Default,
    /// It says which binaries an archive has.
    Archive,
}

/// An expression could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The packages could not be read.
    Discover(DiscoverError),
    /// The expression is wrong.
    Expression(ExpressionError),
}

/// An error in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// The error.
    pub message: String,
    /// Its bytes in the expression.
    pub span: Range<usize>,
    /// A remedy, if one is known.
    pub hint: Option<String>,
}

/// The first fault; those behind it are often its consequences.
fn fault(errors: &FiltersetParseErrors) -> ExpressionError {
    let end = errors.input.len();
    let Some(error) = errors.errors.first() else {
        return ExpressionError { message: "unknown error".to_owned(), span: 0..end, hint: None };
    };
    let label = error.labels().and_then(|mut labels| labels.next());
    let span = label.as_ref().map_or(0..end, |label| {
        let start = label.offset().min(end);
        start..(start + label.len()).min(end)
    });
    let what = label.and_then(|label| label.label().map(str::to_owned));
    let message = match what {
        // "no packages matched this" says what the error says.
        Some(what) if !what.starts_with("no ") => format!("{error}: {what}"),
        Some(_) | None => error.to_string(),
    };
    let known = match error {
        ParseSingleError::NoPackageMatch(_) => Some(
            "it must name a package of the workspace or \
             a dependency; `cargo metadata` lists them",
        ),
        ParseSingleError::NoBinaryIdMatch(_) | ParseSingleError::NoBinaryNameMatch(_) => {
            Some("`cargo isotest list` prints the ids of all test binaries")
        }
        ParseSingleError::NoGroupMatch(_) => {
            Some("`cargo isotest show-config` lists the test groups")
        }
        _ => None,
    };
    let hint = error.help().map(|help| help.to_string()).or(known.map(str::to_owned));
    ExpressionError { message, span, hint }
}

/// An expression that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(CompiledExpr);

impl Expression {
    /// Selects everything.
    pub fn all() -> Expression {
        Expression(CompiledExpr::ALL)
    }

    /// True if a binary is selected, or a case of it may be.
    pub fn selects_binary(&self, subject: &FilterSubject) -> bool {
        let context = EvalContext { default_filter: &CompiledExpr::ALL };
        self.0.matches_binary(&subject.query(), &context).unwrap_or(true)
    }

    /// True if a case in this test group is selected; only expressions of the command line ask for
    /// the group. `default` is what `default()` stands for.
    pub fn selects(
        &self,
        subject: &FilterSubject,
        case: &Case,
        default: &Expression,
        group: &str,
    ) -> bool {
        let name = TestCaseName::new(&case.name);
        let query = TestQuery { binary_query: subject.query(), test_name: &name };
        let context = EvalContext { default_filter: &default.0 };
        self.0.matches_test_with_groups(&query, &context, &InTestGroup(group))
    }
}

/// A binary in the words that expressions have.
#[derive(Debug, Clone)]
pub struct FilterSubject {
    package: PackageId,
    id: RustBinaryId,
    name: String,
    kind: RustTestBinaryKind,
}

impl FilterSubject {
    /// The binary as expressions see it.
    pub fn of(binary: &Binary) -> FilterSubject {
        FilterSubject {
            package: PackageId::new(binary.package_id.as_str()),
            id: RustBinaryId::new(&binary.id),
            name: binary.target_name.clone(),
            kind: RustTestBinaryKind::new(binary.kind.as_str()),
        }
    }

    fn query(&self) -> BinaryQuery<'_> {
        BinaryQuery {
            package_id: &self.package,
            binary_id: &self.id,
            binary_name: &self.name,
            kind: &self.kind,
            platform: BuildPlatform::Target,
        }
    }
}

/// The case that is asked for is in this test group.
#[derive(Debug)]
struct InTestGroup<'a>(&'a str);

impl GroupLookup for InTestGroup<'_> {
    fn is_member_test(&self, _test: &TestQuery<'_>, matcher: &NameMatcher) -> bool {
        matcher.is_match(self.0)
    }
}
