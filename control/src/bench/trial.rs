//! Trials: what is compared is measured by turns, and a trial in which the hypervisor took the CPU does not count.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

/// The share of the machine's time that may be stolen during a trial: the kernel tells in hundredths of a second, of which one in a
/// trial of a quarter of a second is more than this already.
const BEARABLE: f64 = 0.01;

/// How often what is to be measured is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    /// Trials of each case.
    pub(crate) rounds: u32,
    /// Trials of each case beforehand, that do not count.
    pub(crate) warm_up: u32,
}

/// What came of the trials of one case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trials<T> {
    /// In the order they were made.
    pub(crate) kept: Vec<T>,
    pub(crate) disturbed: u32,
}

/// Who says how much CPU time the hypervisor has given to others.
pub(crate) trait StealClock {
    /// All of it, and all CPU time there was, in the same unit; both only grow.
    fn read(&mut self) -> Steal;
}

/// CPU time since the start of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Steal {
    pub(crate) stolen: u64,
    pub(crate) total: u64,
}

impl Steal {
    /// The share that was stolen since `before`.
    pub(crate) fn since(self, before: Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        self.stolen.saturating_sub(before.stolen) as f64 / total.max(1) as f64
    }
}

/// The kernel's account, `/proc/stat` (proc_stat(5)); where there is none, nothing was stolen.
pub(crate) struct ProcStat;

impl StealClock for ProcStat {
    fn read(&mut self) -> Steal {
        fs::read_to_string("/proc/stat").map(|text| parse(&text)).unwrap_or_default()
    }
}

/// The line of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal; what guests get is part of the first two.
fn parse(text: &str) -> Steal {
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).take(8).collect();
    Steal { stolen: ticks.get(7).copied().unwrap_or(0), total: ticks.iter().sum() }
}

/// Makes the trials of `cases` cases by turns: case 0, 1, …, then 0 again, so that whatever drifts does so for all of them. Case and
/// whether it counts are told to `run`. One that was disturbed is thrown away and made up for in a later round; there are at most
/// twice as many rounds for that. It ends early when `stop` is set or `run` fails: what was measured by then stands beside why.
pub(crate) fn interleave<T, E>(
    cases: usize,
    schedule: Schedule,
    steal: &mut impl StealClock,
    stop: &AtomicBool,
    mut run: impl FnMut(usize, bool) -> Result<T, E>,
) -> (Vec<Trials<T>>, Result<(), E>) {
    let mut trials: Vec<_> = (0..cases).map(|_| Trials { kept: Vec::new(), disturbed: 0 }).collect();
    for round in 0..schedule.warm_up + 2 * schedule.rounds {
        let counts = round >= schedule.warm_up;
        for case in 0..cases {
            if stop.load(Ordering::Relaxed) {
                return (trials, Ok(()));
            }
            if trials[case].kept.len() >= schedule.rounds as usize {
                continue;
            }
            let before = steal.read();
            let sample = match run(case, counts) {
                Ok(sample) => sample,
                Err(error) => return (trials, Err(error)),
            };
            let was_disturbed = steal.read().since(before) > BEARABLE;
            match (counts, was_disturbed) {
                // What was going on when the signal came was cut short.
                _ if stop.load(Ordering::Relaxed) => return (trials, Ok(())),
                (false, _) => {}
                (true, true) => trials[case].disturbed += 1,
                (true, false) => trials[case].kept.push(sample),
            }
        }
    }
    (trials, Ok(()))
}

/// Trials that the hypervisor disturbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Disturbed {
    /// Thrown away, and made again.
    pub(crate) discarded: u32,
    /// Taken all the same, for those before were no better.
    pub(crate) taken: u32,
}

/// Trials in a row that are thrown away: a search cannot go on without an answer.
const PATIENCE: u32 = 4;

