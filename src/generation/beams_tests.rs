//! What transformers finds on models is in `tests/goldens/beams.json`; here is what no model shows.

use super::*;

fn search(options: GenerateOptions) -> Beams {
    Beams::new(&options, &GenerationConfig::default(), &[7]).unwrap()
}

/// So many beams, and new tokens at most.
fn wished(beams: usize, most: usize) -> GenerateOptions {
    GenerateOptions { num_beams: Some(beams), max_new_tokens: Some(most), ..Default::default() }
}

/// Logarithms of what is as likely as these say.
fn row(likely: &[f32]) -> Vec<f32> {
    likely.iter().map(|p| p.ln()).collect()
}

#[test]
fn the_likeliest_text_need_not_begin_with_the_likeliest_token() {
    let mut beams = search(wished(2, 2));
    assert_eq!(beams.advance(&mut vec![row(&[0.6, 0.4, 0.0]); 2]), Some(vec![0, 0]));
    assert_eq!(beams.last_ids(), [0, 1]);
    // 0.6 · 0.4 of the one, 0.4 · 0.9 of the other.
    assert_eq!(beams.advance(&mut [row(&[0.3, 0.3, 0.4]), row(&[0.05, 0.05, 0.9])]), None);
    let found = beams.into_best();
    assert_eq!(found[0].0, [1, 2]);
    assert!((found[0].1 - 0.36f32.ln() / 2.0).abs() < 1e-6, "{found:?}");
    assert_eq!(found.len(), 1);
}

#[test]
fn a_text_that_ends_makes_room_for_another() {
    let options = GenerateOptions { eos_token_id: Some(vec![2]), num_return_sequences: Some(2), ..wished(2, 3) };
    let mut beams = search(GenerateOptions { early_stopping: Some(EarlyStopping::AtOnce), ..options.clone() });
    // Of the two likeliest, one ends; the third goes on in its place.
    assert_eq!(beams.advance(&mut vec![row(&[0.5, 0.1, 0.4]); 2]), Some(vec![0, 0]));
    assert_eq!(beams.last_ids(), [0, 1]);
    // The second whole text ends the search, whatever could come.
    assert_eq!(beams.advance(&mut [row(&[0.1, 0.1, 0.8]), row(&[0.9, 0.1, 0.0])]), None);
    let texts: Vec<Vec<u32>> = beams.into_best().into_iter().map(|(new, _)| new).collect();
    assert_eq!(texts, [vec![0, 2], vec![2]]);
}

#[test]
fn what_is_no_number_is_never_chosen() {
    let mut beams = search(wished(2, 2));
    beams.advance(&mut vec![vec![f32::NAN, 1.0, f32::NEG_INFINITY, 0.0]; 2]).unwrap();
    assert_eq!(beams.last_ids(), [1, 3]);
    beams.advance(&mut vec![vec![f32::NAN; 4]; 2]);
    assert!(beams.into_best().iter().all(|(_, score)| !score.is_nan()));
    // A vocabulary of fewer tokens than are looked at.
    let mut beams = search(wished(4, 3));
    while beams.advance(&mut vec![vec![0.0]; 4]).is_some() {}
    assert_eq!(beams.into_best()[0].0, [0, 0, 0]);
}

#[test]
fn what_transformers_refuses_is_refused() {
    let of = |options: GenerateOptions, config: &str| {
        let config = GenerationConfig::from_json("generation_config.json", config.as_bytes())?;
        Ok::<_, crate::Error>(Beams::new(&options, &config, &[7]).map(|_| ())?)
    };
    let refused = |options, config: &str, part: &str| {
        let error = of(options, config).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(["UNSUPPORTED_OPTION", "CONFIG_INVALID"].contains(&error.code()), "{error}");
    };
    refused(wished(0, 1), "{}", "num_beams is 0");
    refused(
        GenerateOptions { num_beams: None, ..wished(1, 1) },
        r#"{"num_beams": 4000000000}"#,
        "num_beams is 4000000000",
    );
    refused(GenerateOptions { num_return_sequences: Some(3), ..wished(2, 1) }, "{}", "num_return_sequences is 3");
    refused(wished(2, 0), "{}", "max_new_tokens is 0");
    refused(wished(2, 1), r#"{"do_sample": true}"#, "do_sample");
    refused(wished(2, 1), r#"{"early_stopping": 1}"#, "never");
    let own = r#"{"num_beams": 3, "num_return_sequences": 3, "early_stopping": "never", "length_penalty": 0.5}"#;
    of(GenerateOptions { max_new_tokens: Some(1), ..Default::default() }, own).unwrap();
    let wrong = serde_json::from_str::<GenerateOptions>(r#"{"early_stopping": "soon"}"#).unwrap_err();
    assert!(wrong.to_string().contains("never"), "{wrong}");
}
