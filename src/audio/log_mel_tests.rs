use serde_json::Value;

use super::*;

/// What rounding may differ by: transformers' spectra are complex64, and the logarithms float32.
const TOLERANCE: f64 = 2e-6;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/log_mel.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn count(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap() as usize
}

/// As `log_mel.py` makes them.
fn signal(described: &Value, rate: usize) -> Vec<f32> {
    let samples = count(described, "samples");
    match described["kind"].as_str().unwrap() {
        "silence" => vec![0.0; samples],
        "sweep" => {
            let whole = samples as f64 / rate as f64;
            let wave = |seconds: f64| {
                0.6 * (std::f64::consts::TAU * (100.0 * seconds + 3450.0 * seconds * seconds / whole)).sin()
            };
            (0..samples).map(|at| wave(at as f64 / rate as f64) as f32).collect()
        }
        "noise" => {
            let mut seed = count(described, "seed") as u32;
            let mut next = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            (0..samples).map(|_| next()).collect()
        }
        other => panic!("{other}"),
    }
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn spectrograms_equal_transformers() {
    let golden = golden();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let config = FeatureExtractorConfig::from_json(name, case["config"].to_string().as_bytes()).unwrap();
        let samples = signal(&case["signal"], config.sampling_rate);
        let found = LogMel::new(&config).extract(&samples).unwrap();
        assert_eq!(floats(&case["shape"]), [found.bands as f64, found.frames as f64], "{name}");
        assert_eq!(found.data.len(), found.bands * found.frames, "{name}");
        assert_eq!(found.frames, config.frames(), "{name}");
        for (at, expected) in case["frames"].as_object().unwrap() {
            let frame: usize = at.parse().unwrap();
            for (band, expected) in floats(expected).into_iter().enumerate() {
                let value = f64::from(found.data[band * found.frames + frame]);
                assert!((value - expected).abs() < TOLERANCE, "{name}: {value}, not {expected} in {band}, {frame}");
            }
        }
        for (band, expected) in floats(&case["sums"]).into_iter().enumerate() {
            let row = &found.data[band * found.frames..][..found.frames];
            let sum: f64 = row.iter().map(|value| f64::from(*value)).sum();
            let most = TOLERANCE * found.frames as f64;
            assert!((sum - expected).abs() < most, "{name}: {sum}, not {expected} in all of {band}");
        }
    }
}

#[test]
fn what_was_heard_before_does_not_matter() {
    let config = FeatureExtractorConfig { chunk_length: 1, ..Default::default() };
    let mut used = LogMel::new(&config);
    used.extract(&[0.5; 9000]).unwrap();
    assert_eq!(used.extract(&[0.25; 300]), LogMel::new(&config).extract(&[0.25; 300]));
}

#[test]
fn samples_that_are_no_numbers_are_refused() {
    let mut features = LogMel::new(&FeatureExtractorConfig::default());
    for value in [f32::NAN, f32::INFINITY] {
        let error = features.extract(&[0.0, value]).unwrap_err();
        assert_eq!(error.code(), "AUDIO");
        assert!(error.to_string().starts_with("the sample 1 of the audio is "), "{error}");
    }
}

/// How long 30 seconds take: `cargo test --release --lib thirty_seconds -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn thirty_seconds() {
    let config = FeatureExtractorConfig { feature_size: 128, ..Default::default() };
    let samples = signal(&serde_json::json!({"kind": "noise", "samples": 480_000, "seed": 1}), 16_000);
    let mut features = LogMel::new(&config);
    for _ in 0..5 {
        let start = std::time::Instant::now();
        features.extract(&samples).unwrap();
        println!("{:?}", start.elapsed());
    }
}
