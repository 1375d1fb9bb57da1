//! The report of a run: takes its events, prints both streams.
//!
//! Each event is noted by the counts, the progress bar and the closing block when it comes, and
//! is printed when its binary has its turn. Nothing is written before [`Reporter::idle`] or until
//! much has gathered: call it whenever no event is waiting, and about ten times a second.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use isotest_core::case::CaseIndex;
use isotest_core::outcome::Outcome;
use isotest_core::schedule::{Event, Stream};

use super::blocks::{Blocks, News, Turn};
use super::cargo;
use super::closing::Closing;
use super::format::{self, Format, FormatName};
use super::paint::{self, WARNING};
use super::progress::Progress;
use super::screen::Screen;
use super::suite::{self, Look, Suite};
use super::tally::Tally;
use super::words;

/// How a run is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The format of stdout.
    pub format: FormatName,
    /// libtest's `--show-output`: what passed tests wrote is shown too.
    pub show_output: bool,
    /// libtest's `--report-time`.
    pub report_time: bool,
    /// cargo's `--quiet`: no `Running` lines, no summary of a run without trouble.
    pub quiet: bool,
    /// What it is printed on.
    pub look: Look,
}

/// What a run came to, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The counts of the whole run.
    pub tally: Tally,
    /// The signal that ended it.
    pub interrupted: Option<i32>,
}

/// Prints a run.
pub struct Reporter {
    suites: Vec<Suite>,
    options: Options,
    start: Instant,
    screen: Screen,
    progress: Progress,
    blocks: Blocks,
    format: Box<dyn Format>,
    /// The counts of the open block.
    block: Tally,
    /// The indices of the binaries for which cargo would print an error.
    troubled: Vec<usize>,
    total: Tally,
    closing: Closing,
}

impl Reporter {
    /// The report of a run that starts now.
    pub fn new(
        suites: Vec<Suite>,
        options: Options,
        stdout: Box<dyn Write>,
        stderr: Box<dyn Write>,
    ) -> Self {
        let start = Instant::now();
        let cases = suites.iter().map(|suite| suite.cases.len()).sum();
        Reporter {
            start,
            screen: Screen::new(stdout, stderr),
            progress: Progress::new(cases, options.look, start),
            blocks: Blocks::new(&suites, options.show_output),
            format: format::choose(&options),
            block: Tally::default(),
            troubled: Vec::new(),
            total: Tally::default(),
            closing: Closing::default(),
            suites,
            options,
        }
    }

    /// Takes an event.
    pub fn event(&mut self, event: Event) -> io::Result<()> {
        let now = Instant::now();
        self.progress.observe(&event, now);
        match &event {
            Event::Finished(index, outcome) => {
                self.total.count(&outcome.verdict);
                self.closing.observe(&self.suites, *index, outcome);
            }
            Event::Slow(index, age) => self.slow(*index, *age)?,
            Event::Interrupted(signal) => self.closing.interrupt(*signal),
            Event::Started(_) | Event::Output(..) => {}
        }
        self.blocks.push(event, now);
        self.print_turns()?;
        if self.screen.is_full() {
            self.idle()
        } else {
            Ok(())
        }
    }

    /// Writes what has gathered and draws the progress bar anew.
    pub fn idle(&mut self) -> io::Result<()> {
        self.screen.flush(&self.progress)?;
        self.progress
            .draw(&self.suites, &self.total, Instant::now());
        Ok(())
    }

    /// Ends the report: cargo's last lines and the closing block.
    pub fn finish(mut self) -> io::Result<Summary> {
        self.print_turns()?;
        self.progress.clear();
        let colour = self.options.look.stderr_colour;
        let failed: Vec<&Suite> = self
            .troubled
            .iter()
            .map(|&index| &self.suites[index])
            .collect();
        self.screen.print(Stream::Stderr, |err| {
            cargo::targets_failed(&failed, colour, err)
        })?;
        if !self.options.quiet || self.closing.is_noteworthy(&self.total) {
            let wall = self.start.elapsed();
            self.screen.print(Stream::Stderr, |err| {
                self.closing
                    .write(&self.suites, &self.total, wall, colour, err)
            })?;
        }
        self.screen.flush(&self.progress)?;
        Ok(Summary {
            tally: self.total,
            interrupted: self.closing.interrupted(),
        })
    }

