//! Values that serde has no form for, or one that loses something, as records of runs keep them.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// Bytes: a string if they are UTF-8, else one whose characters have the numbers of the bytes (ISO
/// 8859-1). A number for each byte would take many times the memory when it is read.
pub mod bytes {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form<'a> {
        Text(std::borrow::Cow<'a, str>),
        Latin1 { latin1: String },
    }

    /// Writes bytes.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let form = match std::str::from_utf8(bytes) {
            Ok(text) => Form::Text(text.into()),
            Err(_) => Form::Latin1 { latin1: bytes.iter().map(|byte| char::from(*byte)).collect() },
        };
        form.serialize(serializer)
    }

    /// Reads bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(text.into_owned().into_bytes()),
            Form::Latin1 { latin1 } => {
                let bytes = latin1.chars().map(u8::try_from);
                bytes.collect::<Result<_, _>>().map_err(D::Error::custom)
            }
        }
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
