//! Effective configuration, in order: flag, environment, override, profile, default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use isotest_core::case::Case;

use super::archive::Include;
use super::baseline::{self, Baseline, read_baseline};
use super::commands::{ServiceTable, SetupTable};
use super::contents::{Contents, PATH};

use super::document::SpannedText;
use super::error::{ConfigError, LoadError, nearest};
use super::file::{self, File, Profile};
use super::layer_tables::MadeOnce;
use super::quarantine::QuarantineEntry;
use super::run_options::{GLOBAL, TestGroup};
use super::source::{Origin, Source, merged};
use super::variables;
use crate::cli::{CargoOptions, ConfigOptions, FiltersetOptions, LayerOptions, RunOptions, Values};
use crate::config::machine::Machine;
use crate::config::settings;
use crate::discover::filterset::{
    Expression, ExpressionContext, ExpressionError, FilterPackages, FilterSubject, ReadError,
};
use crate::discover::{Binary, BuildRequest, Reused};
use crate::report;

/// The profile that is taken where none is asked for, and that the others inherit from.
const DEFAULT: &str = "default";

/// Services and setup commands that a case needs, by their places in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    /// Services.
    pub services: Vec<usize>,
    /// Setup commands.
    pub setup: Vec<usize>,
}

/// Values of the command line.
#[derive(Debug, Clone, Copy)]
pub struct FlagValues<'a> {
    /// The layers and limits.
    pub layers: &'a LayerOptions,
    /// Run options of the flags, if the command runs tests.
    pub run_options: Option<&'a RunOptions>,
    /// The name of a profile.
    pub profile: Option<&'a str>,
    /// Filter expressions, where the command takes them.
    pub filterset: Option<&'a FiltersetOptions>,
    /// The build that was made before, where nothing is built.
    pub reused: Option<&'a Reused>,
}

impl<'a> FlagValues<'a> {
    /// Layers and a profile alone.
    pub fn of(layers: &'a LayerOptions, config: &'a ConfigOptions) -> FlagValues<'a> {
        let profile = config.profile.as_deref();
        FlagValues { layers, run_options: None, profile, filterset: None, reused: None }
    }
}

/// All that is asked for.
#[derive(Debug)]
pub struct Config {
    /// The file, where there is one.
    pub path: Option<PathBuf>,
    /// The name of the profile.
    pub profile: String,
    /// The filter expression that is intersected with every other, and where it stands.
    pub default_filter: Option<(String, String)>,
    /// The services that tests may ask for, and the setup commands.
    pub services: Vec<ServiceTable>,
    pub setup: Vec<SetupTable>,
    /// The test groups, and where each stands.
    pub test_groups: Vec<(String, TestGroup, String)>,
    /// Findings that are known.
    pub baseline: Baseline,
    /// The tests that may fail.
    pub quarantine: Vec<QuarantineEntry>,
    /// Directories that are made once: of those with the same path the first that selects a test
    /// counts.
    pub made_once: Vec<MadeOnce>,
    /// Files that archives include, and the place that names them.
    pub archived: Option<(Vec<Include>, String)>,
    /// The packages that expressions were read against: the id of each by its name.
    pub packages: BTreeMap<String, String>,
    /// Flags, then the environment.
    typed: Vec<Source>,
    /// The first that selects a case counts first.
    pub(super) overrides: Vec<(Expression, Source)>,
    /// The profile, then what it inherits from.
    profiles: Vec<Source>,
    /// Expressions of the command line: if there are any, one must select a case.
    selecting: Vec<Expression>,
    /// The expression behind `default()`.
    default: Expression,
    ignores_default: bool,
    /// Further flags that another run needs to be the same, as typed.
    flags: Vec<String>,
}

impl Config {
    /// Configuration of flags and environment; no file is read.
    pub fn without_file(layers: &LayerOptions, machine: &Machine) -> Result<Config, LoadError> {
        let values = Values { layers: layers.clone(), ..Values::default() };
        let flags = Source::typed(Origin::Flag, values);
        let environment = variables::read(&machine.variables)?;
        let environment = Source::typed(Origin::Environment, environment);
        Ok(Config {
            path: None,
            profile: DEFAULT.to_owned(),
            default_filter: None,
            services: Vec::new(),
            setup: Vec::new(),
            test_groups: Vec::new(),
            baseline: Baseline::default(),
            quarantine: Vec::new(),
            made_once: Vec::new(),
            archived: None,
            packages: BTreeMap::new(),
            typed: vec![flags, environment],
            overrides: Vec::new(),
            profiles: Vec::new(),
            selecting: Vec::new(),
            default: Expression::all(),
            ignores_default: false,
            flags: Vec::new(),
        })
    }

