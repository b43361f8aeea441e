//! Against transformers' own processed scores (`tests/goldens/processors.json`), and draws against their probabilities.

use serde_json::Value;

use super::*;

struct Step {
    logits: Vec<f32>,
    scores: Vec<f32>,
    id: Option<u32>,
}

struct Case {
    name: String,
    options: GenerateOptions,
    config: GenerationConfig,
    prompt: Vec<u32>,
    steps: Vec<Step>,
}

impl Case {
    fn chooser(&self, seed: u64) -> Option<Chooser> {
        let options = GenerateOptions { seed: Some(seed), ..self.options.clone() };
        Chooser::new(&options, &self.config, &self.prompt).unwrap()
    }
}

fn row(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().map_or(f32::NEG_INFINITY, |n| n as f32)).collect()
}

fn cases() -> Vec<Case> {
    let golden: Value = serde_json::from_str(include_str!("../../tests/goldens/processors.json")).unwrap();
    let cases: Vec<Case> = golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| Case {
            name: case["name"].as_str().unwrap().to_owned(),
            options: serde_json::from_value(case["options"].clone()).unwrap(),
            config: GenerationConfig::from_json("golden", case["generation_config"].to_string().as_bytes()).unwrap(),
            prompt: serde_json::from_value(case["prompt"].clone()).unwrap(),
            steps: case["steps"]
                .as_array()
                .unwrap()
                .iter()
                .map(|step| Step {
                    logits: row(&step["logits"]),
                    scores: row(&step["scores"]),
                    id: step["id"].as_u64().map(|id| id as u32),
                })
                .collect(),
        })
        .collect();
    assert!(cases.len() > 20 && cases.iter().all(|case| !case.steps.is_empty()));
    cases
}

#[test]
fn what_may_be_said_is_as_transformers_has_it() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/goldens/whisper.json")).unwrap();
    for case in golden["processors"].as_array().unwrap() {
        let ids = |key: &str| serde_json::from_value::<Vec<u32>>(case[key].clone()).unwrap();
        // What a call doesn't say, the repo's file does.
        let config = GenerationConfig {
            suppress_tokens: ids("suppress_tokens"),
            begin_suppress_tokens: ids("begin_suppress_tokens"),
            no_timestamps_token_id: golden["ids"]["<|notimestamps|>"].as_u64().map(|id| id as u32),
            max_initial_timestamp_index: case["max_initial_timestamp_index"].as_u64().map(|at| at as u32),
            eos_token_id: vec![golden["ids"]["<|endoftext|>"].as_u64().unwrap() as u32],
            ..Default::default()
        };
        let options = GenerateOptions { return_timestamps: case["timestamps"].as_bool(), ..Default::default() };
        let mut logits = row(&case["scores"]);
        let masked = ids("masked");
        let Some(mut chooser) = Chooser::new(&options, &config, &[0]).unwrap() else {
            assert!(masked.is_empty());
            continue;
        };
        ids("new_ids").into_iter().for_each(|id| chooser.processors.record(id));
        chooser.processors.apply(&mut logits);
        for (id, (score, given)) in logits.iter().zip(row(&case["scores"])).enumerate() {
            let expected = if masked.contains(&(id as u32)) { f32::NEG_INFINITY } else { given };
            assert_eq!(*score, expected, "{id} in {case}");
        }
    }
}

