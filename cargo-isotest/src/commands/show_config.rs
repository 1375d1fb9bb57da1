//! `cargo isotest show-config`: prints the configuration that is in force.

use crate::cli::ShowConfigCommand;
use crate::config::machine::Machine;
use crate::config::settings;
use crate::config::{self, Config, FlagValues, Include, MadeOnce, TestGroup};
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;

/// Prints the effective configuration, or the schema of the file.
pub fn show(command: &ShowConfigCommand, machine: &Machine) -> Result<ExitCode, Error> {
    if command.schema {
        report::schema(&config::schema()).map_err(Error::Report)?;
        return Ok(ExitCode::Passed);
    }
    let given = FlagValues::of(&command.layers, &command.config);
    let config = Config::load(given, &command.cargo, machine)?;
    let layers = config.layers();
    let mut rows = config::rows(&settings::policy(&layers), &config.sources());
    // It is not looked for, nor unpacked, to be shown.
    for row in rows.iter_mut().filter(|row| row.name == "root" && layers.has("root")) {
        let names = layers.values("root").iter().map(|root| root.to_string_lossy());
        row.value = names.collect::<Vec<_>>().join(" ");
    }
    let sources = config.sources();
    let file = config.path.as_deref().map(|path| machine.shown(path));
    let shown = report::Configuration {
        file: file.map(|path| path.to_string_lossy().into_owned()),
        profile: &config.profile,
        default_filter: config.default_filter.as_ref(),
        layers: &rows,
        run_options: &[config::case_rows(&sources), config::run_rows(&sources)].concat(),
        archived: config.archived.as_ref().map(archived),
        made_once: &config.made_once.iter().map(made_once).collect::<Vec<_>>(),
        test_groups: &config.test_groups.iter().map(test_group).collect::<Vec<_>>(),
        overrides: &config.overrides().map(config::given).collect::<Vec<_>>(),
    };
    report::configuration(&shown).map_err(Error::Report)?;
    Ok(ExitCode::Passed)
}

/// The files that archives include, in one line, and the place that names them.
fn archived((included, place): &(Vec<Include>, String)) -> (String, &str) {
    let paths: Vec<&str> = included.iter().map(|include| include.path.as_str()).collect();
    (if paths.is_empty() { "none".to_owned() } else { paths.join(" ") }, place)
}

/// A layer's name, its path and tests, and where it stands.
fn made_once(layer: &MadeOnce) -> [String; 3] {
    let seen = format!("at {} for {}", layer.at.display(), layer.filter);
    [layer.name.clone(), seen, layer.place.clone()]
}

/// A group's name and size, and where it stands.
fn test_group((name, group, place): &(String, TestGroup, String)) -> [String; 3] {
    [name.clone(), format!("max-threads {}", group.max_threads), place.clone()]
}
