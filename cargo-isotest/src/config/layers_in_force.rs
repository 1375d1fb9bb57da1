//! The layers that are made once, of a profile and those that it inherits from, and which of them a
//! case sees.

use std::path::{Path, PathBuf};

use isotest_core::case::Case;

use super::effective::{Config, ParsedFile};
use super::error::{ConfigError, LoadError};
use super::file::Profile;
use super::layer_tables::MadeOnce;
use crate::discover::filterset::{Expression, ExpressionContext, FilterPackages, FilterSubject};

impl Config {
    /// Layers of a profile; those of the same name of a profile that inherits from it count.
    pub(super) fn take_layers(
        &mut self,
        read: &ParsedFile,
        name: &str,
        profile: &Profile,
        workspace: &mut FilterPackages,
    ) -> Result<(), LoadError> {
        for (index, one) in profile.layers.iter().enumerate() {
            if self.made_once.iter().any(|known| known.name == one.name) {
                continue;
            }
            let tests = match &one.filter {
                Some(filter) => read.expression(filter, ExpressionContext::Override, workspace)?,
                None => Expression::all(),
            };
            self.made_once.push(MadeOnce {
                name: one.name.clone(),
                run: one.run.clone(),
                inputs: one.inputs.clone(),
                at: PathBuf::from(&one.at.text),
                timeout: one.timeout,
                tests,
                filter: one.filter.as_ref().map_or("all()".to_owned(), |it| it.text.clone()),
                place: format!(
                    "layer {} of profile `{name}` ({}:{})",
                    index + 1,
                    read.name,
                    one.line
                ),
            });
        }
        Ok(())
    }

    /// Fails where one layer would lie in another.
    pub(super) fn check_layers(
        &self,
        read: &ParsedFile,
        chain: &[(&str, &Profile)],
    ) -> Result<(), ConfigError> {
        for one in chain.iter().flat_map(|(_, profile)| &profile.layers) {
            let path = Path::new(&one.at.text);
            let is_around = |other: &&MadeOnce| path.starts_with(&other.at) && path != other.at;
            if let Some(other) = self.made_once.iter().find(is_around) {
                let (file, name) = (&read.name, &one.name);
                let message =
                    format!("cannot read `{file}`: the layer `{name}` lies in `{}`", other.name);
                let hint = format!("`{}` is at `{}`", other.name, other.at.display());
                return Err(read.at(ConfigError::new(message), Some(&one.at)).hint(Some(hint)));
            }
        }
        Ok(())
    }

    /// The layers that this case sees, by their places in the configuration.
    pub fn layers_of(&self, subject: &FilterSubject, case: &Case) -> Vec<usize> {
        let mut seen: Vec<usize> = Vec::new();
        for (place, layer) in self.made_once.iter().enumerate() {
            let is_free = seen.iter().all(|known| self.made_once[*known].at != layer.at);
            if is_free && self.selects(&layer.tests, subject, case) {
                seen.push(place);
            }
        }
        seen
    }
}