fn softmax(scores: &[f32]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = scores.iter().map(|score| f64::from(score - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn close(found: f32, expected: f32, tolerance: f32) -> bool {
    found == expected || (found - expected).abs() <= tolerance * expected.abs()
}

/// The scores that the draw is made from, as transformers writes them.
fn scores(chooser: &mut Chooser, logits: &[f32]) -> Vec<f32> {
    let mut row = logits.to_vec();
    chooser.processors.apply(&mut row);
    if let Some(sampler) = &mut chooser.sampler {
        sampler.keep(&row);
        row.fill(f32::NEG_INFINITY);
        for kept in &sampler.kept {
            row[kept.id as usize] = kept.logit / sampler.temperature;
        }
    }
    row
}

#[test]
fn scores_are_transformers() {
    for case in cases() {
        let mut chooser = case.chooser(0);
        for (n, step) in case.steps.iter().enumerate() {
            let name = format!("{}, step {n}", case.name);
            let Some(chooser) = &mut chooser else {
                assert_eq!(step.logits, step.scores, "{name}: something changes the scores");
                continue;
            };
            let found = scores(chooser, &step.logits);
            for (id, (found, expected)) in found.iter().zip(&step.scores).enumerate() {
                assert!(close(*found, *expected, 1e-6), "{name}, id {id}: {found} is not {expected}");
            }
            if let Some(sampler) = &chooser.sampler {
                let total: f32 = sampler.kept.iter().map(|kept| kept.weight).sum();
                let expected = softmax(&step.scores);
                for kept in &sampler.kept {
                    let (found, expected) = (kept.weight / total, expected[kept.id as usize] as f32);
                    assert!(close(found, expected, 1e-5), "{name}, id {}: {found} is not {expected}", kept.id);
                }
            }
            if let Some(id) = step.id {
                chooser.processors.record(id);
            }
        }
    }
}

#[test]
fn greedy_ids_are_transformers() {
    let mut changed = 0;
    for case in cases() {
        if let Some(mut chooser) = case.chooser(0).filter(|chooser| chooser.sampler.is_none()) {
            for step in &case.steps {
                let id = chooser.choose(&mut step.logits.clone());
                assert_eq!(Some(id), step.id, "{}", case.name);
                changed += usize::from(id != likeliest(&step.logits));
            }
        }
    }
    assert!(changed > 3, "the goldens hardly test anything");
}

#[test]
fn nothing_to_change_needs_no_chooser() {
    let config = |json: &str| GenerationConfig::from_json("test", json.as_bytes()).unwrap();
    let none = |options: &str, own: &str| {
        let options = serde_json::from_str(options).unwrap();
        Chooser::new(&options, &config(own), &[1, 2, 3]).unwrap().is_none()
    };
    assert!(none("{}", "{}"));
    assert!(none(r#"{"do_sample": false, "temperature": 0}"#, r#"{"do_sample": true, "top_k": 3}"#));
    assert!(none(r#"{"repetition_penalty": 1}"#, r#"{"repetition_penalty": 1.5}"#));
    assert!(none(r#"{"min_new_tokens": 4}"#, "{}"), "there is no eos to hold back");
    assert!(none(r#"{"min_length": 3, "eos_token_id": 2}"#, "{}"), "the prompt is long enough");
    assert!(none(r#"{"min_new_tokens": 4, "eos_token_id": []}"#, r#"{"eos_token_id": 2}"#));
    assert!(!none(r#"{"min_new_tokens": 4}"#, r#"{"eos_token_id": 2}"#));
    assert!(!none("{}", r#"{"do_sample": true}"#));
}

/// Upper bound of the sum of squares of `degrees` normal deviates, five standard deviations off (Wilson and Hilferty).
fn chi_square_bound(degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + 5.0 * spread.sqrt()).powi(3)
}

#[test]
fn draws_have_transformers_probabilities() {
    const DRAWS: u32 = 6_000;
    for case in cases() {
        let (Some(mut chooser), step) = (case.chooser(11), &case.steps[0]) else { continue };
        let expected = softmax(&step.scores);
        let mut processed = step.logits.clone();
        chooser.processors.apply(&mut processed);
        let Some(sampler) = &mut chooser.sampler else { continue };
        let mut counts = vec![0u32; expected.len()];
        for _ in 0..DRAWS {
            counts[sampler.draw(&processed).unwrap() as usize] += 1;
        }
        // Ids too rare for the test are counted as one.
        let (mut rare, mut statistic, mut bins) = ((0.0, 0.0), 0.0, 0);
        for (id, (count, probability)) in counts.iter().zip(&expected).enumerate() {
            assert!(*count == 0 || *probability > 0.0, "{}: {id} is not among the kept", case.name);
            let (found, wanted) = (f64::from(*count), probability * f64::from(DRAWS));
            if wanted < 10.0 {
                rare = (rare.0 + found, rare.1 + wanted);
            } else {
                statistic += (found - wanted).powi(2) / wanted;
                bins += 1;
            }
        }
        if rare.1 >= 10.0 {
            statistic += (rare.0 - rare.1).powi(2) / rare.1;
            bins += 1;
        }
        assert!(bins > 0);
        if bins > 1 {
            let bound = chi_square_bound(f64::from(bins - 1));
            assert!(statistic < bound, "{}: {statistic} over {bins} bins, at most {bound}", case.name);
        }
    }
}

#[test]
fn the_seed_decides() {
    let text = |seed: Option<u64>| {
        let options = GenerateOptions { do_sample: Some(true), top_k: Some(0), seed, ..Default::default() };
        let mut chooser = Chooser::new(&options, &GenerationConfig::default(), &[0]).unwrap().unwrap();
        (0..40).map(|_| chooser.choose(&mut [0.0; 100])).collect::<Vec<u32>>()
    };
    assert_eq!(text(Some(5)), text(Some(5)));
    assert_ne!(text(Some(5)), text(Some(6)));
    assert_ne!(text(None), text(None));
}

/// `top_p` looks at a few tokens before it looks at more: any number of them must give what a full sort gives.
#[test]
fn top_p_of_a_large_vocabulary() {
    let mut rng = fastrand::Rng::with_seed(3);
    let logits: Vec<f32> = (0..5000).map(|_| rng.f32() * 6.0).collect();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let probabilities = softmax(&logits);
    for top_p in [0.001, 0.02, 0.03, 0.3, 0.9, 0.9999] {
        let mut above = 0.0;
        let mut expected: Vec<u32> = order
            .iter()
            .take_while(|id| {
                let keep = above < top_p;
                above += probabilities[**id];
                keep
            })
            .map(|id| *id as u32)
            .collect();
        let options =
            GenerateOptions { do_sample: Some(true), top_k: Some(0), top_p: Some(top_p), ..Default::default() };
        let mut chooser = Chooser::new(&options, &GenerationConfig::default(), &[0]).unwrap().unwrap();
        let sampler = chooser.sampler.as_mut().unwrap();
        sampler.keep(&logits);
        let mut found: Vec<u32> = sampler.kept.iter().map(|kept| kept.id).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "top_p {top_p}");
    }
}

#[test]
fn logits_that_are_no_numbers() {
    const NAN: f32 = f32::NAN;
    const INF: f32 = f32::INFINITY;
    let rows: [(&[f32], u32); 7] = [
        (&[], 0),
        (&[NAN, NAN], 0),
        (&[-INF, -INF], 0),
        (&[NAN, -INF, 1.0], 2),
        (&[3.0, INF, NAN, 2.0], 1),
        (&[f32::MIN, f32::MAX, -INF], 1),
        (&[-NAN, 0.0, -200.0], 1),
    ];
    for options in [
        r#"{"do_sample": true, "temperature": 1e-40, "top_k": 2, "top_p": 0.7, "min_p": 0.1}"#,
        r#"{"do_sample": true, "top_k": 1}"#,
        r#"{"do_sample": true, "top_p": 1e-300}"#,
        r#"{"do_sample": true, "top_k": 0}"#,
        r#"{"repetition_penalty": 1.0001}"#,
    ] {
        for (row, expected) in rows {
            let options = serde_json::from_str(options).unwrap();
            // A prompt with ids beyond the row, as where the embedding has more of them than the head.
            let mut chooser = Chooser::new(&options, &GenerationConfig::default(), &[0, 999]).unwrap().unwrap();
            assert_eq!(chooser.choose(&mut row.to_vec()), expected, "{row:?} with {options:?}");
        }
    }
}

#[test]
fn values_that_make_no_sense() {
    let sampling = GenerateOptions { do_sample: Some(true), ..Default::default() };
    let refused = |options: GenerateOptions| match Chooser::new(&options, &GenerationConfig::default(), &[0]) {
        Err(error @ GenerationError::Option { option, .. }) => {
            assert_eq!(error.code(), "UNSUPPORTED_OPTION");
            assert!(error.to_string().starts_with(option), "{error}");
            option
        }
        other => panic!("{options:?} gave {other:?}"),
    };
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-60, 1e60] {
        assert_eq!(refused(GenerateOptions { temperature: Some(wrong), ..sampling.clone() }), "temperature");
        let penalty = GenerateOptions { repetition_penalty: Some(wrong), ..Default::default() };
        assert_eq!(refused(penalty), "repetition_penalty");
    }
    for wrong in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(GenerateOptions { top_p: Some(wrong), ..sampling.clone() }), "top_p");
    }
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert_eq!(refused(GenerateOptions { min_p: Some(wrong), ..sampling.clone() }), "min_p");
    }
    let own = GenerationConfig::from_json("test", br#"{"do_sample": true, "temperature": 0.0}"#).unwrap();
    let error = Chooser::new(&GenerateOptions::default(), &own, &[0]).unwrap_err();
    assert!(error.to_string().contains("temperature is 0; give a number above 0"), "{error}");
}

#[test]
fn options_from_json() {
    let parse = |json: &str| serde_json::from_str::<GenerateOptions>(json);
    let eos = |json: &str| parse(json).unwrap().eos_token_id;
    assert_eq!(eos(r#"{"eos_token_id": 2}"#), Some(vec![2]));
    assert_eq!(eos(r#"{"eos_token_id": [2, 5]}"#), Some(vec![2, 5]));
    assert_eq!(eos(r#"{"eos_token_id": []}"#), Some(vec![]));
    assert_eq!(eos(r#"{"eos_token_id": null}"#), None);
    assert_eq!(eos(r#"{"pad_token_id": 0, "seed": 9007199254740991}"#), None);
    let error = parse(r#"{"eos_token_id": "</s>"}"#).unwrap_err().to_string();
    assert!(error.contains("eos_token_id must be a token id or a list of token ids"), "{error}");
    assert!(parse(r#"{"top_k": -1}"#).is_err());
    let error = parse(r#"{"topk": 3}"#).unwrap_err().to_string();
    assert!(error.contains("topk") && error.contains("top_k"), "{error}");
}
