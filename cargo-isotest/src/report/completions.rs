//! Completions for a shell.
//!
//! `clap_complete` completes a command of one word, but a shell completes cargo in `cargo isotest`.
//! For bash, zsh and fish a script of our own calls the completions with the words after `isotest`.

use std::io::{self, Write};

use clap_complete::Shell;

const BASH: &str = include_str!("completions/bash");
const ZSH: &str = include_str!("completions/zsh");
const FISH: &str = include_str!("completions/fish");

/// The first line of a file that zsh loads by itself: for `cargo-isotest`, and for cargo where
/// nothing else is.
const ZSH_HEAD: &str = "#compdef cargo-isotest -P cargo\n";

/// To zsh, options end at the first of arguments that it is given so; names are no such arguments.
const FILTERS: [&str; 2] = ["'*::filters ", "'*:filters "];

/// Prints completions for a shell.
pub fn completions(shell: Shell, mut command: clap::Command) -> io::Result<()> {
    let commands: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let commands = commands.join(" ");
    let behind = |script: &str| script.replace("@COMMANDS@", &commands);
    let (name, head, behind) = match shell {
        Shell::Bash => ("isotest", "", behind(BASH)),
        Shell::Zsh => ("isotest", ZSH_HEAD, behind(ZSH)),
        Shell::Fish => ("cargo-isotest", "", behind(FISH)),
        // clap knows of more shells than these, and may of others.
        _ => ("cargo-isotest", "", String::new()),
    };
    let mut script = head.as_bytes().to_vec();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8_lossy(&script).replace(FILTERS[0], FILTERS[1]);
    write!(io::stdout(), "{script}{behind}")
}