/// Makes a trial, again while it was disturbed, and counts that.
pub(crate) fn undisturbed<T, E>(
    steal: &mut impl StealClock,
    disturbed: &mut Disturbed,
    mut run: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for _ in 0..PATIENCE {
        let before = steal.read();
        let sample = run()?;
        if steal.read().since(before) <= BEARABLE {
            return Ok(sample);
        }
        disturbed.discarded += 1;
    }
    let before = steal.read();
    let sample = run()?;
    disturbed.taken += u32::from(steal.read().since(before) > BEARABLE);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A hypervisor that steals in these of its readings, two of which are around each trial.
    struct Told {
        readings: u64,
        stolen: u64,
        steals: fn(u64) -> bool,
    }

    impl Told {
        fn new(steals: fn(u64) -> bool) -> Self {
            Self { readings: 0, stolen: 0, steals }
        }
    }

    impl StealClock for Told {
        fn read(&mut self) -> Steal {
            let is_after = self.readings % 2 == 1;
            self.stolen += u64::from(is_after && (self.steals)(self.readings / 2)) * 5;
            self.readings += 1;
            Steal { stolen: self.stolen, total: self.readings * 100 }
        }
    }

    fn order(schedule: Schedule, steals: fn(u64) -> bool) -> (Vec<usize>, Vec<Trials<usize>>) {
        let mut order = Vec::new();
        let stop = AtomicBool::new(false);
        let (trials, done) = interleave(2, schedule, &mut Told::new(steals), &stop, |case, _| {
            order.push(case);
            Ok::<_, Infallible>(order.len() - 1)
        });
        done.unwrap();
        (order, trials)
    }

    #[test]
    fn cases_take_turns_and_what_warms_up_does_not_count() {
        let (order, trials) = order(Schedule { rounds: 3, warm_up: 1 }, |_| false);
        assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(trials[0], Trials { kept: vec![2, 4, 6], disturbed: 0 });
        assert_eq!(trials[1], Trials { kept: vec![3, 5, 7], disturbed: 0 });
    }

    #[test]
    fn a_disturbed_trial_is_counted_and_made_up_for() {
        let (order, trials) = order(Schedule { rounds: 2, warm_up: 0 }, |trial| trial == 1);
        assert_eq!(order, [0, 1, 0, 1, 1]);
        assert_eq!(trials[0], Trials { kept: vec![0, 2], disturbed: 0 });
        assert_eq!(trials[1], Trials { kept: vec![3, 4], disturbed: 1 });
    }

    #[test]
    fn a_machine_that_is_never_left_alone_ends_too() {
        let (order, trials) = order(Schedule { rounds: 2, warm_up: 1 }, |_| true);
        assert_eq!(order.len(), 2 * 5);
        assert_eq!(trials[0], Trials { kept: vec![], disturbed: 4 });
    }

    #[test]
    fn a_trial_of_a_search_is_made_until_nothing_is_stolen_and_not_for_ever() {
        let mut made = 0;
        let mut disturbed = Disturbed::default();
        let mut trial = |steals| {
            undisturbed(&mut Told::new(steals), &mut disturbed, || {
                made += 1;
                Ok::<_, Infallible>(made)
            })
        };
        assert_eq!((trial(|_| false), trial(|trial| trial < 2), trial(|_| true)), (Ok(1), Ok(4), Ok(9)));
        assert_eq!(disturbed, Disturbed { discarded: 6, taken: 1 });
    }

    #[test]
    fn what_was_measured_before_the_end_is_kept() {
        let stop = AtomicBool::new(false);
        let schedule = Schedule { rounds: 5, warm_up: 0 };
        let (trials, done) =
            interleave(2, schedule, &mut Told::new(|_| false), &stop, |case, _| match case {
                1 => Err("no"),
                _ => Ok(7),
            });
        assert_eq!((trials[0].kept.as_slice(), done), ([7].as_slice(), Err("no")));
        let mut made = 0;
        let (trials, done) = interleave(1, schedule, &mut Told::new(|_| false), &stop, |_, _| {
            made += 1;
            stop.store(made == 3, Ordering::Relaxed);
            Ok::<_, Infallible>(made)
        });
        done.unwrap();
        assert_eq!(trials[0].kept, [1, 2]);
    }

    #[test]
    fn the_kernels_account_is_read() {
        let text = "cpu  664501 950340 195092 592928 5279 0 2332 1730 7 9\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        let total = 664_501 + 950_340 + 195_092 + 592_928 + 5279 + 2332 + 1730;
        assert_eq!(parse(text), Steal { stolen: 1730, total });
        assert_eq!(parse(""), Steal::default());
        let now = Steal { stolen: 1740, total: total + 1000 };
        assert_eq!(now.since(parse(text)), 0.01);
    }
}
