//! Words of a text that look like paths.

/// No path is longer (`PATH_MAX` of path_resolution(7)).
const PATH_MAX: usize = 4096;

/// Words that look like an absolute path, one of the home or one above the working directory.
pub fn paths(text: &str) -> impl Iterator<Item = &str> {
    let begins = |at: usize, rest: &str| {
        let before = &text[..at];
        let is_path = ["/", "~/", "../"].iter().any(|start| rest.starts_with(start));
        let stands_alone = before.chars().next_back().is_none_or(|before| {
            before.is_whitespace() || before.is_control() || "\"'`([{<>=:,;|".contains(before)
        });
        // `//` begins what follows the scheme of a URL.
        is_path && !rest.starts_with("//") && (stands_alone || before.ends_with("file://"))
    };
    let starts = text.char_indices().filter(|(_, character)| "/~.".contains(*character));
    starts.filter_map(move |(at, _)| {
        let rest = &text[at..];
        if !begins(at, rest) {
            return None;
        }
        let line = rest.split(char::is_control).next().unwrap_or_default();
        let quote = text[..at].chars().next_back().filter(|before| "\"'`".contains(*before));
        // A name in quotes may have blanks.
        let quoted = quote.and_then(|quote| line.split_once(quote)).map(|(path, _)| path);
        let bare = || {
            let ends = |it: char| it.is_whitespace() || "\"'`()[]{}<>,:;|".contains(it);
            line.split(ends).next().unwrap_or_default().trim_end_matches(['.', '!', '?'])
        };
        let path = quoted.unwrap_or_else(bare).trim_end_matches('\\');
        (path.len() <= PATH_MAX).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_wherever_they_stand() {
        let found = |text: &'static str| paths(text).collect::<Vec<_>>();
        assert_eq!(found("cannot open /srv/data.txt: No such file"), ["/srv/data.txt"]);
        assert_eq!(found("missing \"/srv/a b/c\", and `~/x y`"), ["/srv/a b/c", "~/x y"]);
        assert_eq!(found("say \\\"/srv/a\\\" twice"), ["/srv/a"]);
        assert_eq!(found("at /srv/x.rs:10:5\n(../../up.txt)."), ["/srv/x.rs", "../../up.txt"]);
        assert_eq!(found("PATH=/a/bin:/b/bin."), ["/a/bin", "/b/bin"]);
        assert_eq!(found("file:///srv/page http://host/srv // /"), ["/srv/page", "/"]);
        assert_eq!(found("a/b 1/2 x../y é/z ..."), [""; 0]);
        assert_eq!(found("'/it is not closed"), ["/it"]);
        assert_eq!(found("größe /srv/é"), ["/srv/é"]);
        assert!(paths(&format!("/{}", "x".repeat(PATH_MAX))).next().is_none());
    }
}
