//! What clouds charge: a table of list prices.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::manifest::problem::suggest;

static BUILT_IN: LazyLock<Prices> = LazyLock::new(|| {
    // The table is part of the program; a test reads it.
    let table = toml::from_str(include_str!("prices.toml")).unwrap_or_default();
    Prices { table: Arc::new(table) }
});

/// Prices by name; cheap to clone.
#[derive(Clone, Debug)]
pub struct Prices {
    table: Arc<BTreeMap<String, Price>>,
}

/// The price of one kind of unit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The unit, in words.
    pub what: String,
    /// Who sells it.
    pub provider: String,
    /// Where the price holds.
    pub region: String,
    /// US dollars for `per` units.
    pub usd: f64,
    /// So many units cost `usd`; above 0.
    pub per: f64,
    /// Month for which the price was known to hold: `2025-12`.
    pub as_of: String,
    /// Where the provider publishes it.
    pub source: String,
}

/// Why a price table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// It is not TOML of the right form.
    #[error("the price table cannot be read: {0}; the built-in one (see docs/manifests.md) is an example")]
    Form(String),
    /// An entry has a name that no built-in price has.
    #[error("there is no price called `{name}`; {help}")]
    Unknown {
        /// The name in question.
        name: String,
        /// The nearest name, or all that there are.
        help: String,
    },
    /// A price below 0, or for no units at all.
    #[error(
        "the price `{name}` is {usd} USD per {per}: use a price of 0 or more, for a number of units above 0"
    )]
    Range {
        /// The price's name.
        name: String,
        /// US dollars.
        usd: f64,
        /// Units that they buy.
        per: f64,
    },
}

impl Prices {
    /// The prices that are part of the program.
    pub fn built_in() -> Self {
        BUILT_IN.clone()
    }

    /// These prices, with those of a TOML table of the same form in their place.
    pub fn with(&self, text: &str) -> Result<Self, PriceError> {
        let given: BTreeMap<String, Price> =
            toml::from_str(text).map_err(|error| PriceError::Form(error.to_string()))?;
        let mut table = BTreeMap::clone(&self.table);
        for (name, price) in given {
            let Some(place) = table.get_mut(&name) else {
                let help = suggest(&name, "prices", self.table.keys().map(String::as_str));
                return Err(PriceError::Unknown { name, help });
            };
            if !(price.usd >= 0.0 && price.usd.is_finite() && price.per > 0.0 && price.per.is_finite()) {
                return Err(PriceError::Range { name, usd: price.usd, per: price.per });
            }
            *place = price;
        }
        Ok(Self { table: Arc::new(table) })
    }

    /// The names of all prices.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.table.keys().map(String::as_str)
    }

    /// The price of this name.
    pub fn get(&self, name: &str) -> Option<&Price> {
        self.table.get(name)
    }

    /// US dollars for these units; names are those of checked manifests.
    pub fn of(&self, units: &BTreeMap<String, f64>) -> f64 {
        units.iter().filter_map(|(name, count)| Some(self.get(name)?.of(*count))).sum()
    }
}

impl Price {
    /// US dollars for so many units.
    pub fn of(&self, units: f64) -> f64 {
        units * self.usd / self.per
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAPER: &str = "[lambda_gb_seconds]\nwhat = \"arm\"\nprovider = \"aws\"\nregion = \"eu-central-1\"\nusd = 2\nper = 4\nas_of = \"2026-01\"\nsource = \"my contract\"\n";

    #[test]
    fn every_built_in_price_says_where_it_comes_from() {
        let table: BTreeMap<String, Price> = toml::from_str(include_str!("prices.toml")).unwrap();
        assert_eq!(table.len(), BUILT_IN.table.len());
        for (name, price) in &table {
            assert!(price.usd > 0.0 && price.per >= 1.0, "{name}");
            assert!(price.source.starts_with("https://") || name == "usd", "{name}");
            let (year, month) = price.as_of.split_once('-').unwrap();
            assert!(year.len() == 4 && (1..=12).contains(&month.parse::<u32>().unwrap()), "{name}");
        }
    }

    #[test]
    fn prices_of_the_user_replace_the_built_in_ones() {
        let prices = Prices::built_in().with(CHEAPER).unwrap();
        let used = BTreeMap::from([("lambda_gb_seconds".into(), 10.0), ("lambda_requests".into(), 5e6)]);
        assert!((prices.of(&used) - 6.0).abs() < 1e-12, "{}", prices.of(&used));
        assert!((Prices::built_in().of(&used) - 1.000_166_667).abs() < 1e-9);
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Prices::built_in().with(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_wrong_price_is_refused_with_a_way_out() {
        check_refused(&CHEAPER.replace("lambda_gb_seconds", "lambda_gb_secnds"), "lambda_gb_seconds");
        check_refused(&CHEAPER.replace("per = 4", "per = 0"), "above 0");
        check_refused(&CHEAPER.replace("usd = 2", "usd = -1"), "0 or more");
        check_refused(&CHEAPER.replace("what", "hat"), "built-in");
    }
}