    /// The same and what the file at the root of the workspace asks for. Cargo is asked where that
    /// is, where a file may be there or an expression is to be read.
    pub fn load(
        given: FlagValues<'_>,
        cargo: &CargoOptions,
        machine: &Machine,
    ) -> Result<Config, LoadError> {
        let mut config = Config::without_file(given.layers, machine)?;
        if let (Some(run_options), [flags, ..]) = (given.run_options, config.typed.as_mut_slice()) {
            flags.values.run_options = run_options.clone();
        }
        let variable = machine.variable("ISOTEST_PROFILE").map(|name| name.to_string_lossy());
        let profile = given.profile.or(variable.as_deref());
        let expressions = given.filterset.map_or(&[][..], |options| &options.filterset);
        config.ignores_default =
            given.filterset.is_some_and(|options| options.ignore_default_filter);
        let may_have_file = match given.reused {
            Some(reused) => has_file(reused.workspace_root().as_std_path()),
            None => may_have_file(cargo, machine),
        };
        if !may_have_file && expressions.is_empty() {
            return match profile {
                Some(name) if name != DEFAULT => Err(no_file(name).into()),
                Some(_) | None => Ok(config),
            };
        }
        let mut workspace = match given.reused {
            Some(reused) => reused.workspace(),
            None => FilterPackages::find(&settings::request(cargo))?,
        };
        config.profile = profile.unwrap_or(DEFAULT).to_owned();
        config.take_file(&mut workspace, machine)?;
        config.packages = workspace.packages();
        workspace.test_groups = config.test_groups.iter().map(|(name, ..)| name.clone()).collect();
        config.selecting =
            typed_expressions(expressions, ExpressionContext::Selection, &mut workspace)?;
        Ok(config)
    }

    fn take_file(
        &mut self,
        workspace: &mut FilterPackages,
        machine: &Machine,
    ) -> Result<(), LoadError> {
        self.baseline = read_baseline(workspace.root().as_std_path(), machine)?;
        let path = workspace.root().join(PATH).into_std_path_buf();
        if !path.is_file() {
            return match self.profile.as_str() {
                DEFAULT => Ok(()),
                name => Err(no_file(name).into()),
            };
        }
        let name = machine.shown(&path).to_string_lossy().into_owned();
        let contents = Contents::read(&path, &name, workspace.root().as_std_path())?;
        self.take_text(name, &contents.text, workspace).map_err(|error| contents.fault(error))?;
        self.path = Some(path);
        Ok(())
    }

    fn take_text(
        &mut self,
        name: String,
        text: &str,
        workspace: &mut FilterPackages,
    ) -> Result<(), LoadError> {
        let read = ParsedFile { file: file::read(&name, text)?, name, text: text.to_owned() };
        let chain = read.chain(&self.profile)?;
        for (profile, contents) in &chain {
            self.take_profile(&read, profile, contents, workspace)?;
        }
        self.check_layers(&read, &chain)?;
        let default = chain.iter().find_map(|(_, profile)| profile.default_filter.as_ref());
        if let Some(filter) = default {
            self.default = read.expression(filter, ExpressionContext::Default, workspace)?;
            self.default_filter = Some((filter.text.clone(), read.place(filter.span.start)));
        }
        let archived =
            chain.iter().find_map(|(_, profile)| Some((profile, profile.archive.as_ref()?)));
        self.archived = archived.map(|(profile, archive)| {
            (archive.include.clone(), format!("{}:{}", read.name, profile.line))
        });
        let groups = read.file.test_groups.iter();
        let groups = groups.map(|(name, group)| {
            (name.clone(), group.clone(), format!("{}:{}", read.name, group.line))
        });
        self.test_groups = groups.collect();
        (self.services, self.setup) = (read.file.service, read.file.setup);
        Ok(())
    }

