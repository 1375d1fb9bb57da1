//! Tokens: an arm and a seed of a test of one build, as text that `repro` is given.
//!
//! `it1:` and JSON in URL-safe base64 without padding, with the first eight bytes of the SHA-256 digest of
//! the JSON in front. A token that was cut or changed is refused.

use std::fmt;
use std::time::Duration;

use isotest_core::perturbation::Hold;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const PREFIX: &str = "it1:";
/// Bytes of the digest.
const DIGEST: usize = 8;
/// Maximum length of a token, in bytes.
const LONGEST: usize = 1 << 16;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The id of the binary.
    #[serde(rename = "b")]
    pub binary: String,
    /// The test.
    #[serde(rename = "t")]
    pub test: String,
    /// The hash of the binary.
    #[serde(rename = "h")]
    pub hash: String,
    /// Settings, by name.
    #[serde(rename = "s")]
    pub settings: Vec<String>,
    /// Companions, by binary and name; the test itself is an earlier run of it.
    #[serde(rename = "c")]
    pub companions: Vec<(String, String)>,
    /// The seed; `None` where any will do.
    #[serde(rename = "r")]
    pub seed: Option<u64>,
    /// The fingerprint of the failure.
    #[serde(rename = "f")]
    pub fingerprint: u64,
    /// Failures and runs of this arrangement.
    #[serde(rename = "n")]
    pub rate: (u32, u32),
    /// Calls that wait: thread, number, name, microseconds. They count for the same build only.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<(u32, u32, String, u64)>,
}

/// A token that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// It does not begin as a token does.
    NoToken,
    /// Its version is not known.
    Version(String),
    /// It was cut or changed.
    Damaged,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::NoToken => f.write_str(
                "cannot read the token: it does not begin with `it1:`\nhint: `cargo isotest diagnose` \
                 prints it behind AGAIN",
            ),
            TokenError::Version(version) => write!(
                f,
                "cannot read the token: its version is `{version}`, and this isotest reads `it1`\n\
                 hint: use the version of isotest that made it"
            ),
            TokenError::Damaged => f.write_str(
                "cannot read the token: it was cut or changed\nhint: copy the whole line",
            ),
        }
    }
}

impl std::error::Error for TokenError {}

impl Token {
    /// Calls that wait, as a token has them.
    pub fn holds_of(holds: &[Hold]) -> Vec<(u32, u32, String, u64)> {
        let of = |it: &Hold| {
            let micros = u64::try_from(it.held.as_micros()).unwrap_or(u64::MAX);
            (it.thread, it.number, it.call.clone(), micros)
        };
        holds.iter().map(of).collect()
    }

    /// The calls that wait.
    pub fn holds(&self) -> Vec<Hold> {
        let of = |(thread, number, call, micros): &(u32, u32, String, u64)| Hold {
            thread: *thread,
            number: *number,
            call: call.clone(),
            held: Duration::from_micros(*micros),
            thread_name: String::new(),
            code: Vec::new(),
        };
        self.holds.iter().map(of).collect()
    }

    /// Its text.
    pub fn text(&self) -> String {
        let json = serde_json::to_vec(self).expect("it has strings and numbers only");
        let digest = Sha256::digest(&json);
        let bytes: Vec<u8> = digest[..DIGEST].iter().copied().chain(json).collect();
        format!("{PREFIX}{}", encode(&bytes))
    }

    /// True if a text is to be a token, and no name of a test: `it1:…`, but not `it1::…`.
    pub fn is_like(text: &str) -> bool {
        let version = text.trim().strip_prefix("it").and_then(|rest| rest.split_once(':'));
        version.is_some_and(|(version, body)| {
            let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
            is_number && !version.is_empty() && !body.starts_with(':')
        })
    }

    /// The token that a text is.
    pub fn read(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        let Some(body) = text.strip_prefix(PREFIX) else {
            let version = text.split_once(':').map(|(version, _)| version);
            let is_version = |it: &&str| it.len() <= 6 && it.starts_with("it");
            return Err(match version.filter(is_version) {
                Some(version) => TokenError::Version(version.to_owned()),
                None => TokenError::NoToken,
            });
        };
        let bytes = decode(body).filter(|_| body.len() <= LONGEST).ok_or(TokenError::Damaged)?;
        let (digest, json) = bytes.split_at_checked(DIGEST).ok_or(TokenError::Damaged)?;
        if Sha256::digest(json)[..DIGEST] != *digest {
            return Err(TokenError::Damaged);
        }
        serde_json::from_slice(json).map_err(|_| TokenError::Damaged)
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648, section 5, without padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let word = part.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - part.len()));
        let letters = (0..=part.len()).map(|at| LETTERS[(word >> (18 - 6 * at)) as usize & 63]);
        text.extend(letters.map(char::from));
    }
    text
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for part in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for letter in part {
            let value = LETTERS.iter().position(|known| known == letter)?;
            word = word << 6 | value as u32;
        }
        let word = word << (6 * (4 - part.len()));
        let length = part.len().checked_sub(1).filter(|length| *length > 0)?;
        bytes.extend(word.to_be_bytes()[1..].iter().take(length));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            binary: "demo::it".to_owned(),
            test: "tests::a b".to_owned(),
            hash: "0123456789abcdef".to_owned(),
            settings: vec!["shared-net".to_owned()],
            companions: vec![("demo::it".to_owned(), "tests::é".to_owned())],
            seed: Some(u64::MAX),
            fingerprint: 7,
            rate: (24, 24),
            holds: vec![(1, 12, "futex".to_owned(), 64_000)],
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let text = token().text();
        assert!(text.starts_with("it1:"), "{text}");
        assert_eq!(Token::read(&format!(" {text}\n")), Ok(token()));
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(37)).collect();
            assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn a_token_that_was_cut_or_changed_is_refused() {
        let text = token().text();
        for cut in PREFIX.len()..text.len() {
            assert_eq!(Token::read(&text[..cut]), Err(TokenError::Damaged), "{cut}");
        }
        for (at, letter) in text.char_indices().skip(PREFIX.len()) {
            let other = if letter == 'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            // The last letter has bits that carry nothing.
            let read = Token::read(&changed);
            assert!(read == Err(TokenError::Damaged) || read == Ok(token()), "{at}");
        }
        assert_eq!(Token::read("it2:AAAA"), Err(TokenError::Version("it2".to_owned())));
        assert_eq!(Token::read("hello"), Err(TokenError::NoToken));
        assert!(Token::is_like(&text) && Token::is_like("it9:AAAA"));
        assert!(
            ["hello", "it1::a", "it::a", "item:a", "demo::it a"]
                .iter()
                .all(|it| !Token::is_like(it))
        );
    }
}
