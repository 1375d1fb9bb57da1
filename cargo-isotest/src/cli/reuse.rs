//! Builds that were made before: archives of them, and the options of cargo-nextest for both.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::cargo::CargoOptions;
use super::config::ConfigOptions;

/// Source of test binaries, if not cargo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Reusing a build")]
pub struct ReuseOptions {
    /// Take the tests from an archive instead of building them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["doc", "binaries_metadata"])]
    pub archive_file: Option<PathBuf>,
    #[command(flatten)]
    format: ArchiveFormatFlag,
    /// Unpack the archive to DIR, and leave it there [default: a directory that is removed]
    #[arg(long, value_name = "DIR", requires = "archive_file")]
    pub extract_to: Option<PathBuf>,
    /// Replace files that are there already
    #[arg(long, requires = "extract_to")]
    pub extract_overwrite: bool,
    /// Directory of the project's sources, if they have moved since the build
    #[arg(long, value_name = "DIR")]
    pub workspace_remap: Option<PathBuf>,
    /// Take the test binaries that FILE lists, as `cargo nextest list --list-type binaries-only
    /// --message-format json` prints them
    #[arg(long, value_name = "FILE", requires = "cargo_metadata", conflicts_with = "doc")]
    pub binaries_metadata: Option<PathBuf>,
    /// The output of `cargo metadata --format-version 1` for `--binaries-metadata`
    #[arg(long, value_name = "FILE", requires = "binaries_metadata")]
    pub cargo_metadata: Option<PathBuf>,
    /// Target directory, if it has moved
    #[arg(long, value_name = "DIR", requires = "binaries_metadata")]
    pub target_dir_remap: Option<PathBuf>,
    /// Build directory, if it is not in the target directory
    #[arg(long, value_name = "DIR", requires = "binaries_metadata")]
    pub build_dir_remap: Option<PathBuf>,
}

/// `--archive-format`: there is one, by either name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
struct ArchiveFormatFlag {
    /// The format of the archive
    #[arg(long, value_name = "FORMAT", default_value = "auto", hide = true)]
    archive_format: ArchiveFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum ArchiveFormat {
    #[default]
    Auto,
    TarZst,
}

/// `cargo isotest archive`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ArchiveCommand {
    /// The archive to write; its name should end in .tar.zst
    #[arg(long, value_name = "FILE", required = true, help_heading = "Archive")]
    pub archive_file: PathBuf,
    #[command(flatten)]
    format: ArchiveFormatFlag,
    /// Compression level: 1 is fastest, 19 smallest, 0 the default of zstd
    #[arg(long, value_name = "LEVEL", default_value_t = 0, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-7..=22), help_heading = "Archive")]
    pub zstd_level: i32,
    /// Archive only test binaries that this expression selects
    #[arg(short = 'E', long = "filterset", value_name = "EXPR", help_heading = "Archive")]
    pub filterset: Vec<String>,
    /// Configuration options.
    #[command(flatten)]
    pub config: ConfigOptions,
    /// Build options.
    #[command(flatten)]
    pub cargo: CargoOptions,
}

impl ReuseOptions {
    /// True if nothing is built.
    pub fn is_reused(&self) -> bool {
        self.archive_file.is_some() || self.binaries_metadata.is_some()
    }

    /// Fails where an option says what is to be built, or how, or where what is not built is.
    pub(super) fn check(&self, cargo: &CargoOptions) -> Result<(), String> {
        if !self.is_reused() {
            return match self.workspace_remap {
                Some(_) => Err("`--workspace-remap` needs an earlier build: use it with \
                                `--archive-file`"
                    .into()),
                None => Ok(()),
            };
        }
        match cargo.to_build_arguments().first() {
            None => Ok(()),
            Some(word) => Err(format!(
                "`{}` is an option for building, but an archive is built; `-E 'package(NAME)'` \
                 selects its tests",
                word.to_string_lossy()
            )),
        }
    }
}
