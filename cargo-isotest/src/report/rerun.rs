//! The commands that run again what failed.
//!
//! Ready to be pasted into a POSIX shell.

use isotest_core::escape::is_deceptive;

/// Maximum number of names in a command; beyond it, `--rerun-failed` selects the same.
pub const NAMES: usize = 20;

/// The command that runs the named cases of one binary again. `select` stands before `--` and selects
/// the binary, `behind` behind it, with what is passed on to its harness; a program that is no
/// harness has no names.
pub fn command(select: &str, behind: &[String], passed_on: &[String], names: &[String]) -> String {
    let mut words = before(select);
    if names.is_empty() {
        words.extend(behind_dashes(passed_on));
    } else {
        words.push("--".to_owned());
        words.extend(behind.iter().cloned());
        words.extend(passed_on.iter().map(|word| quoted(word)));
        words.push("--exact".to_owned());
        if names.iter().any(|name| name.starts_with('-')) {
            words.push("--".to_owned());
        }
        words.extend(names.iter().map(|name| quoted(name)));
    }
    words.join(" ")
}

/// The command that runs all failed cases of one binary again, which are kept.
pub fn recorded(select: &str, passed_on: &[String]) -> String {
    let mut words = before(select);
    words.push("--rerun-failed".to_owned());
    words.extend(behind_dashes(passed_on));
    words.join(" ")
}

fn behind_dashes(words: &[String]) -> impl Iterator<Item = String> {
    let dashes = (!words.is_empty()).then(|| "--".to_owned());
    dashes.into_iter().chain(words.iter().map(|word| quoted(word)))
}

fn before(select: &str) -> Vec<String> {
    let select = Some(select).filter(|select| !select.is_empty());
    ["cargo isotest"].into_iter().chain(select).map(str::to_owned).collect()
}

/// A word for the shell, in quotes where it needs them. A terminal would take control characters for
/// keys, and shows nothing of others: printf(1) writes them.
pub fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:./,+@%=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else if word.contains(is_deceptive) {
        let escaped: String = word.chars().map(octal).collect();
        format!(r#""$(printf -- '{escaped}')""#)
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A character in the format of printf(1), between single quotes.
fn octal(character: char) -> String {
    match character {
        '\\' | '\'' => format!("\\{:03o}", u32::from(character)),
        '%' => "%%".to_owned(),
        _ if is_deceptive(character) => {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).bytes();
            bytes.map(|byte| format!("\\{byte:03o}")).collect()
        }
        _ => character.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn names_are_quoted_where_a_shell_would_split_them() {
        let names = ["a::b".to_owned(), "src/lib.rs - it's (line 3)".to_owned()];
        let expected = r"cargo isotest -p x --lib -- --exact a::b 'src/lib.rs - it'\''s (line 3)'";
        assert_eq!(command("-p x --lib", &[], &[], &names), expected);
    }

    #[test]
    fn names_that_begin_as_flags_do_stand_behind_two_dashes() {
        let names = ["--ignored".to_owned(), "a".to_owned()];
        let expected = "cargo isotest --test it -- --include-ignored --exact -- --ignored a";
        assert_eq!(command("--test it", &["--include-ignored".to_owned()], &[], &names), expected);
        assert_eq!(
            command("--test raw", &["--ignored".to_owned()], &[], &[]),
            "cargo isotest --test raw"
        );
        assert_eq!(recorded("", &[]), "cargo isotest --rerun-failed");
    }

    #[test]
    fn what_is_passed_on_stays() {
        let passed_on = ["--tags".to_owned(), "@a and @b".to_owned()];
        let again = command("", &["--ignored".to_owned()], &passed_on, &["a".to_owned()]);
        assert_eq!(again, "cargo isotest -- --ignored --tags '@a and @b' --exact a");
        let whole = command("--test it", &[], &passed_on, &[]);
        assert_eq!(whole, "cargo isotest --test it -- --tags '@a and @b'");
        assert_eq!(recorded("", &passed_on[..1]), "cargo isotest --rerun-failed -- --tags");
    }

    #[test]
    fn a_shell_reads_every_word_as_it_was() {
        for word in
            ["a b", "it's", "$HOME `x` \"y\" \\n", "%d\t\u{1b}[2J'\\", "-x\ty", "", "é\u{85}ü"]
        {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().expect("there is sh");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{script}");
        }
    }
}
