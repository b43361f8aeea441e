//! How fast the devices are, as measured while they work: what decides whether weights in CPU memory go to the GPU for many
//! tokens, or are computed with where they are.

use std::cell::Cell;

/// Of what is measured, how much the last time counts.
const LAST: f64 = 0.5;

/// Rates a millisecond. Work is bytes of weights times tokens: a floating-point operation of a weight in half precision.
#[derive(Debug)]
pub struct Rates {
    cpu: Cell<f64>,
    gpu: Cell<f64>,
    /// Bytes that come to the GPU.
    upload: Cell<f64>,
}

impl Rates {
    /// What is usual until something is measured.
    pub(super) fn new(is_software: bool) -> Rates {
        // A software GPU computes on the same cores, without wasm's SIMD but in its own way.
        let gpu = if is_software { 5.0e6 } else { 1.0e9 };
        Rates { cpu: Cell::new(3.0e7), gpu: Cell::new(gpu), upload: Cell::new(2.0e6) }
    }

    /// Whether weights of `bytes` are sooner on the GPU and through so many tokens there than through them on the CPU.
    ///
    /// For a single token they never are: bringing them there reads them once, as computing does.
    pub(super) fn favour_streaming(&self, bytes: u64, tokens: usize) -> bool {
        let (bytes, tokens) = (bytes as f64, tokens as f64);
        bytes / self.upload.get() + bytes * tokens / self.gpu.get() < bytes * tokens / self.cpu.get()
    }

    /// The CPU took `ms` for this.
    pub fn note_cpu(&self, bytes: u64, tokens: usize, ms: f64) {
        note(&self.cpu, bytes as f64 * tokens as f64, ms);
    }

    /// The GPU took `ms` for `bytes` of weights, of which `streamed` had to come there first.
    pub fn note_gpu(&self, bytes: u64, streamed: u64, tokens: usize, ms: f64) {
        let work = bytes as f64 * tokens as f64;
        if streamed == 0 {
            return note(&self.gpu, work, ms);
        }
        // What computing doesn't explain was the way there; where it explains all, it was faster than was thought.
        let computing = work / self.gpu.get();
        if computing < ms {
            note(&self.upload, streamed as f64, ms - computing);
        } else {
            note(&self.gpu, work, ms);
        }
    }
}

fn note(rate: &Cell<f64>, work: f64, ms: f64) {
    // Clocks are coarse.
    if ms >= 1.0 && work > 0.0 {
        rate.set(rate.get() * (1.0 - LAST) + work / ms * LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_decides() {
        let rates = Rates::new(false);
        let bytes = 7_000_000;
        // 3.5 ms of way to a GPU; a CPU that needs 0.23 ms a token.
        assert!(!rates.favour_streaming(bytes, 1));
        assert!(!rates.favour_streaming(bytes, 8));
        assert!(rates.favour_streaming(bytes, 32));
        // The way turns out to be slow.
        (0..8).for_each(|_| rates.note_gpu(bytes, bytes, 32, 100.0));
        assert!(!rates.favour_streaming(bytes, 32));
        assert!(rates.favour_streaming(bytes, 1000));
        // And so does the CPU.
        (0..8).for_each(|_| rates.note_cpu(bytes, 32, 500.0));
        assert!(rates.favour_streaming(bytes, 32));
        // A software GPU that is slower than the CPU never pays.
        assert!(!Rates::new(true).favour_streaming(bytes, 100_000));
    }
}
