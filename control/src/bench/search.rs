//! Searches for the most that goes without loss, and the curve beyond it: arithmetic, of trials that somebody else makes.

/// What came of a trial at a rate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Tried {
    /// Frames a second that were really sent.
    pub(crate) offered: f64,
    /// And that arrived.
    pub(crate) received: f64,
    /// The part of the frames that did not arrive.
    pub(crate) loss: f64,
}

/// How far a search goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Precision {
    /// The part of the highest rate that two rates have to lie apart to be told apart.
    pub(crate) resolution: f64,
    /// The loss that counts as none: 0 in RFC 2544.
    pub(crate) tolerated: f64,
}

/// What is sent slower than this part of what was asked for was not sent at the rate that was asked for.
pub(crate) const REACHED: f64 = 0.98;

/// The highest rate without loss (RFC 2544 §26.1): what was really sent in the best trial, nothing if there was loss in every one.
/// The first trial is at `most`, or as fast as can be; then the span between the best rate without and the least with loss is halved
/// until it is finer than the precision.
pub(crate) fn throughput<E>(
    most: Option<f64>,
    precision: Precision,
    mut trial: impl FnMut(Option<f64>) -> Result<Tried, E>,
) -> Result<Option<Tried>, E> {
    let first = trial(most)?;
    if first.loss <= precision.tolerated {
        return Ok(Some(first));
    }
    let (mut low, mut high) = (0.0, first.offered);
    // What came through when there was too much is often about what can come through.
    let mut next = if first.received > 0.0 && first.received < high { first.received } else { high / 2.0 };
    let mut best: Option<Tried> = None;
    while high - low > precision.resolution * first.offered {
        let tried = trial(Some(next))?;
        let is_clean = tried.loss <= precision.tolerated;
        if is_clean && best.is_none_or(|best| best.offered < tried.offered) {
            best = Some(tried);
        }
        if is_clean && tried.offered >= REACHED * next {
            low = next;
        } else {
            high = next;
        }
        next = f64::midpoint(low, high);
    }
    Ok(best)
}

/// The longest burst at the highest rate of which nothing is lost (RFC 2544 §26.4), at most `most` frames; trials are told how many to
/// send, and answer whether all arrived.
pub(crate) fn longest_burst<E>(
    most: u64,
    resolution: f64,
    mut trial: impl FnMut(u64) -> Result<bool, E>,
) -> Result<u64, E> {
    if trial(most)? {
        return Ok(most);
    }
    let (mut low, mut high) = (0, most);
    while high - low > 1.max(whole(low as f64 * resolution)) {
        // Bursts differ by powers of ten: go for the length in the middle of those, as long as the span is wide.
        let wide = low > 0 && high / low > 2;
        let next = if wide { whole((low as f64 * high as f64).sqrt()) } else { low.midpoint(high) };
        let next = next.clamp(low + 1, high - 1);
        if trial(next)? {
            low = next;
        } else {
            high = next;
        }
    }
    Ok(low)
}

/// A count, without what is behind the point.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // frames: neither negative nor anywhere near 2⁶⁴
pub(crate) fn whole(count: f64) -> u64 {
    count as u64
}

/// The loss at 100 %, 90 %, … of `most`, down to where two loads one after the other had none (RFC 2544 §26.3).
pub(crate) fn loss_curve<E>(
    most: f64,
    tolerated: f64,
    mut trial: impl FnMut(u32, f64) -> Result<Tried, E>,
) -> Result<Vec<(u32, Tried)>, E> {
    let mut curve = Vec::new();
    let mut clean = 0;
    for percent in (1..=10).rev().map(|tenth| tenth * 10) {
        let tried = trial(percent, most * f64::from(percent) / 100.0)?;
        curve.push((percent, tried));
        clean = if tried.loss <= tolerated { clean + 1 } else { 0 };
        if clean == 2 {
            break;
        }
    }
    Ok(curve)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const EXACT: Precision = Precision { resolution: 0.01, tolerated: 0.0 };

    /// What a device that forwards `capacity` frames a second makes of a generator that makes `limit` at most.
    fn device(capacity: f64, limit: f64) -> impl FnMut(Option<f64>) -> Result<Tried, Infallible> {
        move |asked| {
            let offered = asked.unwrap_or(limit).min(limit);
            let received = offered.min(capacity);
            Ok(Tried { offered, received, loss: 1.0 - received / offered })
        }
    }

    #[test]
    fn a_device_faster_than_the_generator_takes_one_trial() {
        let mut trials = 0;
        let mut device = device(20e6, 5e6);
        let found = throughput(None, EXACT, |asked| {
            trials += 1;
            device(asked)
        });
        assert_eq!((found.unwrap().unwrap().offered, trials), (5e6, 1));
    }

    #[test]
    fn a_device_that_always_loses_has_none() {
        let mut trials = 0;
        let found = throughput(Some(1e6), EXACT, |asked| {
            trials += 1;
            assert!(trials < 20);
            Ok::<_, Infallible>(Tried { offered: asked.unwrap(), received: 1.0, loss: 0.5 })
        });
        assert_eq!(found.unwrap(), None);
    }

    #[test]
    fn a_rate_that_was_not_sent_is_not_claimed() {
        // The generator stalls above 700,000, and loses nothing then.
        let found = throughput(Some(1e6), EXACT, |asked| {
            let asked = asked.unwrap();
            let offered = if asked > 7e5 { 4e5 } else { asked };
            let loss = if asked == 1e6 { 0.1 } else { 0.0 };
            Ok::<_, Infallible>(Tried { offered, received: 9e5 * (1.0 - loss), loss })
        });
        let offered = found.unwrap().unwrap().offered;
        assert!(offered <= 7e5, "{offered}");
    }

    #[test]
    fn the_curve_ends_at_the_second_load_without_loss() {
        for (capacity, last, points) in [(1e6, 90, 2), (7.5e5, 60, 5), (0.5e5, 10, 10)] {
            let mut device = device(capacity, 1e6);
            let curve = loss_curve(1e6, 0.0, |_, rate| device(Some(rate))).unwrap();
            assert_eq!((curve.last().unwrap().0, curve.len()), (last, points), "{capacity}");
            for (percent, tried) in curve {
                let expected = (1.0 - capacity / (1e4 * f64::from(percent))).max(0.0);
                assert!((tried.loss - expected).abs() < 1e-9);
            }
        }
    }

    proptest! {
        #[test]
        fn the_throughput_is_found_to_the_resolution(capacity in 1e4f64..1e7, limit in 1e4f64..1e7) {
            let found = throughput(None, EXACT, device(capacity, limit)).unwrap();
            let expected = capacity.min(limit);
            let found = found.map_or(0.0, |tried| tried.offered);
            prop_assert!(found <= expected && expected - found <= 0.0101 * limit, "{found} for {expected}");
        }

        #[test]
        fn the_longest_burst_is_found(capacity in 0u64..3_000_000) {
            let mut trials = 0;
            let found = longest_burst(2_000_000, 0.01, |frames| {
                trials += 1;
                Ok::<_, Infallible>(frames <= capacity)
            }).unwrap();
            let expected = capacity.min(2_000_000);
            prop_assert!(found <= expected && (expected - found) as f64 <= (expected as f64 * 0.01).max(1.0));
            prop_assert!(trials <= 40, "{trials} trials");
        }
    }
}
