//! The book: every page is in its summary, and every link leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use isotest_tests::program::workspace;
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

/// Links and anchors of a page.
#[derive(Default)]
struct Page {
    /// The targets of its links and images, as written.
    links: Vec<String>,
    /// The names of its headings, behind `#` in a link.
    anchors: BTreeSet<String>,
}

fn page(path: &Path) -> Page {
    let text = fs::read_to_string(path).expect("the page is there");
    let (mut page, mut heading) = (Page::default(), None);
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { link_type, dest_url, .. })
                if !matches!(link_type, LinkType::Autolink | LinkType::Email) =>
            {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Image { dest_url, .. }) => page.links.push(dest_url.into_string()),
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => page.anchors.extend(heading.take().map(anchor)),
            Event::Text(text) | Event::Code(text) => {
                heading.iter_mut().for_each(|heading| heading.push_str(&text));
            }
            _ => {}
        }
    }
    page
}

/// A heading's name, as mdBook and GitHub make it.
fn anchor(heading: String) -> String {
    let kept = |character: char| match character {
        _ if character.is_alphanumeric() => Some(character.to_ascii_lowercase()),
        '_' | '-' => Some(character),
        _ if character.is_whitespace() => Some('-'),
        _ => None,
    };
    heading.chars().filter_map(kept).collect()
}

/// A path without `..`, which need not exist.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
        normal
    })
}

fn pages(directory: &Path, found: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("docs/book") {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.insert(path.clone(), page(&path));
        }
    }
}

#[test]
fn every_page_is_found_and_every_link_leads_somewhere() {
    let root = workspace();
    let docs = root.join("docs");
    let mut found = BTreeMap::new();
    pages(&docs, &mut found);
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        found.insert(root.join(name), page(&root.join(name)));
    }
    let (mut wrong, mut targets) = (Vec::new(), 0);
    for (path, page) in &found {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            targets += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => normal(&path.with_file_name(file)),
            };
            let anchored = || found.get(&target).is_some_and(|page| page.anchors.contains(anchor));
            if !target.exists() || !(anchor.is_empty() || anchored()) {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    let summary: BTreeSet<PathBuf> = found[&docs.join("SUMMARY.md")]
        .links
        .iter()
        .map(|link| docs.join(link))
        .chain([docs.join("SUMMARY.md")])
        .collect();
    let lost = found.keys().filter(|path| path.starts_with(&docs) && !summary.contains(*path));
    wrong.extend(lost.map(|path| format!("{}: not in SUMMARY.md", path.display())));
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
    assert!(targets > 100, "only {targets} links were looked at");
}
