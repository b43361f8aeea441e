//! Weights that a checkpoint lacks, initialised as transformers does (`PreTrainedModel._init_weights`).
//!
//! They are a repo with one file, so that one path brings every weight in, again and again where it must. A value
//! depends on the seed, the tensor's name and the element's place alone, not on what was made before it.

use std::ops::Range;
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, ready};

use crate::checkpoint::TensorInfo;
use crate::hub::{ByteStream, Chunk, HubError, Prefix, Repo};
use crate::tensor::Dtype;

/// The one file that there is.
pub const FILE: &str = "newly initialised weights";

/// Bytes made at a time.
const CHUNK: u64 = 256 << 10;

/// How a new tensor's elements are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Normally distributed around 0: linear layers and embeddings.
    Normal {
        /// The standard deviation, by the config's `initializer_range`.
        std: f32,
        /// A row of zeros: an embedding's padding token.
        zero_row: Option<usize>,
    },
    /// 0: biases.
    Zeros,
    /// 1: the weights of norms.
    Ones,
    /// Sines of a row's number in the first half of its columns and cosines in the second: positions that aren't learned.
    Sinusoids(Sinusoids),
}

/// Wavelengths that grow evenly, column by column, from 2π.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sinusoids {
    /// To one before 10000 · 2π: Marian's.
    Open,
    /// To 10000 · 2π: fairseq's.
    Closed,
}

#[derive(Debug, Clone)]
struct NewTensor {
    info: TensorInfo,
    init: Init,
    seed: u64,
}

/// Weights that no checkpoint has.
#[derive(Debug, Clone)]
pub struct NewWeights {
    seed: u64,
    // Shared with the streams.
    tensors: Rc<Vec<NewTensor>>,
    end: u64,
}

impl NewWeights {
    /// None yet. The same seed gives the same values.
    pub fn new(seed: u64) -> NewWeights {
        NewWeights { seed, tensors: Rc::default(), end: 0 }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// A float32 tensor in the file numbered `file`. `None` where it would be too large for any file.
    pub fn add(&mut self, name: &str, shape: Vec<usize>, init: Init, file: usize) -> Option<TensorInfo> {
        let info = TensorInfo::row_major(Dtype::F32, shape, file, self.end)?;
        self.end = info.range.end;
        Rc::make_mut(&mut self.tensors).push(NewTensor {
            info: info.clone(),
            init,
            seed: hash(self.seed, name.as_bytes()),
        });
        Some(info)
    }

    /// Appends the bytes of `range`, which starts and ends at whole elements.
    fn write(&self, range: Range<u64>, out: &mut Vec<u8>) {
        let after = self.tensors.partition_point(|tensor| tensor.info.range.end <= range.start);
        for tensor in self.tensors.iter().skip(after) {
            let own = &tensor.info.range;
            let part = own.start.max(range.start)..own.end.min(range.end);
            if part.start >= part.end {
                return;
            }
            tensor.write((part.start - own.start) / 4..(part.end - own.start) / 4, out);
        }
    }
}

impl NewTensor {
    fn write(&self, elements: Range<u64>, out: &mut Vec<u8>) {
        let mut push = |value: f32| out.extend(value.to_le_bytes());
        match self.init {
            Init::Zeros => elements.for_each(|_| push(0.0)),
            Init::Ones => elements.for_each(|_| push(1.0)),
            Init::Sinusoids(sinusoids) => {
                let cols = self.info.shape.last().map_or(1, |cols| (*cols).max(1) as u64);
                let half = cols.div_ceil(2);
                let span = match sinusoids {
                    Sinusoids::Open => cols as f64 / 2.0,
                    Sinusoids::Closed => half.saturating_sub(1).max(1) as f64,
                };
                for i in elements {
                    let (row, col) = (i / cols, i % cols);
                    let angle = row as f64 / 10_000f64.powf((col % half) as f64 / span);
                    push(if col < half { angle.sin() } else { angle.cos() } as f32);
                }
            }
            Init::Normal { std, zero_row } => {
                let cols = self.info.shape.last().map_or(1, |cols| (*cols).max(1) as u64);
                let zero = zero_row.map_or(0..0, |row| row as u64 * cols..(row as u64 + 1) * cols);
                let mut pair = (u64::MAX, (0.0, 0.0));
                for i in elements {
                    if pair.0 != i / 2 {
                        pair = (i / 2, normal_pair(self.seed, i / 2));
                    }
                    let (even, odd) = pair.1;
                    let value = if i.is_multiple_of(2) { even } else { odd };
                    push(if zero.contains(&i) { 0.0 } else { std * value });
                }
            }
        }
    }
}

/// Two independent standard normal values (Box and Muller).
fn normal_pair(seed: u64, index: u64) -> (f32, f32) {
    let bits = mix(seed ^ mix(index));
    // From (0, 1], so that the logarithm is finite, and from [0, 1).
    let u = ((bits >> 40) as f32 + 1.0) / (1u32 << 24) as f32;
    let v = (bits & 0xff_ffff) as f32 / (1u32 << 24) as f32;
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = (std::f32::consts::TAU * v).sin_cos();
    (radius * cos, radius * sin)
}

/// splitmix64's finaliser: every bit of the result depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(*byte)))
}

