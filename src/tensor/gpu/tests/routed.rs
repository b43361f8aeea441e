//! The ops of a mixture of experts against float64 references: on widths that end in the middle of a quad, for tokens in any
//! order.

use super::*;

/// Some of the tokens in no order, each with a weight.
fn routes(random: &mut Random, tokens: usize, routed: usize) -> Vec<Route> {
    let step = (1..).map(|step| 2 * step + 1).find(|step| !tokens.is_multiple_of(*step)).unwrap();
    let token = |nth: usize| ((nth * step + 1) % tokens) as u32;
    (0..routed).map(|nth| Route { token: token(nth), weight: random.next() as f32 }).collect()
}

async fn beside_and_columns() {
    let random = &mut Random(41);
    for device in devices().await {
        for (mode, tokens) in MODES {
            for (width, first, part) in [(72, 0, 36), (75, 25, 50), (150, 75, 75), (10, 7, 3)] {
                let x = random.values(tokens * width);
                let case = Case::new(&device, tokens, mode);
                let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.columns(x, first, part).unwrap()).await;
                let expected = x.chunks(width).flat_map(|row| &row[first..first + part]);
                let expected: Vec<_> = expected.map(|x| (f64::from(*x), 0.0)).collect();
                close(&format!("{tokens}: {part} of {width} from {first}"), &ran.y, &expected);

                let both = |ops: &mut Recorder<'_>, x| {
                    let part = ops.columns(x, first, part).unwrap();
                    ops.beside(x, part).unwrap()
                };
                let ran = case.run(&x, width, 0, &[], &[], both).await;
                let expected = x.chunks(width).flat_map(|row| row.iter().chain(&row[first..first + part]));
                let expected: Vec<_> = expected.map(|x| (f64::from(*x), 0.0)).collect();
                close(&format!("{tokens}: {width} and {part}"), &ran.y, &expected);
            }
        }
    }
}
device_test!(rows_side_by_side_and_parts_of_rows_equal_float64, beside_and_columns());

async fn routed() {
    let random = &mut Random(42);
    for device in devices().await {
        for (mode, tokens, count) in
            [(Mode::Decode, 1, 1), (Mode::Prefill, 1, 1), (Mode::Prefill, 37, 1), (Mode::Prefill, 37, 21)]
        {
            for (width, first, part) in [(72, 36, 36), (150, 75, 75)] {
                let routes = routes(random, tokens, count);
                let what = format!("{count} of {tokens} tokens, {part} of {width} from {first}");
                let x = random.values(tokens * width);
                let row = |token: u32| &x[token as usize * width..][..width];
                let case = Case { routes: routes.clone(), ..Case::new(&device, tokens, mode) };
                let ran = case.run(&x, width, 0, &[], &[], |ops, x| ops.routed(x, first, part).unwrap()).await;
                let expected = routes.iter().flat_map(|route| &row(route.token)[first..first + part]);
                let expected: Vec<_> = expected.map(|x| (f64::from(*x), 0.0)).collect();
                close(&what, &ran.y[..count * part], &expected);
                assert!(ran.y[count * part..].iter().all(|y| y.is_nan()), "{what}: nothing else is written");

                // Each token's part is added to its own row; all others' rows are as they were.
                let add = |ops: &mut Recorder<'_>, x| {
                    let part = ops.routed(x, first, part).unwrap();
                    ops.add_routed(x, part).unwrap()
                };
                let ran = case.run(&x, width, 0, &[], &[], add).await;
                let mut expected: Vec<(f64, f64)> = x.iter().map(|x| (f64::from(*x), 0.0)).collect();
                for Route { token, weight } in &routes {
                    for k in 0..part {
                        let added = f64::from(*weight) * f64::from(row(*token)[first + k]);
                        let to = &mut expected[*token as usize * width + k];
                        *to = (to.0 + added, 1e-6);
                    }
                }
                close(&format!("{what}, added"), &ran.y, &expected);
            }
        }
    }
}
device_test!(rows_of_routed_tokens_equal_float64, routed());
