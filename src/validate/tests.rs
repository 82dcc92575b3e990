//! Whole files through the public functions, and what their problems look like to a reader.

use super::*;
use crate::manifest::read::Snapshot;
use std::path::Path;

/// Problems as people see them.
fn rendered(problems: &[Problem]) -> String {
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false);
    let mut out = String::new();
    for problem in problems {
        handler.render_report(&mut out, problem).unwrap();
        out.push('\n');
    }
    out
}
