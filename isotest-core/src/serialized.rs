//! Values that serde has no form for, or one that loses something, as records of runs keep them.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// Bytes: a string if they are UTF-8, else an array of numbers.
pub mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Numbers(Vec<u8>),
    }

    /// Writes bytes.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(bytes),
        }
    }

    /// Reads bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_bytes(),
            Form::Numbers(bytes) => bytes,
        })
    }
}

/// Error numbers.
pub mod errno {
    use nix::errno::Errno;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes an error as its number.
    pub fn serialize<S: Serializer>(
        errno: &Option<Errno>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        errno.map(|errno| errno as i32).serialize(serializer)
    }

    /// Reads the number of an error.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Errno>, D::Error> {
        Ok(Option::<i32>::deserialize(deserializer)?.map(Errno::from_raw))
    }
}

/// Writes a path as text; U+FFFD stands where it is not UTF-8, as in every report.
pub fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Writes paths in the same way.
pub fn paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}
