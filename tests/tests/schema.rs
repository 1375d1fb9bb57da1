//! The JSON Schema of the file against the program: an editor marks what the program refuses, and
//! nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use isotest_tests::Project;
use isotest_tests::program::workspace;
use isotest_tests::project::PASSING;
use jsonschema::Validator;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use serde_json::Value;

const FILE: &str = ".config/isotest.toml";

/// The first keys of other files that the book has examples of.
const OTHERS: [&str; 6] = ["target", "experimental", "scripts", "runners", "env", "findings"];

fn validator() -> Validator {
    let run = Project::new(&[PASSING]).isotest("show-config --schema").run();
    run.check(0, &[]);
    let schema: Value = serde_json::from_str(&run.stdout).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
}

/// Errors that an editor would mark. It reads TOML as JSON, as Taplo does.
fn marked(validator: &Validator, text: &str) -> Vec<String> {
    let value: toml::Table = toml::from_str(text).expect("it is TOML");
    let value = serde_json::to_value(value).expect("TOML is JSON");
    let errors = validator.iter_errors(&value);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if path.ends_with("docs/book") => {}
            true => pages(&path, found),
            false if path.extension().is_some_and(|extension| extension == "md") => {
                found.push(path);
            }
            false => {}
        }
    }
}

/// The examples of a page that are written in TOML.
fn examples(page: &str) -> Vec<String> {
    let (mut found, mut example) = (Vec::new(), None);
    for event in Parser::new(page) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language)))
                if &*language == "toml" =>
            {
                example = Some(String::new());
            }
            Event::Text(text) => example.iter_mut().for_each(|example| example.push_str(&text)),
            Event::End(TagEnd::CodeBlock) => found.extend(example.take()),
            _ => {}
        }
    }
    found
}

/// Every example of the file that the book or a fixture has, by where it stands.
fn all_examples() -> BTreeMap<String, String> {
    let root = workspace();
    let mut paths = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    pages(&root.join("docs"), &mut paths);
    let mut found = BTreeMap::new();
    for path in paths {
        let page = fs::read_to_string(&path).expect("it is text");
        for (index, example) in examples(&page).into_iter().enumerate() {
            let table: toml::Table = toml::from_str(&example).expect("it is TOML");
            if !table.keys().any(|key| OTHERS.contains(&key.as_str())) {
                found.insert(format!("{} {}", path.display(), index + 1), example);
            }
        }
    }
    for entry in fs::read_dir(root.join("fixtures")).expect("a directory").flatten() {
        if let Ok(text) = fs::read_to_string(entry.path().join(FILE)) {
            found.insert(entry.path().join(FILE).display().to_string(), text);
        }
    }
    found
}

#[test]
fn no_example_of_the_book_or_a_fixture_is_marked() {
    let validator = validator();
    let examples = all_examples();
    assert!(examples.len() > 10, "only {} examples were found", examples.len());
    for (place, text) in &examples {
        assert_eq!(marked(&validator, text), [""; 0], "{place}:\n{text}");
    }
}

/// Tables as people write them, and whether they are right.
const TABLES: [(bool, &str); 26] = [
    (true, "[profile.default]"),
    (true, "[[profile.default.override]]\nfilter = 'all()'"),
    (true, "[[profile.ci.override]]\nfilter = 'all()'\nretries = 2"),
    (false, "[[profile.ci.override]]\nretries = 2"),
    (false, "[[profile.ci.override]]\nfilter = 'all()'\nfail-fast = true"),
    (false, "[[profile.ci.override]]\nfilter = 'all()'\njunit = 'j.xml'"),
    (false, "[[profile.ci.overrides]]\nfilter = 'all()'"),
    (false, "[[profile.ci.override]]\nfilter = 'all()'\nservices = 'redis'"),
    (true, "[profile.ci]\ninherits = 'default'\njunit = 'junit.xml'"),
    (true, "[profile.ci]\nretries = { count = 2, delay = '1s' }"),
    (false, "[profile.ci]\nretries = { delay = '1s' }"),
    (true, "[profile.ci]\ntimeout = 'none'\ntmp-size = '4G'\noutput-limit = 1000"),
    (false, "[profile.ci]\ntimeout = true"),
    (true, "[profile.ci]\nmax-fail = '3:immediate'\ntest-threads = -1"),
    (false, "[profile.ci]\nmax-fail = 0"),
    (true, "[profile.ci]\nnet = 'host'\nreason = 'why'\npass-env = ['A', 'B_*']"),
    (false, "[profile.ci]\nnet = 'internet'\nreason = 'why'"),
    (false, "[profile.ci]\npass-env = 'A'\nreason = 'why'"),
    (true, "[profile.ci]\narchive.include = [{ path = 'a', relative-to = 'target', depth = 2 }]"),
    (false, "[profile.ci]\narchive.include = [{ path = 'a' }]"),
    (true, "[service.a]\ncommand = ['a', 'b']\nready = { unix = '/tmp/s' }"),
    (true, "[service.a]\ncommand = 'a'\nready = 'exit'\ntimeout = '5s'\nenv = { A = 'b' }"),
    (false, "[service.a]\ncommand = 'a'"),
    (true, "[setup.a]\ncommand = 'a'\ntimeout = 'none'"),
    (false, "[setup.a]\ntimeout = '5s'"),
    (false, "[test-groups]\na = {}"),
];

#[test]
fn an_editor_marks_what_the_program_refuses() {
    let validator = validator();
    let project = Project::new(&[PASSING, (FILE, "")]);
    for (right, text) in TABLES {
        assert_eq!(marked(&validator, text).is_empty(), right, "the schema, of:\n{text}");
        fs::write(project.directory().join(FILE), text).expect("it is writable");
        let profile = if text.contains("profile.ci") { "-P ci" } else { "" };
        let run = project.isotest(&format!("show-config {profile}")).run();
        run.check(if right { 0 } else { 2 }, &[]);
    }
}
