//! Selection among the cases of one binary, as libtest's `filter_tests` does it.
//!
//! Pure. Ignored cases that are not asked for stay in the selection with their mark, because a run
//! reports them; only what filters take out is counted as filtered out.

use isotest_core::case::{Case, Ignore, Kind};

/// Selection of ignored cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IgnoredCases {
    /// Cases without `#[ignore]`; the others are reported as ignored.
    #[default]
    No,
    /// Only those with it: `--ignored`.
    Only,
    /// Both: `--include-ignored`.
    Yes,
}

/// Selection by the two kinds of cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaseKinds {
    /// Tests, and every benchmark once, as a test.
    #[default]
    Test,
    /// Benchmarks are measured, tests reported as ignored: `--bench`.
    Bench,
    /// Benchmarks are measured, tests run: `--bench --test`.
    Both,
}

/// Selection of cases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A case is selected when its name contains one of these, or when there are none.
    pub filters: Vec<String>,
    /// A case is left out when its name contains one of these.
    pub skip: Vec<String>,
    /// Names must be equal, not contain.
    pub exact: bool,
    /// Selection of ignored cases.
    pub run_ignored: IgnoredCases,
    /// Selection by the two kinds of cases.
    pub mode: CaseKinds,
}

/// The cases of one binary that a run reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// By name, benchmarks last where they are measured; a case whose `ignore` is set will not run.
    pub cases: Vec<Case>,
    /// Number of cases that were filtered out.
    pub filtered_out: usize,
}

impl Filter {
    /// Selects among the cases of one binary those that `also` selects too.
    pub fn select(&self, cases: Vec<Case>, also: impl Fn(&Case) -> bool) -> Selection {
        let listed = cases.len();
        let takes = |case: &Case| self.takes(case) && also(case);
        let mut cases: Vec<Case> = cases.into_iter().filter(takes).collect();
        for case in &mut cases {
            self.settle_ignore(case);
        }
        cases.sort_by(|one, other| one.name.cmp(&other.name));
        match self.mode {
            CaseKinds::Test => {}
            CaseKinds::Bench | CaseKinds::Both => {
                cases.sort_by_key(|case| case.kind == Kind::Benchmark)
            }
        }
        Selection { filtered_out: listed - cases.len(), cases }
    }

    fn takes(&self, case: &Case) -> bool {
        let named = self.filters.is_empty() || self.any_matches(&self.filters, case);
        named && !self.any_matches(&self.skip, case) && self.takes_mark(case)
    }

    fn any_matches(&self, patterns: &[String], case: &Case) -> bool {
        patterns.iter().any(|pattern| match self.exact {
            true => case.name == *pattern,
            false => case.name.contains(pattern.as_str()),
        })
    }

    fn takes_mark(&self, case: &Case) -> bool {
        match self.run_ignored {
            IgnoredCases::No | IgnoredCases::Yes => true,
            IgnoredCases::Only => case.ignore != Ignore::No,
        }
    }

    /// Takes the mark off where it does not count. A test under `--bench` is ignored whatever was
    /// asked, and keeps the reason that it has.
    fn settle_ignore(&self, case: &mut Case) {
        if self.mode == CaseKinds::Bench && case.kind == Kind::Test {
            if case.ignore == Ignore::No {
                case.ignore = Ignore::Yes;
            }
            return;
        }
        match self.run_ignored {
            IgnoredCases::No => {}
            IgnoredCases::Only | IgnoredCases::Yes => case.ignore = Ignore::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases() -> Vec<Case> {
        [
            ("t::b", Kind::Test, Ignore::No),
            ("t::a", Kind::Test, Ignore::No),
            ("t::ab", Kind::Test, Ignore::Because("slow".to_owned())),
            ("bench", Kind::Benchmark, Ignore::No),
        ]
        .map(|(name, kind, ignore)| Case::listed(name.to_owned(), kind, ignore))
        .to_vec()
    }

    fn names(filter: &Filter) -> (Vec<String>, usize) {
        let selection = filter.select(cases(), |_| true);
        (selection.cases.into_iter().map(|case| case.name).collect(), selection.filtered_out)
    }

    fn filters(patterns: &[&str]) -> Filter {
        Filter { filters: patterns.iter().map(|p| (*p).to_owned()).collect(), ..Filter::default() }
    }

    #[test]
    fn everything_is_selected_by_name_when_nothing_is_said() {
        assert_eq!(names(&Filter::default()), (strings(&["bench", "t::a", "t::ab", "t::b"]), 0));
    }

    #[test]
    fn filters_are_alternatives_and_parts_of_names() {
        assert_eq!(names(&filters(&["::a", "ben"])), (strings(&["bench", "t::a", "t::ab"]), 1));
    }

    #[test]
    fn exact_holds_for_filters_and_for_skip() {
        let mut filter = Filter { exact: true, ..filters(&["t::a", "t::b"]) };
        filter.skip = strings(&["t::b", "a"]);
        assert_eq!(names(&filter), (strings(&["t::a"]), 3));
    }

    #[test]
    fn skipped_cases_are_filtered_out() {
        let filter = Filter { skip: strings(&["a"]), ..Filter::default() };
        assert_eq!(names(&filter), (strings(&["bench", "t::b"]), 2));
    }

    #[test]
    fn ignored_cases_stay_marked_unless_they_are_asked_for() {
        let marks = |run_ignored| {
            let filter = Filter { run_ignored, ..Filter::default() };
            let selection = filter.select(cases(), |_| true);
            let marked = selection.cases.iter().filter(|case| case.ignore != Ignore::No).count();
            (selection.cases.len(), marked, selection.filtered_out)
        };
        assert_eq!(marks(IgnoredCases::No), (4, 1, 0));
        assert_eq!(marks(IgnoredCases::Yes), (4, 0, 0));
        assert_eq!(marks(IgnoredCases::Only), (1, 0, 3));
    }

    #[test]
    fn tests_are_ignored_under_bench_and_keep_their_reason() {
        let run_ignored = IgnoredCases::Yes;
        let filter = Filter { mode: CaseKinds::Bench, run_ignored, ..Filter::default() };
        let selection = filter.select(cases(), |_| true);
        let marks: Vec<_> = selection.cases.iter().map(|case| case.ignore.clone()).collect();
        let because = Ignore::Because("slow".to_owned());
        assert_eq!(marks, [Ignore::Yes, because, Ignore::Yes, Ignore::No]);
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