impl NewWeights {
    /// Nobody asks for more than the bytes of a tensor, which the plan knows.
    fn none<T>(path: &str) -> Result<T, HubError> {
        Err(HubError::EntryNotFound { repo: FILE.to_owned(), revision: "memory".to_owned(), path: path.to_owned() })
    }
}

impl Repo for NewWeights {
    fn id(&self) -> &str {
        FILE
    }

    fn read<'a>(&'a self, path: &'a str, _max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        Box::pin(ready(Self::none(path)))
    }

    fn read_prefix<'a>(&'a self, path: &'a str, _max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        Box::pin(ready(Self::none(path)))
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        let bytes = || Box::new(NewBytes { new: self.clone(), rest: range }) as Box<dyn ByteStream>;
        Box::pin(ready(if path == FILE { Ok(bytes()) } else { Self::none(path) }))
    }
}

struct NewBytes {
    new: NewWeights,
    rest: Range<u64>,
}

impl ByteStream for NewBytes {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        let end = self.rest.end.min(self.rest.start.saturating_add(CHUNK));
        if end <= self.rest.start {
            return Box::pin(ready(Ok(None)));
        }
        let mut bytes = Vec::new();
        self.new.write(self.rest.start..end, &mut bytes);
        self.rest.start = end;
        Box::pin(ready(Ok(Some(bytes.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    const NORMAL: Init = Init::Normal { std: 0.02, zero_row: Some(3) };

    fn bytes(repo: &dyn Repo, range: Range<u64>) -> Vec<u8> {
        block_on(async { repo.open(FILE, range).await.unwrap().collect().await.unwrap() })
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// A repo with three new tensors, and where they are.
    fn repo(seed: u64) -> (Rc<dyn Repo>, Vec<TensorInfo>) {
        let mut new = NewWeights::new(seed);
        let tensors = [("a", vec![400, 251], NORMAL), ("b", vec![7], Init::Zeros), ("c", vec![5], Init::Ones)];
        let infos = tensors.map(|(name, shape, init)| new.add(name, shape, init, 2).unwrap());
        (Rc::new(new), infos.to_vec())
    }

    #[test]
    fn distributed_as_asked() {
        let (repo, infos) = repo(1);
        let a = floats(&bytes(&*repo, infos[0].range.clone()));
        assert_eq!(a.len(), 400 * 251);
        assert!(a[3 * 251..4 * 251].iter().all(|value| *value == 0.0));
        let values: Vec<f64> = a.iter().map(|value| f64::from(*value)).filter(|value| *value != 0.0).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let moment = |power| values.iter().map(|value| ((value - mean) / 0.02).powi(power)).sum::<f64>() / n;
        // Four standard errors of each of a normal distribution's moments.
        assert!(mean.abs() < 4.0 * 0.02 / n.sqrt(), "{mean}");
        assert!((moment(2) - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "{}", moment(2));
        assert!(moment(3).abs() < 4.0 * (15.0 / n).sqrt(), "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 4.0 * (96.0 / n).sqrt(), "{}", moment(4));
        assert_eq!(floats(&bytes(&*repo, infos[1].range.clone())), [0.0; 7]);
        assert_eq!(floats(&bytes(&*repo, infos[2].range.clone())), [1.0; 5]);
    }

    #[test]
    fn sinusoids_are_of_rows_and_columns() {
        for (sinusoids, powers) in
            [(Sinusoids::Open, [0.0, 2.0 / 6.0, 4.0 / 6.0]), (Sinusoids::Closed, [0.0, 0.5, 1.0])]
        {
            let mut new = NewWeights::new(1);
            let info = new.add("positions", vec![90, 6], Init::Sinusoids(sinusoids), 0).unwrap();
            let found = floats(&bytes(&new, info.range));
            for (at, found) in found.iter().enumerate() {
                let (row, col) = ((at / 6) as f64, at % 6);
                let angle = row / 10_000f64.powf(powers[col % 3]);
                let expected = if col < 3 { angle.sin() } else { angle.cos() };
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{at}: {found} instead of {expected}");
            }
        }
    }

    #[test]
    fn the_seed_decides_and_the_order_does_not() {
        let (one, infos) = repo(1);
        let (again, _) = repo(1);
        let (other, _) = repo(2);
        let all = 0..infos[2].range.end;
        let whole = bytes(&*one, all.clone());
        assert_eq!(whole, bytes(&*again, all.clone()));
        assert_ne!(whole, bytes(&*other, all));
        for range in [4..400, 100_000..300_012, infos[0].range.end - 4..infos[2].range.end] {
            assert_eq!(bytes(&*one, range.clone()), whole[range.start as usize..range.end as usize], "{range:?}");
        }
    }

    #[test]
    fn absurd_sizes_are_none() {
        let mut new = NewWeights::new(0);
        assert_eq!(new.add("a", vec![usize::MAX, 2], Init::Zeros, 0), None);
        assert!(new.is_empty());
    }
}
