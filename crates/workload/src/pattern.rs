//! Patterns of invocations seen in production: rates per minute over twenty minutes.
//!
//! Each is a stretch of one function of the Azure Functions trace of 2019 (Shahrad et al., "Serverless in the Wild",
//! USENIX ATC 2020; data at <https://github.com/Azure/AzurePublicDataset>, licence CC-BY 4.0), as chosen for the
//! study of ServiTrace ("Let's Trace It", replication package, Apache 2.0). Those whose name ends in `-20rps` are
//! further functions that are called about twenty times per second, which needs less scaling.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Twenty minutes of production: invocations of one function of the Azure Functions trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Hardly changes.
    Steady,
    /// Goes up and down all the time.
    Fluctuating,
    /// Short peaks, with little or nothing in between.
    Spikes,
    /// Changes its level at once.
    Jump,
    /// As [`Pattern::Steady`], of another function, with about 20 invocations per second.
    #[serde(rename = "steady-20rps")]
    Steady20Rps,
    /// As [`Pattern::Fluctuating`], of another function, with about 20 invocations per second.
    #[serde(rename = "fluctuating-20rps")]
    Fluctuating20Rps,
    /// As [`Pattern::Spikes`], of another function, with about 20 invocations per second.
    #[serde(rename = "spikes-20rps")]
    Spikes20Rps,
    /// As [`Pattern::Jump`], of another function, with about 20 invocations per second.
    #[serde(rename = "jump-20rps")]
    Jump20Rps,
}

impl Pattern {
    /// Every pattern, in the order of help and documents.
    pub const ALL: [Self; 8] = [
        Self::Steady,
        Self::Fluctuating,
        Self::Spikes,
        Self::Jump,
        Self::Steady20Rps,
        Self::Fluctuating20Rps,
        Self::Spikes20Rps,
        Self::Jump20Rps,
    ];

    /// The word for it in plans and on the command line: `fluctuating`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Fluctuating => "fluctuating",
            Self::Spikes => "spikes",
            Self::Jump => "jump",
            Self::Steady20Rps => "steady-20rps",
            Self::Fluctuating20Rps => "fluctuating-20rps",
            Self::Spikes20Rps => "spikes-20rps",
            Self::Jump20Rps => "jump-20rps",
        }
    }

    /// The pattern with this [`name`](Self::name).
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }

    /// Invocations in each of twenty minutes.
    pub fn per_minute(self) -> &'static [u32; 20] {
        match self {
            Self::Steady => &[
                339, 344, 340, 340, 340, 340, 343, 339, 343, 343, 344, 341, 336, 339, 343, 337, 341, 340,
                340, 341,
            ],
            Self::Fluctuating => &[
                801, 977, 801, 1071, 958, 865, 891, 960, 1168, 993, 819, 989, 934, 1111, 970, 841, 867, 926,
                1087, 1047,
            ],
            Self::Spikes => &[0, 112, 337, 0, 0, 0, 323, 126, 0, 0, 0, 348, 101, 0, 0, 0, 355, 94, 0, 0],
            Self::Jump => &[
                77, 169, 167, 192, 277, 250, 276, 239, 160, 204, 140, 118, 154, 124, 171, 158, 117, 128, 167,
                128,
            ],
            Self::Steady20Rps => &[
                1513, 1579, 1543, 1621, 1588, 1516, 1502, 1540, 1631, 1573, 1658, 1640, 1632, 1622, 1609,
                1563, 1527, 1537, 1646, 1769,
            ],
            Self::Fluctuating20Rps => &[
                815, 638, 874, 982, 938, 617, 941, 1042, 1009, 872, 814, 1066, 853, 1077, 1134, 1118, 980,
                961, 1111, 1298,
            ],
            Self::Spikes20Rps => &[
                916, 1352, 3587, 1861, 1110, 791, 851, 840, 876, 975, 989, 886, 876, 898, 1045, 811, 776,
                1040, 1107, 962,
            ],
            Self::Jump20Rps => &[
                1530, 1540, 1448, 1434, 1414, 1424, 1422, 1058, 1006, 1000, 1031, 1038, 962, 1022, 1015,
                1085, 1464, 1445, 1398, 1309,
            ],
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_found_by_its_name_here_and_in_stored_loads() {
        for pattern in Pattern::ALL {
            assert_eq!(Pattern::by_name(pattern.name()), Some(pattern));
            assert_eq!(serde_json::to_value(pattern).unwrap(), pattern.name());
        }
        assert_eq!(Pattern::by_name("Steady"), None);
    }

    /// Against the files of the study, where they are at hand.
    #[test]
    fn the_figures_are_those_of_the_study() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/workloads");
        for pattern in Pattern::ALL {
            let file = match pattern.name().strip_suffix("-20rps") {
                Some(name) => format!("20min_20rps/{name}.csv"),
                None => format!("20min_picks/{pattern}.csv"),
            };
            let Ok(text) = std::fs::read_to_string(folder.join(file)) else { continue };
            let minutes: Vec<u32> = text.lines().skip(1).map(|line| line.trim().parse().unwrap()).collect();
            assert_eq!(minutes, pattern.per_minute(), "{pattern}");
        }
    }
}
