//! Files that a report writes beside the streams.

use std::path::Path;

use super::Reporter;
use crate::report::junit::Junit;
use crate::report::report_file::ReportFileError;
use crate::report::sarif::Sarif;

impl Reporter {
    /// Writes a JUnit report too, through no link below `roots`; the properties are those of each of
    /// its suites.
    pub fn with_junit(
        mut self,
        path: &Path,
        roots: &[&Path],
        properties: &[(&str, String)],
    ) -> Result<Self, ReportFileError> {
        let show_output = self.options.show_output;
        self.files.junit = Some(Junit::create(path, roots, &self.suites, properties, show_output)?);
        Ok(self)
    }

    /// Writes a SARIF log too, through no link below `roots`; its paths are relative to the repository
    /// or to the workspace.
    pub fn with_sarif(
        mut self,
        path: &Path,
        roots: &[&Path],
        workspace: &Path,
        repository: Option<&Path>,
    ) -> Result<Self, ReportFileError> {
        self.files.sarif = Some(Sarif::create(path, roots, workspace, repository)?);
        Ok(self)
    }

    /// Writes the JUnit report and the SARIF log, where they are asked for.
    pub fn write_files(&mut self) -> Result<(), ReportFileError> {
        self.files.write(self.wall)
    }
}
