//! The commands that run again what failed.
//!
//! Ready to be pasted into a POSIX shell.

/// How many names a command takes; a binary in which more failed is run as a whole.
const NAMES: usize = 20;

/// The command that runs the named cases of one binary again. `select` are the cargo arguments
/// that select the binary; a program that is no harness has no names.
pub fn command(select: &str, names: &[String]) -> String {
    let mut command = "cargo isotest".to_owned();
    if !select.is_empty() {
        command.push(' ');
        command.push_str(select);
    }
    if (1..=NAMES).contains(&names.len()) {
        command.push_str(" -- --exact");
        for name in names {
            command.push(' ');
            command.push_str(&quoted(name));
        }
    }
    command
}

/// A word for the shell, in quotes where it needs them.
pub fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:./,+@%=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_a_shell_would_split_them() {
        let names = ["a::b".to_owned(), "src/lib.rs - it's (line 3)".to_owned()];
        let expected = r"cargo isotest -p x --lib -- --exact a::b 'src/lib.rs - it'\''s (line 3)'";
        assert_eq!(command("-p x --lib", &names), expected);
    }

    #[test]
    fn a_binary_with_many_failures_is_run_as_a_whole() {
        let names = vec!["a".to_owned(); NAMES + 1];
        assert_eq!(command("--lib", &names), "cargo isotest --lib");
    }
}
