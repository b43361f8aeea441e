//! Attention and what it reads.

use super::*;
use crate::tensor::ops::Relative;
use crate::tensor::relative::Buckets;

async fn attend() {
    let random = &mut Random(5);
    let mut sample = Sample(0);
    for device in devices().await {
        // Heads, their sizes, the rope, the window, the soft cap and the norms, of each head or of all: each in every form
        // once.
        let rotary = |table, tables, dim, neighbours| Some(Rotary { table, tables, dim, neighbours });
        let whole = |dim| rotary(0, 1, dim, false);
        for (heads, kv_heads, head_dim, rotary, window, softcap, each) in [
            (6, 2, 12, whole(12), None, None, None),
            (9, 3, 64, whole(64), None, None, None),
            (4, 4, 20, None, Some(16), None, Some(false)),
            (2, 1, 256, whole(256), Some(64), Some(0.7), Some(true)),
            (7, 1, 8, whole(8), None, Some(1.5), None),
            (6, 2, 16, rotary(1, 2, 16, false), Some(1), None, None),
            (4, 2, 24, rotary(0, 2, 16, false), Some(35), None, Some(true)),
            (4, 2, 24, rotary(0, 1, 12, false), None, None, Some(true)),
            (20, 5, 32, whole(32), None, None, Some(false)),
            (6, 2, 12, rotary(0, 1, 12, true), None, None, None),
            (4, 2, 24, rotary(1, 2, 16, true), Some(35), None, Some(true)),
        ] {
            let scale = 1.0 / (head_dim as f32).sqrt();
            let attention = Attention {
                layer: 0,
                heads,
                kv_heads,
                head_dim,
                scale,
                softcap,
                kind: AttentionKind::Causal,
                window,
                rotary,
                relative: None,
            };
            for (tokens, causal) in [(1, true), (37, true), (130, true), (1, false), (37, false), (130, false)] {
                if sample.skips(13) {
                    continue;
                }
                let kind = if causal { AttentionKind::Causal } else { AttentionKind::Bidirectional };
                let attention = Attention { kind, ..attention };
                attention_case(Case::new(&device, tokens, Mode::Prefill), random, attention, each, None).await;
            }
            let tuning = Tuning::of(device.0.capabilities());
            let split = Some(Splits { span: 9, groups: 7 * kv_heads as u32 });
            for (position, splits) in [(0, None), (77, None), (0, split), (20, split), (150, split)] {
                if sample.skips(13) {
                    continue;
                }
                let mut case = Case::new(&device, 1, Mode::Decode);
                case.position = position;
                case.tuning = Some(Tuning { splits, ..tuning.clone() });
                attention_case(case, random, attention, each, None).await;
            }
        }
    }
}
device_test!(attention_equals_float64, attend());

/// Scores that know how far a key is, up to beyond the last bucket.
async fn attend_by_distance() {
    let random = &mut Random(16);
    let buckets = |count, max_distance| Some(Buckets { count, max_distance });
    for device in devices().await {
        for (heads, kv_heads, head_dim, window, softcap, buckets) in [
            (3, 3, 12, None, None, buckets(16, 128)),
            (6, 2, 20, None, Some(1.5), buckets(4, 9)),
            (4, 1, 64, Some(16), None, buckets(6, 100)),
        ] {
            for (kind, mode, tokens, position) in [
                (AttentionKind::Bidirectional, Mode::Prefill, 150, 0),
                (AttentionKind::Bidirectional, Mode::Decode, 1, 0),
                (AttentionKind::Causal, Mode::Prefill, 37, 0),
                (AttentionKind::Causal, Mode::Decode, 1, 140),
            ] {
                let (scale, rotary) = (0.7, None);
                // The table comes with the case.
                let relative = None;
                let attention =
                    Attention { layer: 0, heads, kv_heads, head_dim, scale, softcap, kind, window, rotary, relative };
                let mut case = Case::new(&device, tokens, mode);
                case.position = position;
                attention_case(case, random, attention, None, buckets).await;
            }
        }
    }
}
device_test!(attention_by_distance_equals_float64, attend_by_distance());

