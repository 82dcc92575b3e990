//! Counts the functions of a dataset, step by step to those that are fit for a load:
//!
//!     cargo run --release -p sb-dataset --example summarize -- azurefunctions-dataset2019
//!
//! Prints the steps as JSON, as `sb dataset summarize --format json` does.

use std::io::Write as _;

use sb_dataset::{Criteria, Dataset, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("name a dataset: a folder, a file or an archive")?;
    let dataset = Dataset::open(path.as_ref(), Options::default())?;
    let summary = Criteria::default().summary(&dataset.totals()?)?;
    let steps = serde_json::json!({ "funnel": summary.funnel });
    writeln!(std::io::stdout(), "{steps:#}")?;
    Ok(())
}
