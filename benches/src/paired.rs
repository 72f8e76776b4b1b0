//! Pairs of measurements, each taken side by side: their ratios, and how sure one may be of them.

use crate::race::quantile;

/// The ratios of one contender to another, one a round.
#[derive(Clone, Debug, Default)]
pub struct Ratios(Vec<f64>);

impl Ratios {
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn add(&mut self, ours: f64, theirs: f64) {
        let ratio = ours / theirs;
        if ratio.is_finite() {
            self.0.push(ratio);
        }
    }

    /// Returns the median, or `NaN` if there are no ratios.
    #[must_use]
    pub fn median(&self) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        quantile(&mut self.0.clone(), 0.5)
    }

    /// Returns the values between which the median is with 95 % confidence, whatever the
    /// distribution: by the ranks that a fair coin would give.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let rank = ((n - 1.96 * n.sqrt()) / 2.0).floor().max(1.0) as usize;
        match (sorted.get(rank - 1), sorted.len().checked_sub(rank)) {
            (Some(&from), Some(to)) => (from, sorted[to]),
            _ => (f64::NAN, f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ratios;

    #[test]
    fn the_interval_holds_the_median() {
        let mut ratios = Ratios::default();
        assert!(ratios.median().is_nan() && ratios.interval().0.is_nan());
        for n in 1..=100 {
            ratios.add(f64::from(n), 100.0);
            let (from, to) = ratios.interval();
            assert!(from <= ratios.median() && ratios.median() <= to);
        }
        // The ranks of a hundred coins.
        assert_eq!(ratios.interval(), (0.4, 0.61));
    }
}
