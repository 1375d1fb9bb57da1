//! Output of `cargo test` without the parts that differ from run to run: durations, thread ids, the
//! order of tests and of their sections.

/// The headings that libtest prints inside a block.
const HEADINGS: [&str; 2] = ["failures:", "successes:"];
const RUNNING: &str = "running ";
const RESULT: &str = "test result: ";

/// Normalises the pretty and the terse format.
pub fn normalise(stdout: &str) -> String {
    let lines: Vec<String> =
        stdout.split('\n').filter(|line| !is_note(line)).map(without_ids).collect();
    let (mut normal, mut block) = (Vec::new(), Vec::new());
    for line in lines {
        let (starts, ends) = (is_start(&line), is_result(&line));
        if block.is_empty() && !starts {
            normal.push(line);
        } else {
            block.push(line);
            if ends {
                normal.extend(ordered(&std::mem::take(&mut block)));
            }
        }
    }
    normal.extend(block);
    normal.join("\n")
}

/// Normalises the JSON format.
pub fn normalise_json(stdout: &str) -> String {
    let (mut normal, mut tests) = (Vec::new(), Vec::new());
    for line in stdout.lines() {
        let line = without_seconds(&without_notes(&without_ids(line)));
        if line.contains(r#""type": "suite""#) {
            tests.sort();
            normal.append(&mut tests);
            normal.push(line);
        } else {
            tests.push(line);
        }
    }
    normal.append(&mut tests);
    normal.join("\n")
}

/// The first panic of each *process* prints it: one test there, all of them here.
fn is_note(line: &str) -> bool {
    line.starts_with("note: run with `RUST_BACKTRACE=1`")
}

fn without_notes(line: &str) -> String {
    let note = r"note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
    line.replace(note, "")
}

/// The last line of a block; a test that prints one of its own seldom goes as far as the time.
fn is_result(line: &str) -> bool {
    line.starts_with(RESULT) && line.contains("; finished in ")
}

fn is_start(line: &str) -> bool {
    let count = line.strip_prefix(RUNNING).and_then(|rest| rest.split_once(' '));
    count.is_some_and(|(count, noun)| count.parse::<usize>().is_ok() && noun.starts_with("test"))
}

/// `thread 'x' (12) panicked` becomes `thread 'x' (ID) panicked`, `finished in 0.12s` `finished in TIME`.
fn without_ids(line: &str) -> String {
    let mut rest = match line.split_once("; finished in ") {
        Some((before, _)) if line.starts_with(RESULT) => {
            return format!("{before}; finished in TIME");
        }
        Some(_) | None => line,
    };
    let mut normal = String::new();
    while let Some((before, after)) = rest.split_once("' (") {
        normal += before;
        normal += "' (";
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let is_id = digits > 0 && after[digits..].starts_with(')') && before.contains("thread '");
        normal += if is_id { "ID" } else { &after[..digits] };
        rest = &after[digits..];
    }
    normal + rest
}

/// `"exec_time": 0.1` becomes `"exec_time": TIME`.
fn without_seconds(line: &str) -> String {
    match line.split_once(r#""exec_time": "#) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || ".e-".contains(c));
            format!("{before}\"exec_time\": TIME{rest}")
        }
        None => line.to_owned(),
    }
}

