//! `--deny`: the codes of findings with which a test does not pass.

use clap::builder::{PossibleValue, TypedValueParser};
use isotest_core::finding::{Code, Codes};
use schemars::{Schema, SchemaGenerator, json_schema};

const ALL: &str = "all";
const NONE: &str = "none";

/// One word of `--deny`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyWord {
    /// Every code.
    All,
    /// None, where a profile denies some.
    None,
    /// This code.
    Code(Code),
}

/// Reads a word. The error has all of them, and the one that was probably meant.
pub fn parser() -> impl TypedValueParser<Value = DenyWord> {
    let codes = Code::ALL.map(|code| PossibleValue::new(code.name()));
    let words = [PossibleValue::new(ALL), PossibleValue::new(NONE)].into_iter().chain(codes);
    clap::builder::PossibleValuesParser::new(words.collect::<Vec<_>>()).map(|word| {
        match word.as_str() {
            ALL => DenyWord::All,
            NONE => DenyWord::None,
            name => Code::of_name(name).map_or(DenyWord::None, DenyWord::Code),
        }
    })
}

/// The codes that words name together.
pub fn codes(words: &[DenyWord]) -> Codes {
    let of_word = |word: &DenyWord| match word {
        DenyWord::All => Code::ALL.to_vec(),
        DenyWord::None => Vec::new(),
        DenyWord::Code(code) => vec![*code],
    };
    words.iter().flat_map(of_word).collect()
}

/// The same as they are typed.
pub fn name(codes: Codes) -> String {
    match codes {
        codes if codes == Codes::all() => ALL.to_owned(),
        codes if codes.is_empty() => NONE.to_owned(),
        codes => codes.iter().map(Code::name).collect::<Vec<_>>().join(" "),
    }
}

/// Schema of the key.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = [ALL, NONE].into_iter().chain(Code::ALL.map(Code::name)).collect();
    json_schema!({ "type": "array", "items": { "enum": words } })
}