    fn take_profile(
        &mut self,
        read: &ParsedFile,
        name: &str,
        profile: &Profile,
        workspace: &mut FilterPackages,
    ) -> Result<(), LoadError> {
        for (index, one) in profile.overrides.iter().enumerate() {
            let origin = Origin::Override {
                number: index + 1,
                profile: name.to_owned(),
                place: format!("{}:{}", read.name, one.line),
                filter: one.filter.text.clone(),
                reason: one.reason.clone(),
            };
            let expression =
                read.expression(&one.filter, ExpressionContext::Override, workspace)?;
            let (services, setup) = (names(&one.services), names(&one.setup));
            let source = Source { origin, values: one.values.clone(), services, setup };
            self.overrides.push((expression, source));
        }
        for one in &profile.quarantine {
            let tests = read.expression(&one.filter, ExpressionContext::Override, workspace)?;
            self.quarantine.push(QuarantineEntry {
                tests,
                reason: one.reason.clone(),
                until: one.until,
                token: one.token.clone(),
                place: format!("{}:{}", read.name, one.line),
                filter: one.filter.text.clone(),
            });
        }
        self.take_layers(read, name, profile, workspace)?;
        let origin = Origin::Profile {
            name: name.to_owned(),
            place: format!("{}:{}", read.name, profile.line),
            reason: profile.reason.clone(),
        };
        let (services, setup) = (names(&profile.services), names(&profile.setup));
        let mut values = profile.values.clone();
        // The same file wherever in the workspace a run is started.
        let root = workspace.root().as_std_path();
        for file in [&mut values.run_options.junit, &mut values.run_options.sarif] {
            *file = file.take().map(|path| root.join(path));
        }
        self.profiles.push(Source { origin, values, services, setup });
        Ok(())
    }

    /// Fails where the workspace that was built has a file that was not found before: its root is
    /// not above the package.
    pub fn check(&self, root: &Path) -> Result<(), LoadError> {
        let path = root.join(PATH);
        if self.path.is_some() || !path.is_file() {
            return Ok(());
        }
        let message = format!("cannot use `{}`: it is not above the package", path.display());
        let hint = format!("give `--manifest-path {}`", root.join("Cargo.toml").display());
        Err(ConfigError::new(message).hint(Some(hint)).into())
    }

    /// The same for a command that names one case, also one that a run leaves out.
    pub fn without_default_filter(self) -> Config {
        Config { ignores_default: true, ..self }
    }

    /// Takes what else another run needs to be the same.
    pub fn take_flags(&mut self, flags: impl IntoIterator<Item = String>) {
        self.flags.extend(flags);
    }

    /// The flags by which another run has the same configuration.
    pub fn flags(&self) -> Vec<String> {
        let profile = Some(&self.profile).filter(|name| *name != DEFAULT);
        let ignores = self.ignores_default && self.default_filter.is_some();
        let profile = profile.map(|name| format!("-P {}", report::quoted(name)));
        let ignores = ignores.then(|| "--ignore-default-filter".to_owned());
        self.flags.iter().cloned().chain(profile).chain(ignores).collect()
    }

    /// The layers and limits that flags and environment ask for.
    pub fn typed_layers(&self) -> LayerOptions {
        merged(&self.typed.iter().collect::<Vec<_>>()).layers
    }

    /// True if filter expressions of the command line select, which match cases only.
    pub fn selects_by_expression(&self) -> bool {
        !self.selecting.is_empty()
    }

    /// The overrides, in order.
    pub fn overrides(&self) -> impl Iterator<Item = &Source> {
        self.overrides.iter().map(|(_, source)| source)
    }

    /// Sources of a case that no override selects, in order of precedence.
    pub fn sources(&self) -> Vec<&Source> {
        self.typed.iter().chain(&self.profiles).collect()
    }

    /// Sources of this case, in order of precedence.
    pub fn sources_of(&self, subject: &FilterSubject, case: &Case) -> Vec<&Source> {
        let selects =
            |(expression, _): &&(Expression, Source)| self.selects(expression, subject, case);
        let overrides = self.overrides.iter().filter(selects).map(|(_, source)| source);
        self.typed.iter().chain(overrides).chain(&self.profiles).collect()
    }

    /// The place of the first entry of the quarantine that a case is in.
    pub fn quarantine_of(&self, subject: &FilterSubject, case: &Case) -> Option<usize> {
        self.quarantine.iter().position(|entry| self.selects(&entry.tests, subject, case))
    }

    /// True if an expression of the configuration selects a case.
    pub(super) fn selects(
        &self,
        expression: &Expression,
        subject: &FilterSubject,
        case: &Case,
    ) -> bool {
        expression.selects(subject, case, &self.default, GLOBAL)
    }

