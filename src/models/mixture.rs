//! Mixtures of experts: what a family says of them, and which experts a router chooses.

use std::ops::Range;

use crate::config::{ConfigError, ModelConfig, TransformerConfig};
use crate::tensor::ops::Route;

/// Experts of all layers together: more than the largest models have (61 · 384), and few enough to list.
const MAX_EXPERTS: usize = 1 << 15;

/// Experts in the place of layers' feed-forward layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// Experts of a layer.
    pub experts: usize,
    /// To how many of them a token is routed.
    pub per_token: usize,
    /// Width within an expert.
    pub width: usize,
    /// Whether the weights of a token's experts are made to sum up to one.
    pub normalised: bool,
    /// Of each layer, whether it has experts.
    pub layers: Vec<bool>,
    /// What the checkpoints call them.
    pub names: MixtureNames,
}

/// The modules' names in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixtureNames {
    /// What a token's experts are chosen by.
    pub router: &'static str,
    /// The experts, each of which is called by its number below it.
    pub experts: &'static str,
    /// Gate and up, in an expert.
    pub gate_up: &'static [&'static str],
    /// An expert's output.
    pub down: &'static str,
}

/// The keys of a config that say how many experts there are, of a token and in a layer, and how wide one is; and what they
/// are without it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MixtureKeys {
    pub experts: (&'static str, usize),
    pub per_token: (&'static str, usize),
    /// Without a default: `intermediate_size`, which is checked already.
    pub width: Option<(&'static str, usize)>,
    /// Other names for keys.
    pub aliases: &'static [(&'static str, &'static str)],
}

impl Mixture {
    /// What a config says of experts in these layers.
    pub(super) fn parse(
        raw: &ModelConfig,
        config: &TransformerConfig,
        keys: MixtureKeys,
        layers: Vec<bool>,
        normalised: bool,
        names: MixtureNames,
    ) -> Result<Mixture, ConfigError> {
        let fields = raw.fields().with_aliases(keys.aliases);
        let count = |(key, default)| fields.count(key).map(|value| value.unwrap_or(default));
        let (experts, per_token) = (count(keys.experts)?, count(keys.per_token)?);
        if per_token > experts {
            return Err(fields.invalid(keys.per_token.0, format!("at most {} ({experts})", keys.experts.0)));
        }
        let all = layers.iter().filter(|has| **has).count().saturating_mul(experts);
        if all > MAX_EXPERTS {
            let expected = format!("at most {MAX_EXPERTS} in all layers together, not {all}");
            return Err(fields.invalid(keys.experts.0, expected));
        }
        config.rows_fit(&fields, keys.experts.0, experts)?;
        let width = keys.width.map_or(Ok(config.intermediate_size), count)?;
        if let Some((key, _)) = keys.width {
            config.rows_fit(&fields, key, width)?;
        }
        Ok(Mixture { experts, per_token, width, normalised, layers, names })
    }
}

/// The experts to which a block routes its tokens: blocks of their own, behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experts {
    /// Their blocks.
    pub blocks: Range<usize>,
    /// To how many of them a token is routed.
    pub per_token: usize,
    /// Whether the weights of a token's experts are made to sum up to one.
    pub normalised: bool,
    /// Elements of the hidden state, behind which what experts read is.
    pub hidden_size: usize,
}

/// An expert that some tokens are routed to.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Its block.
    pub block: usize,
    /// The tokens, in their order.
    pub routes: Vec<Route>,
}

impl Experts {
    /// Which experts are chosen by the router's logits, a row of them for each token, in the order of their blocks.
    pub fn choose(&self, logits: &[f32]) -> Vec<Chosen> {
        let mut chosen: Vec<Chosen> = self.blocks.clone().map(|block| Chosen { block, routes: Vec::new() }).collect();
        for (token, logits) in (0..).zip(logits.chunks_exact(self.blocks.len().max(1))) {
            for (expert, weight) in self.weights(logits) {
                chosen.get_mut(expert).into_iter().for_each(|one| one.routes.push(Route { token, weight }));
            }
        }
        chosen.retain(|one| !one.routes.is_empty());
        chosen
    }

    /// A token's experts, and what each is multiplied by: its share of the softmax over all of them.
    fn weights(&self, logits: &[f32]) -> impl Iterator<Item = (usize, f32)> {
        let most = logits.iter().fold(f32::NEG_INFINITY, |most, logit| most.max(*logit));
        let share = |logit: &f32| f64::from(*logit - most).exp();
        let mut best: Vec<(usize, f64)> = logits.iter().map(share).enumerate().collect();
        let all: f64 = best.iter().map(|(_, share)| share).sum();
        // Of equals the first: the sort is stable.
        best.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        best.truncate(self.per_token);
        let whole = if self.normalised { best.iter().map(|(_, share)| share).sum() } else { all };
        best.into_iter().map(move |(expert, share)| (expert, (share / whole) as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_to_their_best_experts_with_the_softmaxs_weights() {
        let experts = Experts { blocks: 7..11, per_token: 2, normalised: false, hidden_size: 8 };
        let logits = [0.0, 2.0, 1.0, -1.0, 3.0, 3.0, 3.0, 3.0, -500.0, -400.0, f32::MIN, -500.0];
        let found: Vec<(usize, Vec<(u32, f32)>)> = experts
            .choose(&logits)
            .into_iter()
            .map(|one| (one.block, one.routes.iter().map(|route| (route.token, route.weight)).collect()))
            .collect();
        let all = [0.0f64, 2.0, 1.0, -1.0].map(f64::exp).iter().sum::<f64>();
        let share = |logit: f64| (logit.exp() / all) as f32;
        let expected = vec![
            (7, vec![(1, 0.25), (2, (-100.0f64).exp() as f32)]),
            (8, vec![(0, share(2.0)), (1, 0.25), (2, 1.0)]),
            (9, vec![(0, share(1.0))]),
        ];
        assert_eq!(found, expected);

        let experts = Experts { normalised: true, ..experts };
        let first = &experts.choose(&logits)[1].routes[0];
        assert_eq!(first.weight, (1.0 / (1.0 + (-1.0f64).exp())) as f32);
        // Numbers that are none must not end the instance.
        assert_eq!(experts.choose(&[f32::NAN; 4]).len(), 2);
    }
}
