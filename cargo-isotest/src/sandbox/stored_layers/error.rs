//! Errors of layers that are made once, and their wording.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use isotest_core::escape::escape;
use isotest_core::wait_status::signal_name;

use crate::config::{ConfigError, MadeOnce};
use crate::sandbox::factory::FactoryError;

/// A layer that cases see could not be had: no test is run.
#[derive(Debug)]
pub enum LayersError {
    /// The configuration asks for layers where they cannot be.
    Config(ConfigError),
    /// The sandbox in which one is made could not be had.
    Factory(FactoryError),
    /// One could not be made or kept.
    Layer(Box<LayerError>),
    /// A signal ended its command, or the wait for another run.
    Interrupted(i32),
}

impl From<ConfigError> for LayersError {
    fn from(error: ConfigError) -> Self {
        LayersError::Config(error)
    }
}

impl From<FactoryError> for LayersError {
    fn from(error: FactoryError) -> Self {
        LayersError::Factory(error)
    }
}

/// A layer that could not be made or kept.
#[derive(Debug)]
pub struct LayerError {
    /// Its name.
    name: String,
    /// Its place in the configuration.
    place: String,
    cause: LayerCause,
}

/// Reason why a layer could not be had.
#[derive(Debug)]
pub enum LayerCause {
    /// An input cannot be read.
    Input {
        /// The glob that matches it.
        glob: String,
        /// Its path in the workspace.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A glob matches nothing.
    NoInput(String),
    /// Its inputs changed each time that it was made.
    Changing,
    /// The directory of layers cannot be used.
    Store(PathBuf, io::Error),
    /// The command exited with this code, and wrote this.
    Exited(i32, Vec<u8>),
    /// This signal killed it, and it wrote this.
    Signalled(i32, Vec<u8>),
    /// Its time was up, and it wrote this.
    TimedOut(Duration, Vec<u8>),
    /// The process that started it died, or did not answer.
    WardenDied,
}

impl LayerError {
    /// The error of this layer.
    pub fn of(layer: &MadeOnce, cause: LayerCause) -> LayersError {
        let (name, place) = (layer.name.clone(), layer.place.clone());
        LayersError::Layer(Box::new(LayerError { name, place, cause }))
    }

    /// Output of its command.
    fn output(&self) -> &[u8] {
        match &self.cause {
            LayerCause::Exited(_, output)
            | LayerCause::Signalled(_, output)
            | LayerCause::TimedOut(_, output) => output,
            LayerCause::Input { .. }
            | LayerCause::NoInput(_)
            | LayerCause::Changing
            | LayerCause::Store(..)
            | LayerCause::WardenDied => &[],
        }
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LayerError { name, place, cause } = self;
        write!(f, "cannot make the layer `{name}`: ")?;
        let hint = match cause {
            LayerCause::Input { glob, path, error } => {
                let path = shown(path);
                write!(f, "its input `{path}` (`{glob}`) cannot be read: {error}")?;
                "what `inputs` names must be readable".to_owned()
            }
            LayerCause::NoInput(glob) => {
                write!(f, "nothing in the workspace matches its input `{glob}`")?;
                "globs are relative to the root of the workspace, and symbolic links are not \
                 followed"
                    .to_owned()
            }
            LayerCause::Changing => {
                write!(f, "its inputs changed each time that it was made")?;
                "no file that something writes meanwhile can be one of its `inputs`".to_owned()
            }
            LayerCause::Store(path, error) => {
                write!(f, "it cannot be kept in `{}`: {error}", shown(path))?;
                "if another user has made that directory, remove it".to_owned()
            }
            LayerCause::Exited(code, _) => {
                write!(f, "its command exited with {code}")?;
                match code {
                    127 => "it runs in a sandbox, as the tests do: a program is looked up on PATH \
                            there"
                        .to_owned(),
                    _ => "no test was run".to_owned(),
                }
            }
            LayerCause::Signalled(signal, _) => {
                write!(f, "its command was killed by {}", signal_name(*signal))?;
                "no test was run".to_owned()
            }
            LayerCause::TimedOut(limit, _) => {
                let limit = humantime::format_duration(*limit);
                write!(f, "its command did not end within {limit}, and was killed")?;
                "no test was run; `timeout` gives it more time".to_owned()
            }
            LayerCause::WardenDied => {
                write!(f, "its supervisor (the warden) was killed")?;
                "no test was run".to_owned()
            }
        };
        let output = String::from_utf8_lossy(self.output());
        if !output.trim_end().is_empty() {
            write!(f, "\n---- output of `{name}` ----\n{}", output.trim_end())?;
        }
        write!(f, "\nhint: {hint}; it is {place}")
    }
}

impl std::error::Error for LayerError {}

/// A path, of which a test may have made a part: escaped, and its end alone if it is long.
fn shown(path: &Path) -> String {
    const MOST: usize = 200;
    let text = escape(&path.to_string_lossy()).into_owned();
    match text.len().checked_sub(MOST) {
        None | Some(0) => text,
        Some(start) => format!("…{}", &text[text.ceil_char_boundary(start)..]),
    }
}