    /// Services and setup commands that these sources require.
    pub fn needs(&self, sources: &[&Source]) -> Needs {
        let asked = |of: fn(&Source) -> &Vec<String>, name: &String| {
            sources.iter().any(|source| of(source).contains(name))
        };
        let services = self.services.iter().zip(0..);
        let services = services.filter(|(table, _)| asked(|source| &source.services, &table.name));
        let setup = self.setup.iter().zip(0..);
        let setup = setup.filter(|(table, _)| asked(|source| &source.setup, &table.name));
        Needs {
            services: services.map(|(_, place)| place).collect(),
            setup: setup.map(|(_, place)| place).collect(),
        }
    }

    /// The test group of this case.
    fn group_of(&self, subject: &FilterSubject, case: &Case) -> &str {
        let sources = self.sources_of(subject, case).into_iter();
        let mut given =
            sources.filter_map(|source| source.values.run_options.test_group.as_deref());
        given.next().unwrap_or(GLOBAL)
    }

    /// Values of all cases that no override selects.
    pub fn values(&self) -> Values {
        merged(&self.sources())
    }

    /// The layers of it.
    pub fn layers(&self) -> LayerOptions {
        self.values().layers
    }

    /// Tests whether the filter expressions select a case of this binary.
    pub fn selection(&self, binary: &Binary) -> impl Fn(&Case) -> bool {
        let subject = FilterSubject::of(binary);
        move |case| {
            let group = match self.selecting.as_slice() {
                [] => GLOBAL,
                _ => self.group_of(&subject, case),
            };
            let selects =
                |expression: &Expression| expression.selects(&subject, case, &self.default, group);
            (self.selecting.is_empty() || self.selecting.iter().any(selects))
                && (self.ignores_default || self.default_filter.is_none() || selects(&self.default))
        }
    }
}

fn names(texts: &[SpannedText]) -> Vec<String> {
    texts.iter().map(|text| text.text.clone()).collect()
}

/// A file that was read.
pub(super) struct ParsedFile {
    pub(super) name: String,
    text: String,
    file: File,
}

impl ParsedFile {
    fn place(&self, at: usize) -> String {
        format!("{}:{}", self.name, super::error::line_of(&self.text, at))
    }

    /// The profile of this name and those it inherits from, in the order in which they are asked.
    fn chain(&self, name: &str) -> Result<Vec<(&str, &Profile)>, ConfigError> {
        let mut chain: Vec<(&str, &Profile)> = Vec::new();
        let (mut next, mut asking) = (name, None);
        while let Some((known, profile)) = self.file.profile.get_key_value(next) {
            if chain.iter().any(|(before, _)| before == known) {
                let message =
                    format!("cannot read `{}`: profile `{known}` inherits from itself", self.name);
                return Err(self.at(ConfigError::new(message), asking));
            }
            chain.push((known, profile));
            next = match &profile.inherits {
                Some(inherits) => &inherits.text,
                None if known == DEFAULT => return Ok(chain),
                None => DEFAULT,
            };
            asking = profile.inherits.as_ref();
        }
        if next == DEFAULT {
            return Ok(chain);
        }
        let message = format!("cannot find the profile `{next}` in `{}`", self.name);
        let known = self.file.profile.keys().map(String::as_str);
        let hint = nearest(next, known).map(|meant| format!("did you mean `{meant}`?"));
        let names: Vec<&str> = self.file.profile.keys().map(String::as_str).collect();
        let hint = hint.unwrap_or_else(|| format!("expected one of: {}", names.join(", ")));
        Err(self.at(ConfigError::new(message), asking).hint(Some(hint)))
    }

    pub(super) fn at(&self, error: ConfigError, text: Option<&SpannedText>) -> ConfigError {
        match text {
            Some(text) => error.at(&self.name, &self.text, text.span.clone()),
            None => error,
        }
    }

    pub(super) fn expression(
        &self,
        filter: &SpannedText,
        place: ExpressionContext,
        workspace: &mut FilterPackages,
    ) -> Result<Expression, LoadError> {
        let at = |fault: ExpressionError| {
            let message =
                format!("cannot read a filter expression in `{}`: {}", self.name, fault.message);
            // Without escapes the expression stands in the file as it is.
            let first = self.text[filter.span.clone()].find(filter.text.as_str());
            let span = match first {
                Some(first) => {
                    let first = filter.span.start + first;
                    first + fault.span.start..first + fault.span.end
                }
                None => filter.span.clone(),
            };
            ConfigError::new(message).at(&self.name, &self.text, span).hint(fault.hint).in_filter()
        };
        workspace.read(&filter.text, place).map_err(|error| worded(error, at))
    }
}

