//! What is expected of answers, and what is taken from them.

use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report};
use crate::manifest::workload::{ExpectFile, RequestFile, StatusFile};
use crate::validate::check;
use crate::validate::output::{pointer_syntax, regex};
use sb_workload::{Expect, Extract, ExtractSource};

pub(super) fn expect(file: &ExpectFile, report: &mut Report) -> Expect {
    let status = match file.status.as_ref().map(|status| &status.value) {
        None => &[][..],
        Some(StatusFile::One(status)) => std::slice::from_ref(status),
        Some(StatusFile::Many(list)) => list.as_slice(),
    };
    // Without a status every 2xx and 3xx counts, which an empty list does not say.
    if let Some(given) = file.status.as_ref().filter(|_| status.is_empty()) {
        report.push(
            Problem::error("out-of-range", "no status counts as a success")
                .at(&given.span, "an empty list")
                .help("list at least one status, or remove `status`: then every 2xx and 3xx counts"),
        );
    }
    let json = file.json.iter().flat_map(Map::iter).map(|(pointer, value)| {
        pointer_syntax(pointer, report);
        (pointer.value.clone(), value.0.clone())
    });
    let json = json.collect();
    if let Some(pattern) = &file.regex {
        regex(pattern, report);
    }
    Expect {
        status: status.iter().map(|status| check::status(status, report)).collect(),
        contains: file.contains.as_ref().map(|text| text.value.clone()),
        json,
        regex: file.regex.as_ref().map(|pattern| pattern.value.clone()),
    }
}

/// Each value has exactly one source.
pub(super) fn extract(file: &RequestFile, report: &mut Report) -> Vec<Extract> {
    let mut found = Vec::new();
    for (name, extract) in file.extract.iter().flat_map(Map::iter) {
        check::name(&name.value, &name.span, "an extracted value", report);
        let file = &extract.value;
        if let Some(pattern) = &file.regex {
            regex(pattern, report);
        }
        let pattern = file.regex.as_ref().map(|pattern| pattern.value.clone());
        let source = match (&file.json, pattern, &file.header) {
            (Some(pointer), None, None) => {
                pointer_syntax(pointer, report);
                ExtractSource::Json(pointer.value.clone())
            }
            (None, Some(pattern), None) => ExtractSource::Regex(pattern),
            (None, regex, Some(header)) => {
                if !super::workload::is_header_name(&header.value) {
                    report.push(
                        Problem::error(
                            "invalid-header",
                            format!("`{}` cannot be the name of a header", header.value),
                        )
                        .at(&header.span, "this header")
                        .help("use letters, digits and `-`"),
                    );
                }
                ExtractSource::Header { name: header.value.clone(), regex }
            }
            _ => {
                report.push(
                    Problem::error("invalid-extract", "the value needs exactly one source")
                        .at(&extract.span, "extracted from what?")
                        .help("use one of `json`, `regex`, and `header` (with or without `regex`)"),
                );
                // Later requests may name it.
                ExtractSource::Json(String::new())
            }
        };
        found.push(Extract { name: name.value.clone(), source });
    }
    found
}
