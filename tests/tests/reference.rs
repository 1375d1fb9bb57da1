//! `docs/reference.md` is generated: what the program prints of its flags, its exit codes and the
//! keys of its configuration.

use std::fmt::Write as _;
use std::fs;

use isotest_tests::program::{isotest, workspace};
use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project};
use serde_json::Value;

/// Set, the page is written instead of compared.
const UPDATE: &str = "UPDATE_EXPECT";

#[test]
fn the_page_is_what_the_program_prints() {
    let (path, page) = (workspace().join("docs/reference.md"), page());
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "run `{UPDATE}=1 cargo test -p isotest-tests --test main reference::`");
}

fn page() -> String {
    let mut page = String::from("# Reference\n\nAs the program prints it; a test keeps it so.\n");
    let whole = help("");
    section(&mut page, "cargo isotest", &whole);
    for command in commands(&whole) {
        section(&mut page, &format!("cargo isotest {command}"), &help(command));
    }
    let schema = printed("show-config --schema");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    layers(&mut page, &schema["$defs"]["Profile"]["properties"]);
    page.push_str("\n## Keys of `.config/isotest.toml`\n");
    table(&mut page, "The file", &schema);
    for (name, kind) in schema["$defs"].as_object().into_iter().flatten() {
        table(&mut page, name, kind);
    }
    page
}

fn printed(line: &str) -> String {
    // Help is as wide as the terminal is, and 100 columns where there is none.
    let run = Call::new(isotest(), workspace()).words("isotest").words(line).run();
    run.check(0, &[]);
    run.stdout.clone()
}

fn help(command: &str) -> String {
    printed(&format!("{command} --help"))
}

/// The commands that the help of the whole program lists.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        // What goes on from the line before is further to the right.
        line.split(' ').next().filter(|word| !word.is_empty())
    })
}

fn section(page: &mut String, title: &str, help: &str) {
    let _ = write!(page, "\n## `{title}`\n\n```text\n{}\n```\n", help.trim_end());
}

/// The layers and limits among these keys: their defaults, and the values by which tests get more of
/// the host than by default.
fn layers(page: &mut String, keys: &Value) {
    let project = Project::new(&[PASSING]);
    let shown = project.isotest("show-config").run();
    shown.check(0, &["layers and limits"]);
    let default = |key: &str| {
        let line =
            shown.stdout.lines().find(|line| line.trim_start().starts_with(&format!("{key} ")));
        let (value, source) = line?.trim_end().rsplit_once("  ")?;
        (source == "default").then(|| value.trim().trim_start_matches(key).trim().to_owned())
    };
    let flags = help("run");
    let sections = flags.split("\n\n").map(str::trim_start);
    let of_layers = |section: &&str| {
        ["Isolation layers:", "Limits:"].iter().any(|title| section.starts_with(title))
    };
    let flags = sections.filter(of_layers).collect::<Vec<_>>().concat();
    page.push_str("\n## Layers and limits\n\n");
    page.push_str(
        "A value that gives tests more of the host than by default needs a `reason` in the\n",
    );
    page.push_str("[configuration](configuration.md#grants).\n\n");
    page.push_str("| key | default | needs a reason |\n|---|---|---|\n");
    for (key, kind) in keys.as_object().into_iter().flatten() {
        if !is_flag(&flags, key) {
            continue;
        }
        let needs = |value: &&String| needs_a_reason(&project, key, value);
        let values = candidates(kind);
        let grants: Vec<&String> = values.iter().filter(needs).collect();
        let grants = match grants.as_slice() {
            [all] if all.starts_with('[') => "any value".to_owned(),
            some => some.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
        };
        let default = default(key).unwrap_or_else(|| "none".to_owned()).replace('`', "");
        let _ = writeln!(page, "| `{key}` | {default} | {grants} |");
    }
}

fn is_flag(help: &str, key: &str) -> bool {
    let flag = format!("--{key}");
    key == "workspace" || help.split_whitespace().any(|word| word == flag)
}

/// Values of a key as a file has them: each word of the schema, words of the layers that take others
/// too, a list.
fn candidates(kind: &Value) -> Vec<String> {
    let words = kind["anyOf"][0]["oneOf"].as_array().into_iter().flatten();
    let words: Vec<String> = words.map(|word| word["const"].to_string()).collect();
    match kind["type"].as_str() {
        Some("array") => vec!["[\"pid\"]".to_owned()],
        Some("boolean") => vec!["true".to_owned()],
        _ if words.is_empty() => vec!["\"host\"".to_owned(), "\"slave\"".to_owned()],
        _ => words,
    }
}

fn needs_a_reason(project: &Project, key: &str, value: &str) -> bool {
    let file = project.directory().join(".config/isotest.toml");
    fs::create_dir_all(project.directory().join(".config")).expect("the project is writable");
    fs::write(file, format!("[profile.default]\n{key} = {value}\n")).expect("it is writable");
    project.isotest("show-config").run().stderr.contains("access to the host, without a `reason`")
}

/// The keys of an object of the schema, where it has any.
fn table(page: &mut String, name: &str, kind: &Value) {
    let Some(keys) = kind["properties"].as_object() else { return };
    let _ = write!(page, "\n### {name}\n\n| key | value | means |\n|---|---|---|\n");
    for (key, value) in keys {
        let means = value["description"].as_str().unwrap_or_default().replace('\n', " ");
        let _ = writeln!(page, "| `{key}` | {} | {means} |", kinds(value).replace('|', "\\|"));
    }
}

/// Possible values in words.
fn kinds(value: &Value) -> String {
    if let Some(reference) = value["$ref"].as_str() {
        return reference.trim_start_matches("#/$defs/").to_owned();
    }
    if let Some(constant) = value.get("const") {
        return format!("`{constant}`");
    }
    for choice in ["anyOf", "oneOf", "enum"] {
        if let Some(choices) = value[choice].as_array() {
            let words = |choice: &Value| match choice {
                Value::Object(_) => kinds(choice),
                constant => format!("`{constant}`"),
            };
            let all: Vec<String> =
                choices.iter().map(words).filter(|word| word != "null").collect();
            return all.join(", ");
        }
    }
    match &value["type"] {
        Value::Array(types) => {
            let types: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
            types.join(" or ")
        }
        Value::String(kind) if kind == "array" => format!("list of {}", kinds(&value["items"])),
        Value::String(kind) if kind == "object" && value["additionalProperties"].is_object() => {
            format!("tables by name: {}", kinds(&value["additionalProperties"]))
        }
        Value::String(kind) => kind.clone(),
        _ => "any".to_owned(),
    }
}
