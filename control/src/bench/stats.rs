//! What samples say: medians, quantiles, and how far to trust them. The same samples always give the same answer.

use serde::{Deserialize, Serialize};

/// Resamples behind an interval.
const RESAMPLES: usize = 2000;

/// How sure an interval is.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// Samples of one quantity, and what they say: its median, with an interval in which the median lies with a confidence of 95 %.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    /// The ends of the interval: the percentile bootstrap (Efron and Tibshirani 1993, chapter 13).
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// In the order they were taken.
    pub(crate) samples: Vec<f64>,
    /// Trials that were measured and thrown away, because the hypervisor took the CPU during them.
    pub(crate) disturbed: u32,
}

impl Figure {
    /// What these samples say; nothing, if there are none.
    pub(crate) fn of(samples: Vec<f64>, disturbed: u32) -> Option<Self> {
        let median = median(&samples)?;
        let (low, high) = interval(&samples, RESAMPLES)?;
        Some(Self { median, low, high, samples, disturbed })
    }

    /// The least and the greatest sample.
    pub(crate) fn range(&self) -> (f64, f64) {
        let least = self.samples.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// The same of a quantity that follows from this one, sample by sample.
    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Option<Self> {
        Self::of(self.samples.iter().map(|&sample| f(sample)).collect(), self.disturbed)
    }

    /// How many times `base` this is: the ratio of the medians, and its interval, each side resampled by itself.
    pub(crate) fn ratio(&self, base: &Self) -> Option<Compared> {
        compare(&self.samples, &base.samples, |own, base| own / base)
    }

    /// By how much this is more than `base`: the difference of the medians, and its interval.
    pub(crate) fn difference(&self, base: &Self) -> Option<Compared> {
        compare(&self.samples, &base.samples, |own, base| own - base)
    }
}

/// Two figures in one number, with its interval.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compared {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The value that half of the samples do not exceed; of an even number the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

/// The `q`-quantile, between the two samples it falls between (Hyndman and Fan 1996, definition 7, which is R's default).
/// Nothing, if there are no samples or one is no number.
pub(crate) fn quantile(samples: &[f64], q: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.iter().any(|sample| !sample.is_finite()) { None } else { of_sorted(&sorted, q) }
}

fn of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let below = place.floor();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and `last`
    let index = below as usize;
    let (here, next) = (sorted[index], sorted[(index + 1).min(last)]);
    Some(here + (next - here) * (place - below))
}

/// The interval of the median.
fn interval(samples: &[f64], resamples: usize) -> Option<(f64, f64)> {
    let mut random = Random::new();
    let mut drawn = Vec::with_capacity(samples.len());
    let medians: Vec<_> = (0..resamples).filter_map(|_| random.resampled(samples, &mut drawn)).collect();
    ends(&medians)
}

fn compare(own: &[f64], base: &[f64], f: impl Fn(f64, f64) -> f64) -> Option<Compared> {
    let value = f(median(own)?, median(base)?);
    let mut random = Random::new();
    let mut drawn = Vec::new();
    let values: Vec<_> = (0..RESAMPLES)
        .filter_map(|_| Some(f(random.resampled(own, &mut drawn)?, random.resampled(base, &mut drawn)?)))
        .collect();
    let (low, high) = ends(&values)?;
    value.is_finite().then_some(Compared { value, low, high })
}

fn ends(values: &[f64]) -> Option<(f64, f64)> {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some((quantile(values, tail)?, quantile(values, 1.0 - tail)?))
}

