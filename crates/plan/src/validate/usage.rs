//! What a target declares to use: names and units of the price table.

use std::collections::BTreeMap;

use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report, suggest};
use crate::manifest::tree::Spanned;
use crate::plan::Prices;

/// Units by name of the price table.
pub(super) fn units(file: Option<&Map<Spanned<f64>>>, report: &mut Report) -> BTreeMap<String, f64> {
    let prices = Prices::built_in();
    let mut units = BTreeMap::new();
    for (name, count) in file.into_iter().flat_map(Map::iter) {
        if prices.get(&name.value).is_none() {
            report.push(
                Problem::error("unknown-price", format!("there is no price called `{}`", name.value))
                    .at(&name.span, "not in the price table")
                    .help(suggest(&name.value, "prices", prices.names())),
            );
        }
        if !(count.value >= 0.0 && count.value.is_finite()) {
            report.push(
                Problem::error("out-of-range", format!("the usage cannot be {}", count.value))
                    .at(&count.span, "below 0, or not finite")
                    .help("use 0 or more units; parts of a unit are allowed"),
            );
        }
        units.insert(name.value.clone(), count.value);
    }
    units
}
