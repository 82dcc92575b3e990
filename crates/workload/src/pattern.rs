//! Patterns of invocations seen in production: rates per minute over twenty minutes, or an hour.
//!
//! Each is a stretch of one function of the Azure Functions trace of 2019 (Shahrad et al., "Serverless in the Wild",
//! USENIX ATC 2020). Its data is at <https://github.com/Azure/AzurePublicDataset>, with licence CC-BY 4.0. The
//! stretches are those of the study of ServiTrace ("Let's Trace It", replication package, Apache 2.0). The four plain
//! ones were chosen among functions that are called at least once per second. Names that end in `-20rps` are further
//! functions, called about twenty times per second, which need less scaling. Those in `-72rps` are an hour of
//! functions that are called 72 times per second.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Twenty minutes of production, or an hour: invocations of one function of the Azure Functions trace.
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
    /// The name under which the study's tool also shipped [`Pattern::Fluctuating20Rps`].
    Bursty,
    /// As [`Pattern::Steady`], an hour of another function, with 72.7 invocations per second.
    #[serde(rename = "steady-72rps")]
    Steady72Rps,
    /// As [`Pattern::Fluctuating`], an hour of another function, with about 72 invocations per second.
    #[serde(rename = "fluctuating-72rps")]
    Fluctuating72Rps,
}

impl Pattern {
    /// Every pattern, in the order of help and documents.
    pub const ALL: [Self; 11] = [
        Self::Steady,
        Self::Fluctuating,
        Self::Spikes,
        Self::Jump,
        Self::Steady20Rps,
        Self::Fluctuating20Rps,
        Self::Spikes20Rps,
        Self::Jump20Rps,
        Self::Bursty,
        Self::Steady72Rps,
        Self::Fluctuating72Rps,
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
            Self::Bursty => "bursty",
            Self::Steady72Rps => "steady-72rps",
            Self::Fluctuating72Rps => "fluctuating-72rps",
        }
    }

    /// The pattern with this [`name`](Self::name).
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }

    /// Invocations in each of its minutes: twenty, or of `-72rps` sixty.
    pub fn per_minute(self) -> &'static [u32] {
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
            Self::Fluctuating20Rps | Self::Bursty => &[
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
            Self::Steady72Rps => &[4363; 60],
            Self::Fluctuating72Rps => &[
                4133, 3873, 5345, 4241, 4211, 4888, 4068, 5089, 4253, 4092, 4407, 3452, 5064, 4096, 4295,
                3904, 4287, 4263, 4194, 4385, 3977, 4719, 4638, 4323, 4129, 3831, 3654, 4781, 4151, 4165,
                4263, 3813, 5241, 3977, 4338, 4560, 4147, 4984, 4040, 4306, 3795, 4616, 4920, 4552, 4887,
                4111, 4841, 4909, 4336, 4658, 4222, 4193, 5412, 3729, 4134, 4131, 3835, 5511, 3921, 4500,
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

    #[test]
    fn a_pattern_has_the_length_and_about_the_rate_of_its_name() {
        for pattern in Pattern::ALL {
            let minutes = pattern.per_minute();
            let per_second =
                minutes.iter().map(|minute| f64::from(*minute)).sum::<f64>() / (60 * minutes.len()) as f64;
            let (length, rates) = match pattern.name().rsplit_once('-') {
                Some((_, "72rps")) => (60, 71.0..74.0),
                Some((_, "20rps")) => (20, 15.0..30.0),
                _ if pattern == Pattern::Bursty => (20, 15.0..30.0),
                _ => (20, 1.0..17.0),
            };
            assert!(minutes.len() == length && rates.contains(&per_second), "{pattern}: {per_second}");
        }
    }

    /// Against the files of the study, where they are at hand.
    #[test]
    fn the_figures_are_those_of_the_study() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/workloads");
        for pattern in Pattern::ALL {
            let file = match pattern.name().strip_suffix("-20rps") {
                Some(name) => format!("20min_20rps/{name}.csv"),
                None if pattern == Pattern::Bursty => "20min_20rps/bursty.csv".to_owned(),
                None => format!("20min_picks/{pattern}.csv"),
            };
            let Ok(text) = std::fs::read_to_string(folder.join(file)) else { continue };
            let minutes: Vec<u32> = text.lines().skip(1).map(|line| line.trim().parse().unwrap()).collect();
            assert_eq!(minutes, pattern.per_minute(), "{pattern}");
        }
    }
}
