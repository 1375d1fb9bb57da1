//! The tests that need the network, as options of a package that leaves them out.
//!
//! nixpkgs passes `checkFlags` to the test binaries (rust.section.md), debcargo's rules end in
//! `dh_auto_test -- test --all`, and guix's cargo-build-system passes `#:cargo-test-flags` to cargo,
//! `--release` by default.

use std::fmt::Write as _;

use crate::cli::Distribution;

/// A test to leave out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skipped {
    /// Its name, as its binary has it.
    pub name: String,
    /// The reason, on one line.
    pub reason: String,
}

/// The text for a package; `others` are the names of the tests that stay. libtest leaves out all
/// tests whose names contain the given one, unless `--exact` is given.
pub fn skip_list(distribution: Distribution, skipped: &[Skipped], others: &[&str]) -> String {
    let leaves_out_others =
        skipped.iter().any(|one| others.iter().any(|name| name.contains(one.name.as_str())));
    let exact = leaves_out_others.then_some("--exact");
    match distribution {
        Distribution::Nix => nix(skipped, exact),
        Distribution::Debian => debian(skipped, exact),
        Distribution::Guix => guix(skipped, exact),
    }
}

/// Each reason once, with the names that it holds for, in the order of the list.
fn by_reason(skipped: &[Skipped]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for Skipped { name, reason } in skipped {
        match groups.iter_mut().find(|(known, _)| known == reason) {
            Some((_, names)) => names.push(name),
            None => groups.push((reason, vec![name])),
        }
    }
    groups
}

fn nix(skipped: &[Skipped], exact: Option<&str>) -> String {
    let quoted = |word: &str| {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${"))
    };
    let mut text = String::from("checkFlags = [\n");
    if let Some(word) = exact {
        text += &format!("  {}\n", quoted(word));
    }
    for (reason, names) in by_reason(skipped) {
        writeln!(text, "  # {reason}").expect("a String takes all");
        for name in names {
            text += &format!("  {}\n", quoted(&format!("--skip={name}")));
        }
    }
    text + "];\n"
}

fn debian(skipped: &[Skipped], exact: Option<&str>) -> String {
    let mut text = String::new();
    for (reason, names) in by_reason(skipped) {
        writeln!(text, "# {}: {reason}", names.join(", ")).expect("a String takes all");
    }
    text += "override_dh_auto_test:\n\tdh_auto_test -- test --all --";
    if let Some(word) = exact {
        text += &format!(" {word}");
    }
    for Skipped { name, .. } in skipped {
        let word = crate::report::quoted(name).replace('$', "$$");
        text += &format!(" \\\n\t\t--skip {word}");
    }
    text + "\n"
}

fn guix(skipped: &[Skipped], exact: Option<&str>) -> String {
    let quoted = |word: &str| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
    let first = ["--release", "--"].into_iter().chain(exact).map(quoted);
    let mut text = format!("#:cargo-test-flags\n'({}", first.collect::<Vec<_>>().join(" "));
    for (reason, names) in by_reason(skipped) {
        write!(text, "\n  ;; {reason}").expect("a String takes all");
        for name in names {
            text += &format!("\n  {}", quoted(&format!("--skip={name}")));
        }
    }
    text + ")\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped() -> Vec<Skipped> {
        let one =
            |name: &str, reason: &str| Skipped { name: name.to_owned(), reason: reason.to_owned() };
        vec![
            one("net::fetches", "resolves example.org"),
            one("net::pings", "connects to tcp 192.0.2.1:80"),
            one("net::asks", "resolves example.org"),
        ]
    }

    #[test]
    fn each_distribution_has_its_form() {
        let text = |distribution| skip_list(distribution, &skipped(), &["other"]);
        assert_eq!(
            text(Distribution::Nix),
            "checkFlags = [\n  # resolves example.org\n  \"--skip=net::fetches\"\n  \
             \"--skip=net::asks\"\n  # connects to tcp 192.0.2.1:80\n  \"--skip=net::pings\"\n];\n"
        );
        assert_eq!(
            text(Distribution::Debian),
            "# net::fetches, net::asks: resolves example.org\n# net::pings: connects to tcp \
             192.0.2.1:80\noverride_dh_auto_test:\n\tdh_auto_test -- test --all -- \\\n\t\t--skip \
             net::fetches \\\n\t\t--skip net::pings \\\n\t\t--skip net::asks\n"
        );
        assert_eq!(
            text(Distribution::Guix),
            "#:cargo-test-flags\n'(\"--release\" \"--\"\n  ;; resolves example.org\n  \
             \"--skip=net::fetches\"\n  \"--skip=net::asks\"\n  ;; connects to tcp 192.0.2.1:80\n  \
             \"--skip=net::pings\")\n"
        );
    }

    #[test]
    fn names_are_exact_where_they_would_leave_out_others() {
        let others = ["net::fetches_from_a_file"];
        let nix = skip_list(Distribution::Nix, &skipped(), &others);
        assert!(nix.starts_with("checkFlags = [\n  \"--exact\"\n"), "{nix}");
        let debian = skip_list(Distribution::Debian, &skipped(), &others);
        assert!(debian.contains("test --all -- --exact \\\n"), "{debian}");
        let guix = skip_list(Distribution::Guix, &skipped(), &others);
        assert!(guix.contains("'(\"--release\" \"--\" \"--exact\"\n"), "{guix}");
    }

    #[test]
    fn names_of_other_harnesses_are_quoted() {
        let odd = [Skipped { name: "a \"b\" ${c} 'd'".to_owned(), reason: "why".to_owned() }];
        let text = |distribution| skip_list(distribution, &odd, &[]);
        assert!(text(Distribution::Nix).contains("\"--skip=a \\\"b\\\" \\${c} 'd'\""));
        assert!(text(Distribution::Debian).contains("--skip 'a \"b\" $${c} '\\''d'\\'''"));
        assert!(text(Distribution::Guix).contains("\"--skip=a \\\"b\\\" ${c} 'd'\""));
    }
}
