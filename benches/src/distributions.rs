//! Samples of one thing by several contenders, shown as distributions.

use crate::{figures::Figures, race::quantile};

const QUANTILES: [(&str, f64); 4] = [("best", 0.0), ("half", 0.5), ("90 %", 0.9), ("99 %", 0.99)];

/// Adds the quantiles of each contender in `table`, in medians of the first one; returns a function
/// that tells a contender's median.
pub fn distributions<'a>(
    figures: &mut Figures,
    table: &'a mut [(&'static str, Vec<f64>)],
) -> impl FnMut(&str) -> f64 + use<'a> {
    let unit = quantile(&mut table[0].1, 0.5);
    for (who, samples) in &mut *table {
        for (case, q) in QUANTILES {
            figures.add(case, who, quantile(samples, q) / unit);
        }
    }
    |who| {
        let found = table.iter_mut().find(|(name, _)| *name == who);
        found.map_or(f64::NAN, |(_, samples)| quantile(samples, 0.5))
    }
}
