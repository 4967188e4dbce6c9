//! Where a value is on an axis, and which values are written beside it.

use super::AxisScale;

/// An axis of a length.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    is_logarithmic: bool,
    length: f64,
    pub(super) ticks: Vec<f64>,
}

impl Scale {
    /// One that all `values` are on, with about `ticks` ticks.
    pub(super) fn new(
        kind: &AxisScale,
        values: impl IntoIterator<Item = f64>,
        length: f64,
        ticks: usize,
    ) -> Self {
        let (least, most) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
        match kind {
            AxisScale::Logarithmic if least > 0.0 => Self::logarithmic(least, most, length, ticks),
            AxisScale::Near => Self::linear(least, most, length, ticks),
            _ => Self::linear(least.min(0.0), most.max(0.0), length, ticks),
        }
    }

    fn linear(least: f64, most: f64, length: f64, ticks: usize) -> Self {
        let most = if most > least { most } else { least + 1.0 };
        let step = nice((most - least) / ticks.max(1) as f64);
        let (from, to) = ((least / step).floor(), (most / step).ceil());
        // Whole multiples, so that no error adds up.
        let ticks = (0..)
            .map(|n| (from + f64::from(n)) * step)
            .take_while(|tick| *tick <= (to + 0.5) * step)
            .collect();
        Self { from: from * step, to: to * step, is_logarithmic: false, length, ticks }
    }

    /// From the least to the greatest, with ticks at powers of two or ten, whichever are not too many. A single value is in the middle.
    fn logarithmic(least: f64, most: f64, length: f64, ticks: usize) -> Self {
        if most <= least {
            let (from, to) = (least / 2.0, least * 2.0);
            return Self { from, to, is_logarithmic: true, length, ticks: vec![least] };
        }
        let base: f64 = if (most / least).log2() <= 2.0 * ticks as f64 { 2.0 } else { 10.0 };
        let power = |value: f64| (value.ln() / base.ln() * 1e6).round() / 1e6; // a power of the base is one
        let (first, last) = (power(least).ceil(), power(most).floor());
        let step = ((last - first) / ticks.max(1) as f64).ceil().max(1.0);
        let powers = (0..).map(|n| first + f64::from(n) * step).take_while(|n| *n <= last);
        let mut ticks: Vec<_> = powers.map(|n| base.powf(n)).collect();
        if ticks.len() < 2 {
            ticks = vec![least, most];
        }
        Self { from: least, to: most, is_logarithmic: true, length, ticks }
    }

    /// How far from the axis's beginning a value is.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = match self.is_logarithmic {
            true => (value.max(self.from) / self.from).ln() / (self.to / self.from).ln(),
            false => (value - self.from) / (self.to - self.from),
        };
        share.clamp(0.0, 1.0) * self.length
    }
}

/// The least of 1, 2 and 5 times a power of ten that is no less.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// What is written beside a tick: as short as may be.
pub(super) fn label(tick: f64) -> String {
    let short = |value: f64| {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match tick.abs() {
        size if size >= 16384.0 && size % 1_048_576.0 == 0.0 => format!("{} Mi", short(tick / 1_048_576.0)),
        size if size >= 16384.0 && size % 1024.0 == 0.0 => format!("{} Ki", short(tick / 1024.0)),
        size if size >= 1e9 => format!("{} G", short(tick / 1e9)),
        size if size >= 1e6 => format!("{} M", short(tick / 1e6)),
        size if size >= 1e4 => format!("{} k", short(tick / 1e3)),
        _ => short(tick),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_value_is_in_the_middle() {
        let scale = Scale::new(&AxisScale::Logarithmic, [1514.0, 1514.0], 100.0, 8);
        assert_eq!((scale.ticks.clone(), scale.place(1514.0)), (vec![1514.0], 50.0));
    }

    #[test]
    fn ticks_are_round_numbers() {
        let linear = Scale::new(&AxisScale::Linear, [3.0, 38.6], 100.0, 5);
        assert_eq!(linear.ticks, [0.0, 10.0, 20.0, 30.0, 40.0]);
        let near = Scale::new(&AxisScale::Near, [0.91, 0.99], 100.0, 4);
        assert_eq!(
            near.ticks.iter().map(|&tick| label(tick)).collect::<Vec<_>>(),
            ["0.9", "0.92", "0.94", "0.96", "0.98", "1"]
        );
        let sizes = Scale::new(&AxisScale::Logarithmic, [64.0, 1518.0], 100.0, 8);
        assert_eq!(sizes.ticks, [64.0, 128.0, 256.0, 512.0, 1024.0]);
        let wide = Scale::new(&AxisScale::Logarithmic, [1.0, 1e6], 100.0, 6);
        assert_eq!(
            wide.ticks.iter().map(|&tick| label(tick)).collect::<Vec<_>>(),
            ["1", "10", "100", "1000", "10 k", "100 k", "1 M"]
        );
    }

    #[test]
    fn labels_are_short() {
        for (tick, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (8192.0, "8192"),
            (65_536.0, "64 Ki"),
            (1_048_576.0, "1 Mi"),
            (1e6, "1 M"),
            (25_000.0, "25 k"),
        ] {
            assert_eq!(label(tick), text);
        }
    }

    #[test]
    fn values_are_where_they_belong() {
        let linear = Scale::new(&AxisScale::Linear, [40.0], 100.0, 4);
        assert_eq!(
            [0.0, 10.0, 40.0, 50.0, -1.0].map(|value| linear.place(value)),
            [0.0, 25.0, 100.0, 100.0, 0.0]
        );
        let sizes = Scale::new(&AxisScale::Logarithmic, [64.0, 1024.0], 100.0, 8);
        assert!((sizes.place(256.0) - 50.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn every_value_is_on_the_axis_and_ticks_are_few(
            values in prop::collection::vec(1e-6f64..1e12, 0..20), ticks in 1usize..12
        ) {
            for kind in [AxisScale::Linear, AxisScale::Near, AxisScale::Logarithmic] {
                let scale = Scale::new(&kind, values.clone(), 300.0, ticks);
                prop_assert!(scale.from < scale.to);
                prop_assert!(scale.ticks.len() <= ticks * 2 + 3, "{kind:?}: {:?}", scale.ticks);
                for &value in &values {
                    let place = scale.place(value);
                    prop_assert!((0.0..=300.0).contains(&place));
                    let slack = 1e-6 * value;
                    prop_assert!(scale.from <= value + slack && value <= scale.to + slack, "{kind:?}: {value}");
                }
            }
        }
    }
}