/// One binary's block: the tests by name, then their sections by name.
fn ordered(block: &[String]) -> Vec<String> {
    let (first, rest) = block.split_first().expect("a block has a first line");
    let is_heading = |line: &String| HEADINGS.contains(&line.as_str());
    let (head, tail) = rest.split_at(rest.iter().position(is_heading).unwrap_or(rest.len() - 1));
    let (mut signs, mut tests, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for line in head {
        match line {
            line if is_terse(line) => {
                signs.extend(line.split(' ').next().into_iter().flat_map(str::chars))
            }
            line if line.starts_with("test ") || line.ends_with(" --- FAILED") => {
                tests.push(line.clone())
            }
            line => others.push(line.clone()),
        }
    }
    if !signs.is_empty() || tests.iter().any(|line| !line.starts_with("test ")) {
        // Whether an empty line follows depends on what came last.
        others.retain(|line| !line.is_empty());
    }
    signs.sort_unstable();
    tests.sort();
    let signs = (!signs.is_empty()).then(|| signs.into_iter().collect());
    let sections = ordered_sections(tail, &tests);
    [first.clone()].into_iter().chain(signs).chain(tests).chain(others).chain(sections).collect()
}

/// `..i.`, one character a test, or `..i. 4/9`: where the count stands depends on the order.
fn is_terse(line: &str) -> bool {
    let (signs, count) = line.split_once(' ').unwrap_or((line, ""));
    !signs.is_empty()
        && signs.chars().all(|character| ".iF".contains(character))
        && count.chars().all(|character| character.is_ascii_digit() || character == '/')
}

/// Sorts each run of `---- NAME stdout ----` sections. A section goes to the next, or to a heading
/// of libtest's own: before an empty line, or before the name of a test. Between the last section
/// and the heading stands an empty line that belongs to neither.
fn ordered_sections(lines: &[String], tests: &[String]) -> Vec<String> {
    let is_test = |name: &str| {
        let starts = [format!("test {name} "), format!("{name} --- ")];
        tests.iter().any(|line| starts.iter().any(|start| line.starts_with(start.as_str())))
    };
    let is_heading = |at: usize| {
        let next = lines.get(at + 1).map_or("", |line| line.trim());
        HEADINGS.contains(&lines[at].as_str()) && (next.is_empty() || is_test(next))
    };
    let mut normal: Vec<String> = Vec::new();
    let mut sections: Vec<Vec<String>> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let name = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        match sections.last_mut() {
            _ if name.is_some_and(is_test) => sections.push(vec![line.clone()]),
            Some(section) if !is_heading(at) && !is_result(line) => section.push(line.clone()),
            Some(_) | None => {
                flush(&mut sections, &mut normal);
                normal.push(line.clone());
            }
        }
    }
    flush(&mut sections, &mut normal);
    normal
}

fn flush(sections: &mut Vec<Vec<String>>, normal: &mut Vec<String>) {
    let blank = sections.last_mut().and_then(|last| last.pop_if(|line| line.is_empty()));
    sections.sort();
    normal.extend(sections.drain(..).flatten());
    normal.extend(blank);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_durations_and_thread_ids_do_not_matter() {
        let text = |one: &str, other: &str, id: u32, time: f32| {
            format!(
                "\nrunning 2 tests\ntest {one} ... FAILED\ntest {other} ... FAILED\n\nfailures:\n\n\
                 ---- {one} stdout ----\nthread '{one}' ({id}) panicked at x\n\n\
                 ---- {other} stdout ----\nthread '{other}' ({id}) panicked at x\n\n\n\
                 failures:\n    a\n    b\n\ntest result: FAILED. 0 passed; finished in {time}s\n\n"
            )
        };
        assert_eq!(normalise(&text("a", "b", 1, 0.1)), normalise(&text("b", "a", 22, 12.5)));
        assert_ne!(normalise(&text("a", "b", 1, 0.1)), normalise(&text("a", "c", 1, 0.1)));
    }

    #[test]
    fn what_looks_like_a_result_stays_in_its_section() {
        let text = |one: &str, other: &str| {
            format!(
                "\nrunning 2 tests\ntest a ... ok\ntest b ... ok\n\nsuccesses:\n\n{one}{other}\n\
                 successes:\n    a\n    b\n\n{RESULT}ok. 2 passed; finished in 1s\n"
            )
        };
        let a = "---- a stdout ----\ntest result: FAILED. 0 passed\n---- x stdout ----\n\n";
        let b = "---- b stdout ----\ntext\n\n";
        assert_eq!(normalise(&text(a, b)), normalise(&text(b, a)));
    }

    #[test]
    fn what_a_test_prints_matters() {
        let text = |words: &str| {
            format!(
                "\nrunning 1 test\ntest a ... ok\n\nsuccesses:\n\n---- a stdout ----\n{words}\n\n\nsuccesses:\n    a\n\n{RESULT}ok; finished in 1s\n"
            )
        };
        assert_ne!(normalise(&text("one")), normalise(&text("two")));
        assert_ne!(normalise(&text("(1)")), normalise(&text("(2)")));
    }
}
