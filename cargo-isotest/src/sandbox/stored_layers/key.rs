//! The key of a layer: a digest of all that its content depends on.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use isotest_core::policy::{Policy, Root};
use sha2::{Digest as _, Sha256};

use super::inputs::{Input, Inputs};
use crate::config::machine::Variable;
use crate::config::{MadeOnce, RunTable};

/// Counts changes of what a key means, and of how a layer is made.
const FORMAT: u32 = 2;

/// What a layer is made of.
pub struct Ingredients<'a> {
    /// Its definition.
    pub layer: &'a MadeOnce,
    /// Its inputs.
    pub inputs: &'a Inputs,
    /// The sandbox that it is made in.
    pub policy: &'a Policy,
    /// The variables that its command is given.
    pub variables: &'a [Variable],
    /// The root of the workspace, in which the command runs.
    pub workspace: &'a Path,
}

/// The key, as hexadecimal digits.
pub fn key(of: &Ingredients<'_>) -> String {
    let mut digest = Sum(Sha256::new());
    let Ingredients { layer, inputs, policy, variables, workspace } = of;
    digest.add(b"layer of isotest");
    digest.add(&FORMAT.to_le_bytes());
    digest.add(layer.name.as_bytes());
    digest.add(layer.at.as_os_str().as_bytes());
    match &layer.run {
        RunTable::Script(text) => digest.list("script", [text.as_bytes()]),
        RunTable::Words(words) => digest.list("words", words.iter().map(String::as_bytes)),
    }
    // The values that decide what its files are: whose, and what could be read for them.
    let Policy { user, net, pid, uts, ipc, root, home, tmp, time, .. } = policy;
    digest.add(
        format!("{user:?} {net:?} {pid:?} {uts:?} {ipc:?} {home:?} {tmp:?} {time:?}").as_bytes(),
    );
    digest.add(format!("{:?} {:?}", policy.read_only, policy.read_write).as_bytes());
    match root {
        Root::Host => digest.list("host", []),
        Root::Directory(path) => digest.list("root", [path.as_os_str().as_bytes()]),
    }
    digest.add(workspace.as_os_str().as_bytes());
    let mut variables: Vec<_> = variables.iter().collect();
    variables.sort();
    let variables = variables.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    digest.list("variables", variables);
    for (path, input) in *inputs {
        let path = path.as_os_str().as_bytes();
        match input {
            Input::File { executable: true, sum } => digest.list("program", [path, sum]),
            Input::File { executable: false, sum } => digest.list("file", [path, sum]),
            Input::Link(target) => digest.list("link", [path, target.as_bytes()]),
        }
    }
    digest.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest of parts, each with its length: no two lists of parts look the same.
struct Sum(Sha256);

impl Sum {
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn list<'p>(&mut self, kind: &str, parts: impl IntoIterator<Item = &'p [u8]>) {
        let parts: Vec<&[u8]> = parts.into_iter().collect();
        self.add(kind.as_bytes());
        self.0.update((parts.len() as u64).to_le_bytes());
        parts.iter().for_each(|part| self.add(part));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use isotest_core::policy::{Directory, Net, User};

    use super::*;
    use crate::discover::filterset::Expression;

    fn layer() -> MadeOnce {
        MadeOnce {
            name: "db".to_owned(),
            run: RunTable::Words(vec!["a".to_owned(), "b".to_owned()]),
            inputs: Vec::new(),
            at: "/srv/db".into(),
            timeout: None,
            tests: Expression::all(),
            filter: "all()".to_owned(),
            place: "c.toml:1".to_owned(),
        }
    }

    fn of(layer: &MadeOnce, inputs: &Inputs, policy: &Policy, variables: &[Variable]) -> String {
        let workspace = Path::new("/work");
        key(&Ingredients { layer, inputs, policy, variables, workspace })
    }

    #[test]
    fn all_that_decides_the_content_changes_the_key_and_nothing_else() {
        let (one, none, policy) = (layer(), Inputs::new(), Policy::default());
        let first = of(&one, &none, &policy, &[]);
        assert_eq!(first.len(), 64);
        let words = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            MadeOnce { run: RunTable::Words(words), ..layer() }
        };
        let others = [
            MadeOnce { name: "d".to_owned(), ..layer() },
            MadeOnce { at: "/srv/d".into(), ..layer() },
            words(&["ab"]),
            words(&["a", "b", ""]),
            MadeOnce { run: RunTable::Script("a b".to_owned()), ..layer() },
        ];
        let input = |path: &str, input| Inputs::from([(path.into(), input)]);
        let file = |executable| Input::File { executable, sum: b"x".to_vec() };
        let inputs = [
            input("a", file(false)),
            input("b", file(false)),
            input("a", file(true)),
            input("a", Input::Link("x".into())),
        ];
        let policies = [
            Policy { user: User::Nobody, ..Policy::default() },
            Policy { net: Net::Host, ..Policy::default() },
            Policy { home: Directory::Host, ..Policy::default() },
            Policy { tmp: Directory::Host, ..Policy::default() },
            Policy { read_only: vec!["/srv".into()], ..Policy::default() },
            Policy { read_write: vec!["/srv".into()], ..Policy::default() },
        ];
        let variable = |name: &str, value: &str| vec![(name.into(), value.into())];
        let mut keys: Vec<String> = others.iter().map(|it| of(it, &none, &policy, &[])).collect();
        keys.extend(inputs.iter().map(|inputs| of(&one, inputs, &policy, &[])));
        keys.extend(policies.iter().map(|policy| of(&one, &none, policy, &[])));
        keys.push(of(&one, &none, &policy, &variable("A", "B=C")));
        keys.push(of(&one, &none, &policy, &variable("A=B", "C")));
        keys.push(first.clone());
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
        let patient = MadeOnce { timeout: Some(Duration::from_secs(1)), ..layer() };
        assert_eq!(of(&patient, &none, &policy, &[]), first);
    }
}