/// Expressions of the command line that select binaries.
pub fn binary_expressions(
    expressions: &[String],
    request: &BuildRequest,
) -> Result<Vec<Expression>, LoadError> {
    match expressions {
        [] => Ok(Vec::new()),
        _ => typed_expressions(
            expressions,
            ExpressionContext::Archive,
            &mut FilterPackages::find(request)?,
        ),
    }
}

fn typed_expressions(
    expressions: &[String],
    place: ExpressionContext,
    workspace: &mut FilterPackages,
) -> Result<Vec<Expression>, LoadError> {
    let read = |text: &String| {
        let at = |fault: ExpressionError| {
            let message = format!("cannot read the filter expression `{text}`: {}", fault.message);
            let error = ConfigError::new(message).at("--filterset", text, fault.span);
            error.hint(fault.hint).in_filter()
        };
        workspace.read(text, place).map_err(|error| worded(error, at))
    };
    expressions.iter().map(read).collect()
}

fn worded(error: ReadError, at: impl Fn(ExpressionError) -> ConfigError) -> LoadError {
    match error {
        ReadError::Discover(error) => error.into(),
        ReadError::Expression(fault) => at(fault).into(),
    }
}

fn no_file(profile: &str) -> ConfigError {
    let message = format!("cannot find the profile `{profile}`: the workspace has no `{PATH}`");
    ConfigError::new(message).hint(Some(format!("`--profile {profile}` is cargo's profile")))
}

/// True if a directory that may be the workspace root has a configuration file.
fn may_have_file(cargo: &CargoOptions, machine: &Machine) -> bool {
    let manifest = cargo.manifest_path.as_ref().map(|path| machine.directory.join(path));
    let start = manifest.as_deref().and_then(Path::parent).unwrap_or(&machine.directory);
    // A path may lead through links or `..`, of which cargo makes the real one.
    let start = start.canonicalize().unwrap_or_else(|_| start.to_owned());
    start.ancestors().any(has_file)
}

/// True if a directory has a configuration, or a baseline.
fn has_file(directory: &Path) -> bool {
    [PATH, baseline::PATH].iter().any(|path| directory.join(path).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn read(text: &str) -> ParsedFile {
        let file = file::read("c.toml", text).expect("it is right");
        ParsedFile { name: "c.toml".to_owned(), text: text.to_owned(), file }
    }

    fn names(text: &str, name: &str) -> Vec<String> {
        let read = read(text);
        let chain = read.chain(name).expect("a profile");
        chain.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn profiles_inherit_from_default_unless_they_say_otherwise() {
        let text = "[profile.default]\n[profile.a]\n[profile.b]\ninherits = \"a\"\n";
        assert_eq!(names(text, "default"), ["default"]);
        assert_eq!(names(text, "b"), ["b", "a", "default"]);
        assert_eq!(names("[profile.a]\n", "a"), ["a"]);
        assert!(names("[profile.a]\n", "default").is_empty());
    }

    #[test]
    fn a_circle_of_profiles_is_an_error() {
        let text = "[profile.a]\ninherits = \"b\"\n[profile.b]\ninherits = \"a\"\n";
        let error = read(text).chain("a").expect_err("a circle").to_string();
        assert!(error.contains("profile `a` inherits from itself\n --> c.toml:4:12"), "{error}");
    }

    #[test]
    fn a_profile_that_is_not_there_is_an_error_with_a_suggestion() {
        let error = read("[profile.nightly]\n").chain("nihgtly").expect_err("none").to_string();
        assert!(error.contains("cannot find the profile `nihgtly` in `c.toml`"), "{error}");
        assert!(error.ends_with("did you mean `nightly`?"), "{error}");
    }

    #[test]
    fn what_is_asked_first_counts_and_lists_add_up() {
        let source = |timeout: Option<&str>, passed: &str| {
            let mut values = cli::read_key("pass-env", &[passed.to_owned()]).expect("a name");
            if let Some(timeout) = timeout {
                values =
                    cli::read_key("timeout", &[timeout.to_owned()]).expect("a time").over(values);
            }
            Source::typed(Origin::Flag, values)
        };
        let (first, second, third) =
            (source(None, "A"), source(Some("5s"), "B"), source(Some("9s"), "C"));
        let merged = merged(&[&first, &second, &third]);
        assert_eq!(merged.layers.values("timeout"), ["5s"]);
        assert_eq!(merged.layers.values("pass-env"), ["C", "B", "A"]);
    }
}
