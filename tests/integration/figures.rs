//! The page and the figures of a report.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;

/// An execution of an application: warm and cold requests of two types, with hostile names where they can be.
fn execution(folder: &Path, application: &str, slowness: usize) {
    std::fs::create_dir_all(folder).unwrap();
    let about = format!(r#"{{ "application": "{application}", "plan": "levels" }}"#);
    std::fs::write(folder.join("run.json"), about).unwrap();
    let mut sent =
        "invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n"
            .to_owned();
    let mut rows = "trace_id,start_time,end_time,duration,url,num_cold_starts,errors,throttles,faults,services,\
        longest_path_names,orchestration,trigger,container_initialization,runtime_initialization,computation,queing,\
        overhead,external_service,unclassified\n"
        .to_owned();
    for at in 0..60 {
        let request = if at % 2 == 0 { "buy" } else { "<script>stolen=1</script>" };
        let cold = usize::from(at < 8);
        let (computation, container) = (10 + slowness * 7 + at % 17 * 3, 200 * cold);
        let (whole, start) = (computation + container + 5, 1000.0 + at as f64 * 0.25);
        let end = start + whole as f64 / 1000.0;
        let id = format!("1-5759e988-{:024x}", at + slowness * 1000);
        let latency = format!("{whole}.000");
        writeln!(sent, "{},{request},{id},{start:.6},{start:.6},{end:.6},{latency},{latency},200,ok", at + 1)
            .unwrap();
        let time = |millis: usize| format!("0:00:{:02}.{:03}000", millis / 1000, millis % 1000);
        let (computation, container) = (time(computation), time(container));
        let (whole, trigger) = (time(whole), time(5));
        writeln!(
            rows,
            "{id},{start:.3},{end:.3},{whole},,{cold},0,0,0,[],[],,{trigger},{container},,{computation},,,,"
        )
        .unwrap();
    }
    std::fs::write(folder.join("invocations.csv"), sent).unwrap();
    std::fs::write(folder.join("trace_breakdown.csv"), rows).unwrap();
}

/// The traces of the first requests of an execution: a gateway calls two functions, the second a store.
fn traces(folder: &Path, slowness: usize) {
    let mut text = String::new();
    for at in 0..20 {
        let long = 0.1 + f64::from(at) * 0.01;
        let cold = at < 8;
        let mut segments = Vec::new();
        let mut add = |id: &str, parent: &str, name: &str, origin: &str, from: f64, to: f64| {
            let mut segment =
                serde_json::json!({ "id": id, "name": name, "start_time": from, "end_time": to });
            if !parent.is_empty() {
                segment["parent_id"] = parent.into();
            }
            if !origin.is_empty() {
                segment["origin"] = origin.into();
            }
            segments.push(serde_json::json!({ "Document": segment.to_string() }));
        };
        add("root", "", "a shop with a long name", "AWS::ApiGateway::Stage", 0.0, 2.0 * long);
        for (place, name) in ["checkout", "payment"].into_iter().enumerate() {
            let from = long * place as f64;
            let (lambda, function) = (format!("l{place}"), format!("f{place}"));
            add(&lambda, "root", name, "AWS::Lambda", from + 0.001, from + long - 0.001);
            add(&function, &lambda, name, "AWS::Lambda::Function", from + 0.03, from + long - 0.005);
            if cold {
                add(&format!("i{place}"), &function, "Initialization", "", from + 0.005, from + 0.028);
            }
        }
        add("s", "f1", "S3", "AWS::S3", long + 0.04, 2.0 * long - 0.02);
        let id = format!("1-5759e988-{:024x}", at as usize + slowness * 1000);
        let trace = serde_json::json!({ "Id": id, "Duration": 2.0 * long, "Segments": segments });
        writeln!(text, "{trace}").unwrap();
    }
    std::fs::write(folder.join("traces.json"), text).unwrap();
}

/// A report of five applications, in a folder of the workspace.
fn report(work: &Workspace) -> PathBuf {
    for at in 0..5 {
        let name = format!("app{at}");
        let folder = work.path().join(format!("data/{name}/logs/2026-01-31_12-00-00"));
        execution(&folder, &name, at);
        if at < 2 {
            traces(&folder, at);
        }
    }
    let ran = work.sb(&["report", "data", "--output", "out"]).expect(0);
    assert!(ran.stderr.contains("report.html") && ran.stderr.contains("figures"), "{}", ran.stderr);
    work.path().join("out")
}

/// The values of `href` in a page that name files.
fn links(page: &str) -> BTreeSet<&str> {
    let all = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    all.filter(|link| !link.starts_with('#') && !link.starts_with("data:")).collect()
}

#[test]
fn a_report_has_a_page_and_every_file_that_it_links() {
    let work = Workspace::new();
    let folder = report(&work);
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    let links = links(&page);
    for link in &links {
        assert!(folder.join(link).is_file(), "{link} is not there");
    }
    for wanted in
        ["figures/latency-by-request-type-p99.png", "figures/ecdf-by-status.pdf", "tables/overview.csv"]
    {
        assert!(links.contains(wanted), "{wanted}: {links:?}");
    }
    for file in std::fs::read_dir(folder.join("figures")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let starts = |start: &[u8]| assert!(bytes.starts_with(start), "{}", path.display());
        match path.extension().and_then(|end| end.to_str()) {
            Some("svg") => starts(b"<svg xmlns"),
            Some("png") => starts(b"\x89PNG\r\n\x1a\n"),
            Some("pdf") => starts(b"%PDF-"),
            Some("csv") => assert!(!bytes.is_empty()),
            _ => panic!("what is {}?", path.display()),
        }
    }
    // A report replaces a report.
    work.sb(&["report", "data", "--output", "out"]).expect(0);
}

#[test]
#[ignore = "needs: chromium"]
fn a_report_works_in_a_browser() {
    let work = Workspace::new();
    let page = report(&work).join("report.html");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/report_browser.py");
    let looked = Command::new("python3").arg(script).arg(page).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
}
