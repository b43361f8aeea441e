//! When to ask again: huggingface_hub's schedule, spread out.

use std::time::Duration;

/// Waits between tries: 1, 2, 4, 8, 8 times the first.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    tried: usize,
    limit: usize,
}

impl Backoff {
    const STEPS: [u32; 5] = [1, 2, 4, 8, 8];
    /// The longest wait that an answer may ask for.
    const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
    /// Streams that failed together, and pages too, must not all come back together. It only ever adds, so that nobody
    /// comes back sooner than was asked.
    const JITTER: f64 = 0.25;

    /// For a file's bytes.
    pub(super) fn patient(first: Duration) -> Self {
        Backoff { first, tried: 0, limit: Self::STEPS.len() }
    }

    /// For the first contact: a wrong address should be said soon.
    pub(super) fn brief(first: Duration) -> Self {
        Backoff { first, tried: 0, limit: 2 }
    }

    /// How long to wait before the next try; `None` when there have been enough. `random` is in 0..1.
    pub(super) fn next(&mut self, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
        let wait = self.first.saturating_mul(*Self::STEPS.get(..self.limit)?.get(self.tried)?);
        self.tried += 1;
        let wait = retry_after.unwrap_or_default().min(Self::MAX_RETRY_AFTER).max(wait);
        Some(wait.mul_f64(1.0 + Self::JITTER * random.clamp(0.0, 1.0)))
    }

    /// Tries since the last progress.
    pub(super) fn tried(&self) -> usize {
        self.tried
    }

    /// Progress: the next failure is a first one again.
    pub(super) fn reset(&mut self) {
        self.tried = 0;
    }
}

/// Whether asking again may help. 501 and 505 are what the server is like.
pub(super) fn is_retryable(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599) && !matches!(status, 501 | 505)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        let seconds = |n| Some(Duration::from_secs(n));
        let mut backoff = Backoff::patient(Duration::from_secs(1));
        let waits: Vec<u64> = std::iter::from_fn(|| backoff.next(None, 0.0)).map(|d| d.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8]);
        backoff.reset();
        assert_eq!(backoff.next(seconds(5), 0.0), seconds(5));
        assert_eq!(backoff.next(seconds(1), 0.0), seconds(2));
        assert_eq!(backoff.next(seconds(100_000), 0.0), seconds(60));
        assert_eq!(backoff.tried(), 3);
    }

    #[test]
    fn jitter_only_adds() {
        let wait = |retry_after, random| Backoff::patient(Duration::from_secs(1)).next(retry_after, random).unwrap();
        assert_eq!(wait(None, 0.5), Duration::from_millis(1125));
        assert_eq!(wait(Some(Duration::from_secs(8)), 1.0), Duration::from_secs(10));
        assert_eq!(wait(None, f64::NAN.max(0.0)), Duration::from_secs(1));
    }

    #[test]
    fn statuses() {
        for status in [408, 429, 500, 502, 503, 504, 520, 529] {
            assert!(is_retryable(status), "{status}");
        }
        for status in [200, 206, 304, 400, 401, 403, 404, 416, 501, 505] {
            assert!(!is_retryable(status), "{status}");
        }
    }
}