/// Runs a case over a random cache and checks what was appended and what was attended to.
async fn attention_case(
    mut case: Case,
    random: &mut Random,
    mut attention: Attention,
    each: Option<bool>,
    buckets: Option<Buckets>,
) {
    let Attention { heads, kv_heads, head_dim, scale, softcap, kind, window, rotary, .. } = attention;
    let causal = kind == AttentionKind::Causal;
    let (tokens, position) = (case.tokens, case.position);
    let width = (heads + 2 * kv_heads) * head_dim;
    let qkv = random.values(tokens * width);
    let half = rotary.map_or(0, |rotary| rotary.dim / 2);
    let (table, tables) = rotary.map_or((0, 1), |rotary| (rotary.table, rotary.tables));
    let neighbours = rotary.is_some_and(|rotary| rotary.neighbours);
    let angles: Vec<f64> = (0..tokens * tables * half).map(|_| random.next() * 3.0).collect();
    let pairs: Vec<f32> = angles.iter().flat_map(|a| [a.cos() as f32, a.sin() as f32]).collect();
    let before = position * kv_heads * head_dim;
    case.cache = [0, 1].map(|_| random.values(before).into_iter().map(|v| kept(v, Storage::F16)).collect());
    let bytes = (position + tokens) * kv_heads * head_dim * 2;
    let norm = each.map(|each| {
        let widths = [heads, kv_heads].map(|heads| if each { head_dim } else { heads * head_dim });
        let [q, k] = widths.map(|width| RmsNorm { weight: case.weight(random, width, 1, Storage::F32), eps: 1e-3 });
        QkNorm { q, k, heads, kv_heads, head_dim, each }
    });
    attention.relative = buckets.map(|buckets| {
        let sides = if causal { 1 } else { 2 };
        Relative { table: case.weight(random, sides * buckets.count * heads, 1, Storage::F32), buckets }
    });
    let ran = case.run(&qkv, width, bytes, &pairs, &[], |ops, x| match &norm {
        Some(norm) => ops.qk_norm_attention(x, norm, &attention).unwrap(),
        None => ops.attention(x, &attention).unwrap(),
    });
    let ran = ran.await;
    let split = case.mode == Mode::Decode && case.tuning.as_ref().is_some_and(|tuning| tuning.splits.is_some());
    if split && buckets.is_none() && rotary.is_none_or(|rotary| rotary.dim.is_multiple_of(8)) {
        assert_eq!(ran.dispatches, 2, "norms, rotations and the cache are part of one token's attention");
    }
    let normed: Vec<f64> = match &norm {
        Some(norm) => qkv.chunks(width).flat_map(|row| qk_normed(row, norm, &case.weights)).collect(),
        None => qkv.iter().map(|v| f64::from(*v)).collect(),
    };

    let rotate = |token: usize, head: usize| -> Vec<f64> {
        let at = |d: usize| normed[token * width + head * head_dim + d];
        let turn = |d: usize| angles[(token * tables + table) * half + d % half];
        (0..head_dim)
            .map(|d| match d {
                _ if d < 2 * half && neighbours => {
                    let angle = angles[(token * tables + table) * half + d / 2];
                    let sine = if d % 2 == 0 { -angle.sin() } else { angle.sin() };
                    at(d) * angle.cos() + at(d ^ 1) * sine
                }
                _ if d < half => at(d) * turn(d).cos() - at(d + half) * turn(d).sin(),
                _ if d < 2 * half => at(d) * turn(d).cos() + at(d - half) * turn(d).sin(),
                _ => at(d),
            })
            .collect()
    };
    let half_off = f64::from(f16::EPSILON.to_f32()) * 0.5 * 1.01;
    let [mut expected_keys, mut expected_values] =
        case.cache.clone().map(|kept| kept.into_iter().map(|v| (f64::from(v), 0.0)).collect::<Vec<_>>());
    for token in 0..tokens {
        for kv in 0..kv_heads {
            // Half of a float16's last place: as it is up to 2, twice that up to 4.
            let off = |k: f64| half_off * k.abs().max(1.0).log2().floor().exp2();
            expected_keys.extend(rotate(token, heads + kv).into_iter().map(|k| (k, off(k))));
            let first = token * width + (heads + kv_heads + kv) * head_dim;
            expected_values.extend(qkv[first..first + head_dim].iter().map(|v| (f64::from(*v), half_off)));
        }
    }
    close("keys", &ran.keys, &expected_keys);
    close("values", &ran.values, &expected_values);

    // From here on the reference takes the cache as it was written: its rounding is checked above.
    let mut expected = Vec::new();
    for token in 0..tokens {
        for head in 0..heads {
            let kv = head / (heads / kv_heads);
            let q = rotate(token, head);
            let cached = |from: &[f32], key: usize| -> Vec<f64> {
                let first = (key * kv_heads + kv) * head_dim;
                from[first..first + head_dim].iter().map(|v| f64::from(*v)).collect()
            };
            let score = |key| cached(&ran.keys, key).iter().zip(&q).map(|(k, q)| k * q).sum::<f64>() * f64::from(scale);
            let own = position + token;
            // All that are seen before the window is looked at, and those on either side of it.
            let seen = if causal { 0..=own } else { 0..=position + tokens - 1 };
            let (before, behind) = window.map_or((own, tokens), |w| if causal { (w - 1, 0) } else { (w, w) });
            let seen: Vec<usize> = seen.filter(|key| key + before >= own && *key <= own + behind).collect();
            let first = seen[0];
            let capped = |s: f64| softcap.map_or(s, |cap| f64::from(cap) * (s / f64::from(cap)).tanh());
            let bias = |key: usize| {
                let Some(Relative { table, buckets }) = attention.relative else { return 0.0 };
                let behind = if key > own { buckets.count } else { 0 };
                f64::from(case.weights[table.0].values[(behind + buckets.of(key.abs_diff(own))) * heads + head])
            };
            let scores: Vec<f64> = seen.iter().map(|key| capped(score(*key)) + bias(*key)).collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut y = vec![0.0; head_dim];
            for (key, weight) in weights.iter().enumerate() {
                y.iter_mut().zip(cached(&ran.values, first + key)).for_each(|(y, v)| *y += weight / sum * v);
            }
            expected.extend(y.into_iter().map(|y| (y, 2e-5)));
        }
    }
    close(&format!("{attention:?} of {tokens} at {position}"), &ran.y, &expected);
}

