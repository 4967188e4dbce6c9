//! A report's files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::markdown::markdown;
use super::page::html;
use super::{FORMAT, Report};

/// Why a report was not written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("{0}: {1}: name a directory that can be written, or leave --report out")]
    Folder(PathBuf, io::Error),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("{0} is no report of `rigswitch bench`: {1}")]
    Foreign(PathBuf, serde_json::Error),
    #[error(
        "{0} has format {1}, and this version reads {FORMAT}: measure again, or compare with the version that wrote it"
    )]
    Format(PathBuf, u64),
}

/// Where a report goes.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes it, and makes sure that it can be written: nobody wants to know that after an hour.
    ///
    /// # Errors
    /// [`ReportError::Folder`].
    pub(crate) fn new(path: &Path) -> Result<Self, ReportError> {
        let refused = |error| ReportError::Folder(path.to_owned(), error);
        fs::create_dir_all(path).map_err(refused)?;
        let probe = path.join(format!(".rigswitch-{}", std::process::id()));
        fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)).map_err(refused)?;
        Ok(Self(path.to_owned()))
    }

    /// Writes `report.html`, `report.json` and `report.md`.
    ///
    /// # Errors
    /// [`ReportError::File`], of the first that cannot be written.
    pub(crate) fn write(&self, report: &Report) -> Result<(), ReportError> {
        let json = serde_json::to_string_pretty(report).map_err(io::Error::from);
        let json = json.map_err(|error| ReportError::File(self.0.join("report.json"), error))?;
        for (name, text) in
            [("report.json", json + "\n"), ("report.md", markdown(report)), ("report.html", html(report))]
        {
            let path = self.0.join(name);
            fs::write(&path, text).map_err(|error| ReportError::File(path.clone(), error))?;
        }
        Ok(())
    }
}

/// The report in a `report.json`.
///
/// # Errors
/// [`ReportError`].
pub(crate) fn read(path: &Path) -> Result<Report, ReportError> {
    let text = fs::read_to_string(path).map_err(|error| ReportError::File(path.to_owned(), error))?;
    let foreign = |error| ReportError::Foreign(path.to_owned(), error);
    let value: serde_json::Value = serde_json::from_str(&text).map_err(foreign)?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format != u64::from(FORMAT) => Err(ReportError::Format(path.to_owned(), format)),
        _ => serde_json::from_value(value).map_err(foreign),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            Self(std::env::temp_dir().join(format!("rsw-report-{test}-{}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn its_files_say_the_same() {
        let scratch = Scratch::new("files");
        let report = example();
        Folder::new(&scratch.0.join("new/one")).unwrap().write(&report).unwrap();
        let file = |name: &str| scratch.0.join("new/one").join(name);
        assert_eq!(read(&file("report.json")).unwrap(), report);
        for name in ["report.html", "report.md"] {
            let text = fs::read_to_string(file(name)).unwrap();
            for word in
                ["25.0", "not in this version", "rigswitch bench forward --size 64", &report.machine.kernel]
            {
                assert!(text.contains(word), "{name}: {word}");
            }
        }
    }

    #[test]
    fn what_is_no_report_is_refused_by_name() {
        let scratch = Scratch::new("foreign");
        fs::create_dir_all(&scratch.0).unwrap();
        let path = scratch.0.join("a.json");
        for (text, says) in
            [("{", "no report"), ("{\"format\":1}", "no report"), ("{\"format\":9}", "format 9")]
        {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("a.json"), "{error}");
        }
        fs::write(scratch.0.join("file"), "").unwrap();
        let error = Folder::new(&scratch.0.join("file/below")).unwrap_err().to_string();
        assert!(error.contains("file/below"), "{error}");
    }

    #[test]
    fn the_page_is_well_formed_and_asks_for_nothing() {
        let page = html(&example());
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(&page, options).unwrap();
        let count = |name: &str| {
            document
                .descendants()
                .filter(|node| node.has_tag_name(("http://www.w3.org/1999/xhtml", name)))
                .count()
        };
        assert_eq!((count("table"), count("figure"), count("script")), (1, 4, 0));
        for node in document.descendants() {
            for attribute in ["src", "href"] {
                let target = node.attribute(attribute).unwrap_or("data:,");
                assert!(target.starts_with("data:"), "{target}");
            }
            for number in
                ["x", "y", "width", "height", "x1", "x2", "y1", "y2"].map(|name| node.attribute(name))
            {
                assert!(
                    number.is_none_or(|number| number.parse::<f64>().is_ok_and(f64::is_finite)),
                    "{number:?}"
                );
            }
        }
        assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("NaN"));
    }
}