    fn print_turns(&mut self) -> io::Result<()> {
        while let Some(turn) = self.blocks.next() {
            match turn {
                Turn::Open(binary) => self.open(binary)?,
                Turn::Case(index, News::Output(stream, bytes)) => {
                    debug_assert!(index.binary < self.suites.len());
                    self.screen.print(stream, |out| out.write_all(&bytes))?;
                }
                Turn::Case(index, news) => self.case(index, news)?,
                Turn::Close(binary, elapsed) => self.close(binary, elapsed)?,
            }
        }
        Ok(())
    }

    fn open(&mut self, binary: usize) -> io::Result<()> {
        self.block = Tally::default();
        let suite = &self.suites[binary];
        let colour = self.options.look.stderr_colour;
        if !self.options.quiet {
            self.screen
                .print(Stream::Stderr, |err| cargo::running(suite, colour, err))?;
        }
        if suite.harness {
            self.screen
                .print(Stream::Stdout, |out| self.format.open(suite, out))?;
        }
        Ok(())
    }

    fn case(&mut self, index: CaseIndex, news: News) -> io::Result<()> {
        let suite = &self.suites[index.binary];
        if let News::Finished(outcome) = &news {
            self.block.count(&outcome.verdict);
        }
        if !suite.harness {
            return self.program(index, news);
        }
        let case = &suite.cases[index.case];
        let format = &mut self.format;
        self.screen.print(Stream::Stdout, |out| match news {
            News::Started => format.started(case, out),
            News::Slow => format.slow(case, out),
            News::Output(_, bytes) => out.write_all(&bytes),
            News::Finished(outcome) => format.finished(case, outcome, out),
        })
    }

    /// A program that is no harness: what it wrote and, should it fail, how.
    fn program(&mut self, index: CaseIndex, news: News) -> io::Result<()> {
        let News::Finished(Outcome {
            verdict, output, ..
        }) = news
        else {
            return Ok(());
        };
        self.screen
            .print(Stream::Stdout, |out| out.write_all(&output.to_bytes()))?;
        self.report_failure(index.binary)?;
        self.screen
            .print(Stream::Stderr, |err| cargo::cause(&verdict, err))
    }

    fn close(&mut self, binary: usize, elapsed: Duration) -> io::Result<()> {
        let suite = &self.suites[binary];
        if !suite.harness {
            return Ok(());
        }
        self.screen.print(Stream::Stdout, |out| {
            self.format.close(suite, &self.block, elapsed, out)
        })?;
        self.report_failure(binary)
    }

    /// cargo's line behind a block in which something failed.
    fn report_failure(&mut self, binary: usize) -> io::Result<()> {
        if self.block.failed + self.block.not_run > 0 {
            self.troubled.push(binary);
        }
        let suite = &self.suites[binary];
        let colour = self.options.look.stderr_colour;
        self.screen.print(Stream::Stderr, |err| {
            cargo::failed(suite, &self.block, colour, err)
        })
    }

    /// Tells at once of a case that takes long, whichever block has its turn.
    fn slow(&mut self, index: CaseIndex, age: Duration) -> io::Result<()> {
        let verb = paint::verb(self.options.look.stderr_colour, WARNING, "Slow");
        let label = suite::label(&self.suites, index);
        let age = words::counted(age.as_secs() as usize, "second");
        self.screen.print(Stream::Stderr, |err| {
            writeln!(err, "{verb} {label} has been running for over {age}")
        })
    }
}
