//! The command that runs failed tests of a binary again: those tests, in that build, under those
//! layers.

use std::ffi::OsString;

use crate::cli::Rerun;
use crate::config::Config;
use crate::config::settings::Settings;
use crate::discover::{Binary, Scope};
use crate::report::{Frame, quoted};
use crate::sandbox::roots::RootFilesystem;

/// The part before `--` of that command: it selects the binary.
pub fn before(
    settings: &Settings,
    config: &Config,
    root: &RootFilesystem,
    binary: &Binary,
) -> String {
    let Rerun { build, .. } = &settings.rerun;
    let mut words = config.flags();
    words.extend(typed(build));
    words.extend(typed(&config.typed_layers().to_rerun_arguments()));
    if settings.asks_for_one_thread() {
        words.push("--test-threads=1".to_owned());
    }
    if let Some(root) = &root.name {
        words.push(format!("--root {}", quoted(&root.to_string_lossy())));
    }
    words.push(select(settings, binary));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// The options that select the binary and leave the build as it is: one target of one package, or a
/// binary among those of several, since the features of each hang on the others.
fn select(settings: &Settings, binary: &Binary) -> String {
    let Rerun { packages, one_package, targets, .. } = &settings.rerun;
    let is_built = !binary.rerun_flag.starts_with("-E");
    if !is_built || settings.report.frame == Frame::Cargo {
        return binary.rerun_flag.clone();
    }
    let is_alone = match settings.request.scope {
        Scope::Named => *one_package,
        Scope::Default | Scope::Workspace => !binary.rerun_flag.starts_with("-p "),
    };
    let mut words = typed(packages);
    if is_alone {
        words.push(binary.target_flag());
    } else {
        words.extend(typed(targets));
        words.push(format!("-E {}", quoted(&format!("binary_id(={})", binary.id))));
    }
    words.join(" ")
}

/// The words for a shell.
fn typed(words: &[OsString]) -> Vec<String> {
    words.iter().map(|word| quoted(&word.to_string_lossy())).collect()
}
