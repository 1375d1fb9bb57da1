//! `docs/reference.md` is generated: what the program prints of its flags, its exit codes and the
//! keys of its configuration.

use std::fmt::Write as _;
use std::fs;

use isotest_tests::Call;
use isotest_tests::program::{isotest, workspace};
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
    page.push_str("\n## Keys of `.config/isotest.toml`\n");
    let schema = printed("show-config --schema");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
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

/// The keys of an object of the schema, where it has any.
fn table(page: &mut String, name: &str, kind: &Value) {
    let Some(keys) = kind["properties"].as_object() else { return };
    let _ = write!(page, "\n### {name}\n\n| key | value | means |\n|---|---|---|\n");
    for (key, value) in keys {
        let means = value["description"].as_str().unwrap_or_default().replace('\n', " ");
        let _ = writeln!(page, "| `{key}` | {} | {means} |", kinds(value).replace('|', "\\|"));
    }
}

/// What a value may be, in words.
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
