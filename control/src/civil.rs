//! The time as people write it.

/// `text` with this time, in UTC, in place of strftime's %Y %m %d %H %M %S %s and %%.
pub(crate) fn utc(text: &str, unix_seconds: u64) -> String {
    let (day, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, date) = civil(day);
    let mut timed = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let (number, digits) = match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('Y')) => (year, 4),
            ('%', Some('m')) => (month, 2),
            ('%', Some('d')) => (date, 2),
            ('%', Some('H')) => (second / 3600, 2),
            ('%', Some('M')) => (second / 60 % 60, 2),
            ('%', Some('S')) => (second % 60, 2),
            ('%', Some('s')) => (unix_seconds, 0),
            ('%', Some('%') | None) => {
                timed.push('%');
                continue;
            }
            ('%', Some(other)) => {
                timed.extend(['%', other]);
                continue;
            }
            _ => {
                timed.push(c);
                continue;
            }
        };
        timed += &format!("{number:0digits$}");
    }
    timed
}

/// Year, month and day of the month of a day since 1970, in the Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of one.
fn civil(day: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let day = day + 719_468; // since 1 March of the year 0
    let (era, day) = (day / DAYS_IN_400_YEARS, day % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_the_time() {
        for (unix_seconds, name) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_251_199, "20240229-235959"),
            (1_795_366_861, "20261122-170101"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(utc("%Y%m%d-%H%M%S", unix_seconds), name);
        }
        assert_eq!(utc("a%%b%s%x%", 7), "a%b7%x%");
    }
}
