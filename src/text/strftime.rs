//! `strftime_now`: the present local time in a template's own format.

use std::fmt::Write as _;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A date and a time of day on the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    year: i64,
    /// From 0.
    month: usize,
    /// From 1.
    day: i64,
    /// From 0, a Sunday.
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// The present time where the page is.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn now() -> Self {
        let now = js_sys::Date::new_0();
        let milliseconds = now.get_time() - now.get_timezone_offset() * 60_000.0;
        Self::from_unix_seconds((milliseconds / 1000.0).floor() as i64)
    }

    /// The present time in UTC: the standard library doesn't know the local zone.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_seconds(i64::try_from(since.as_secs()).unwrap_or_default())
    }

    /// Days to a date as in Howard Hinnant's `civil_from_days`.
    fn from_unix_seconds(seconds: i64) -> Self {
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = (march_month + 2) % 12;
        Self {
            year: year_of_era + era * 400 + i64::from(month < 2),
            month: usize::try_from(month).unwrap_or_default(),
            day: of_year - (153 * march_month + 2) / 5 + 1,
            weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or_default(),
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// Python's `strftime` in the C locale, for the directives that need no time zone. Others are left as they are.
    pub(super) fn format(&self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            let (text, directive) = rest.split_at(at);
            out.push_str(text);
            let unpadded = directive.starts_with("%-");
            let name = directive.chars().nth(if unpadded { 2 } else { 1 });
            let length = at + 1 + usize::from(unpadded) + name.map_or(0, char::len_utf8);
            let field = name.and_then(|name| self.field(name, unpadded));
            out.push_str(field.as_deref().or_else(|| rest.get(at..length)).unwrap_or_default());
            rest = rest.get(length..).unwrap_or_default();
        }
        out + rest
    }

    fn field(&self, directive: char, unpadded: bool) -> Option<String> {
        let name = |names: &[&str], i: usize| names.get(i).map(|name| (*name).to_owned());
        let short = |name: Option<String>| name.and_then(|name| name.get(..3).map(str::to_owned));
        let number = |value: i64, width: usize| {
            let mut out = String::new();
            // Writing to a String can't fail.
            let _ = if unpadded { write!(out, "{value}") } else { write!(out, "{value:0width$}") };
            Some(out)
        };
        let month = i64::try_from(self.month).unwrap_or_default() + 1;
        match directive {
            'Y' => Some(self.year.to_string()),
            'y' => number(self.year.rem_euclid(100), 2),
            'm' => number(month, 2),
            'd' => number(self.day, 2),
            'e' => Some(if unpadded { self.day.to_string() } else { format!("{:2}", self.day) }),
            'H' => number(self.hour, 2),
            'I' => number((self.hour + 11) % 12 + 1, 2),
            'M' => number(self.minute, 2),
            'S' => number(self.second, 2),
            'f' => Some("000000".to_owned()),
            'p' => Some(if self.hour < 12 { "AM" } else { "PM" }.to_owned()),
            'B' => name(&MONTHS, self.month),
            'b' | 'h' => short(name(&MONTHS, self.month)),
            'A' => name(&DAYS, self.weekday),
            'a' => short(name(&DAYS, self.weekday)),
            'w' => Some(self.weekday.to_string()),
            'j' => number(self.day_of_year(), 3),
            'F' => Some(self.format("%Y-%m-%d")),
            'T' | 'X' => Some(self.format("%H:%M:%S")),
            'R' => Some(self.format("%H:%M")),
            'D' | 'x' => Some(self.format("%m/%d/%y")),
            'c' => Some(self.format("%a %b %e %H:%M:%S %Y")),
            'n' => Some("\n".to_owned()),
            't' => Some("\t".to_owned()),
            '%' => Some("%".to_owned()),
            _ => None,
        }
    }

    fn day_of_year(&self) -> i64 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let before =
            [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334].get(self.month).copied().unwrap_or_default();
        before + self.day + i64::from(leap && self.month > 1)
    }
}
