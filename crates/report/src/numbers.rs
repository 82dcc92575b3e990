//! Many whole numbers: four bytes each as long as all of them fit, which durations in microseconds do up to 35 minutes.

/// Numbers of one column of measurements.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Narrow(Vec::new())
    }
}

impl Numbers {
    pub(crate) fn push(&mut self, number: i64) {
        match self {
            Self::Narrow(all) => match i32::try_from(number) {
                Ok(number) => all.push(number),
                Err(_) => {
                    let mut wide: Vec<i64> = all.iter().copied().map(i64::from).collect();
                    wide.push(number);
                    *self = Self::Wide(wide);
                }
            },
            Self::Wide(all) => all.push(number),
        }
    }

    pub(crate) fn get(&self, place: usize) -> i64 {
        match self {
            Self::Narrow(all) => i64::from(all[place]),
            Self::Wide(all) => all[place],
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Narrow(all) => all.len(),
            Self::Wide(all) => all.len(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len()).map(|place| self.get(place))
    }

    /// Appends those at some places.
    pub(crate) fn gather(&self, places: impl Iterator<Item = u32>, out: &mut Vec<i64>) {
        match self {
            Self::Narrow(all) => out.extend(places.map(|place| i64::from(all[place as usize]))),
            Self::Wide(all) => out.extend(places.map(|place| all[place as usize])),
        }
    }

    pub(crate) fn shrink(&mut self) {
        match self {
            Self::Narrow(all) => all.shrink_to_fit(),
            Self::Wide(all) => all.shrink_to_fit(),
        }
    }
}

impl FromIterator<i64> for Numbers {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        let mut all = Self::default();
        for number in numbers {
            all.push(number);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_come_back() {
        let given = [0, -1, i64::from(i32::MAX), i64::from(i32::MIN), i64::from(i32::MAX) + 1, i64::MIN, 7];
        let numbers: Numbers = given.into_iter().collect();
        assert!(numbers.iter().eq(given));
        let mut some = Vec::new();
        numbers.gather([6, 4].into_iter(), &mut some);
        assert_eq!(some, [7, i64::from(i32::MAX) + 1]);
    }
}