/// SplitMix64 (Steele, Lea and Flood 2014), with the same seed every time.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x5eed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// The median of as many samples as there are, each drawn from all of them.
    fn resampled(&mut self, samples: &[f64], drawn: &mut Vec<f64>) -> Option<f64> {
        drawn.clear();
        for _ in samples {
            let wide = u128::from(self.next()) * samples.len() as u128;
            drawn.push(samples[usize::try_from(wide >> 64).unwrap_or(0)]);
        }
        drawn.sort_by(f64::total_cmp);
        of_sorted(drawn, 0.5)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_r() {
        // quantile(c(15, 20, 35, 40, 50), c(0, .05, .3, .4, .5, 1)) of R 4.2
        let samples = [40.0, 15.0, 50.0, 20.0, 35.0];
        for (q, expected) in [(0.0, 15.0), (0.05, 16.0), (0.3, 23.0), (0.4, 29.0), (0.5, 35.0), (1.0, 50.0)] {
            assert!((quantile(&samples, q).unwrap() - expected).abs() < 1e-9, "{q}");
        }
        assert_eq!(median(&[1.0, 2.0, 3.0, 10.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn one_sample_or_equal_ones_have_no_spread_to_show() {
        for samples in [vec![3.0], vec![3.0; 9]] {
            let figure = Figure::of(samples, 0).unwrap();
            assert_eq!((figure.low, figure.median, figure.high), (3.0, 3.0, 3.0));
        }
    }

    /// The exact distribution of a bootstrap median is known for an odd number of distinct samples (Efron 1982, chapter 10): the
    /// k-th smallest of 13 is it with these chances, from the third on; the least and the greatest two hardly ever are.
    #[test]
    fn the_interval_is_that_of_the_exact_bootstrap() {
        let samples: Vec<f64> = (1..=13).map(f64::from).collect();
        let mut random = Random::new();
        let mut drawn = Vec::new();
        let draws = 200_000;
        let mut counts = [0u32; 14];
        for _ in 0..draws {
            let median = random.resampled(&samples, &mut drawn).unwrap();
            counts[(1..=13).find(|&n| f64::from(u8::try_from(n).unwrap()) == median).unwrap()] += 1;
        }
        // P(median <= k) = P(Binomial(13, k / 13) >= 7)
        let at_most = |k: u32| -> f64 {
            let p = f64::from(k) / 13.0;
            let choose = |n: u32| (0..n).fold(1.0, |c, i| c * f64::from(13 - i) / f64::from(i + 1));
            (7..=13)
                .map(|n| {
                    choose(n)
                        * p.powi(i32::try_from(n).unwrap())
                        * (1.0 - p).powi(13 - i32::try_from(n).unwrap())
                })
                .sum()
        };
        for k in 1..=13u32 {
            let expected = at_most(k) - at_most(k - 1);
            let seen = f64::from(counts[k as usize]) / f64::from(draws);
            assert!((seen - expected).abs() < 0.004, "{k}: {seen} for {expected}");
        }
        let figure = Figure::of(samples, 0).unwrap();
        assert_eq!((figure.low, figure.median, figure.high), (4.0, 7.0, 10.0));
    }

    #[test]
    fn ratios_and_differences_have_intervals_of_their_own() {
        let base = Figure::of(vec![10.0, 11.0, 10.5, 9.5, 10.0], 0).unwrap();
        let twice = base.map(|sample| 2.0 * sample).unwrap();
        let ratio = twice.ratio(&base).unwrap();
        assert_eq!(ratio.value, 2.0);
        assert!(ratio.low >= 19.0 / 11.0 && ratio.low < 2.0 && ratio.high > 2.0 && ratio.high <= 22.0 / 9.5);
        let more = twice.difference(&base).unwrap();
        assert_eq!(more.value, 10.0);
        assert!(more.low < 10.0 && more.high > 10.0);
        let nothing = Figure::of(vec![0.0], 0).unwrap();
        assert_eq!(base.ratio(&nothing), None);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_median_and_lies_within_the_samples(
            samples in prop::collection::vec(-1e9f64..1e9, 1..40)
        ) {
            let figure = Figure::of(samples.clone(), 0).unwrap();
            let (least, most) = figure.range();
            prop_assert!(least <= figure.low && figure.low <= figure.high && figure.high <= most);
            prop_assert_eq!(&Figure::of(samples.clone(), 0).unwrap(), &figure); // the same every time
            let below = samples.iter().filter(|&&sample| sample <= figure.median).count();
            let above = samples.iter().filter(|&&sample| sample >= figure.median).count();
            prop_assert!(2 * below >= samples.len() && 2 * above >= samples.len());
        }
    }
}