/// What is remembered of all tokens is attended to by each of them, whichever come behind it.
async fn remembered() {
    let random = &mut Random(14);
    for device in devices().await {
        for (tokens, mode) in [(1, Mode::Decode), (1, Mode::Prefill), (9, Mode::Prefill)] {
            let (heads, kv_heads, head_dim, inputs) = (6, 2, 12, 20);
            let mut case = Case::new(&device, tokens, mode);
            let (q, kv) = (heads * head_dim, 2 * kv_heads * head_dim);
            let [q, kv] = [q, kv].map(|outputs| {
                let weight = case.weight(random, outputs, inputs, Storage::F32);
                Linear { weight, bias: None, inputs, outputs }
            });
            let kind = AttentionKind::Cross;
            let (scale, softcap, window, rotary) = (0.4, None, None, None);
            let attention =
                Attention { layer: 0, heads, kv_heads, head_dim, scale, softcap, kind, window, rotary, relative: None };
            let x = random.values(tokens * inputs);
            let bytes = tokens * kv_heads * head_dim * 2;
            let ran = case.run(&x, inputs, bytes, &[], &[], |ops, x| {
                let kv = ops.linear(x, &kv).unwrap();
                ops.remember(kv, &attention).unwrap();
                let q = ops.linear(x, &q).unwrap();
                ops.attention(q, &attention).unwrap()
            });
            let ran = ran.await;
            let product = |token: usize, row: usize, weight: &Weight| -> f64 {
                let terms = x[token * inputs..][..inputs].iter().zip(&weight.values[row * inputs..]);
                terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
            };
            let mut expected = Vec::new();
            for token in 0..tokens {
                for head in 0..heads {
                    let of = |key: usize, d: usize, from: &[f32]| {
                        f64::from(from[(key * kv_heads + head / (heads / kv_heads)) * head_dim + d])
                    };
                    let score = |key: usize| -> f64 {
                        let q = |d| product(token, head * head_dim + d, &case.weights[0]);
                        (0..head_dim).map(|d| q(d) * of(key, d, &ran.keys)).sum::<f64>() * f64::from(scale)
                    };
                    let scores: Vec<f64> = (0..tokens).map(|key| score(key).exp()).collect();
                    let sum: f64 = scores.iter().sum();
                    for d in 0..head_dim {
                        let value = |key: usize| scores[key] / sum * of(key, d, &ran.values);
                        expected.push(((0..tokens).map(value).sum(), 2e-5));
                    }
                }
            }
            close("attention to what is remembered", &ran.y, &expected);
            let half = kv_heads * head_dim;
            for token in 0..tokens {
                for d in 0..half {
                    let [k, v] = [d, half + d].map(|row| product(token, row, &case.weights[1]));
                    let off = |kept: f32, value: f64| (f64::from(kept) - value).abs() / value.abs().max(1.0);
                    assert!(off(ran.keys[token * half + d], k) < 1e-3 && off(ran.values[token * half + d], v) < 1e-3);
                }
            }
        }
    }
}
device_test!(what_is_remembered_is_attended_to, remembered());
