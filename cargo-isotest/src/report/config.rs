//! Output of `show-config` and `import-nextest`.

use std::io::{self, BufWriter, Write};

use anstyle::Style;

use super::paint::GOOD;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Value that is in force, of a layer, a limit or a key of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveValue {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Source of the value.
    pub source: String,
}

/// All that `show-config` tells.
pub struct Configuration<'a> {
    /// The file, where there is one.
    pub file: Option<String>,
    /// The name of the profile.
    pub profile: &'a str,
    /// The expression, and where it stands.
    pub default_filter: Option<&'a (String, String)>,
    /// Every layer and limit.
    pub layers: &'a [EffectiveValue],
    /// Run options in effect.
    pub run_options: &'a [EffectiveValue],
    /// Files that archives include, and the place that names them.
    pub archived: Option<(String, &'a str)>,
    /// The layers that are made once: name, path and filter expression, and where each stands.
    pub made_once: &'a [[String; 3]],
    /// The test groups: name, size, and where each stands.
    pub test_groups: &'a [[String; 3]],
    /// Overrides for some tests.
    pub overrides: &'a [Overriding],
}

/// An override.
pub struct Overriding {
    /// Its place.
    pub origin: String,
    /// Its filter expression.
    pub filter: String,
    /// Its keys with their values.
    pub values: Vec<String>,
}

/// Prints the effective configuration.
pub fn configuration(shown: &Configuration<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(anstream::stdout());
    let file = shown.file.as_deref().unwrap_or("none at the root of the workspace");
    writeln!(out, "{BOLD}{:<16}{BOLD:#}{file}", "file")?;
    writeln!(out, "{BOLD}{:<16}{BOLD:#}{}", "profile", shown.profile)?;
    let (filter, source) = match shown.default_filter {
        Some((filter, place)) => (filter.as_str(), place.as_str()),
        None => ("all()", "default"),
    };
    writeln!(out, "{BOLD}{:<16}{BOLD:#}{filter}  {DIM}{source}{DIM:#}", "default-filter")?;
    writeln!(out, "\n{BOLD}layers and limits{BOLD:#}")?;
    write_layers(&mut out, shown.layers)?;
    writeln!(out, "\n{BOLD}course of a run{BOLD:#}")?;
    write_layers(&mut out, shown.run_options)?;
    if let Some((paths, place)) = &shown.archived {
        writeln!(out, "\n{BOLD}archives{BOLD:#}")?;
        writeln!(out, "    {:<16} {paths:<24} {DIM}{place}{DIM:#}", "include")?;
    }
    if !shown.made_once.is_empty() {
        writeln!(out, "\n{BOLD}layers made once{BOLD:#}")?;
    }
    for [name, seen, place] in shown.made_once {
        writeln!(out, "    {name:<16} {seen:<24} {DIM}{place}{DIM:#}")?;
    }
    if !shown.test_groups.is_empty() {
        writeln!(out, "\n{BOLD}test groups{BOLD:#}")?;
    }
    for [name, size, place] in shown.test_groups {
        writeln!(out, "    {name:<16} {size:<24} {DIM}{place}{DIM:#}")?;
    }
    if !shown.overrides.is_empty() {
        writeln!(out, "\n{BOLD}overrides (the first match applies){BOLD:#}")?;
    }
    for Overriding { origin, filter, values } in shown.overrides {
        writeln!(out, "    {filter}  {DIM}{origin}{DIM:#}")?;
        for value in values {
            writeln!(out, "        {value}")?;
        }
    }
    out.flush()
}

/// A line for each layer and limit.
pub(super) fn write_layers(out: &mut impl Write, layers: &[EffectiveValue]) -> io::Result<()> {
    for EffectiveValue { name, value, source } in layers {
        writeln!(out, "    {name:<16} {value:<24} {DIM}{source}{DIM:#}")?;
    }
    Ok(())
}

/// Prints a JSON Schema.
pub fn schema(schema: &schemars::Schema) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    serde_json::to_writer_pretty(&mut out, schema)?;
    writeln!(out)?;
    out.flush()
}

/// Prints a text as it is.
pub fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Tells which file was written, and what of nextest's is not in it.
pub fn imported(file: &str, notes: &[String]) {
    anstream::eprintln!("{GOOD}{:>12}{GOOD:#} {file}", "Wrote");
    if !notes.is_empty() {
        anstream::eprintln!("\n{BOLD}note{BOLD:#}: not converted:");
    }
    for note in notes {
        anstream::eprintln!("    {note}");
    }
}
