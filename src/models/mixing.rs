//! How the tokens of a layer come to know of each other: by attention, or by a convolution over a few of them.

use super::declare::{Declare, Modules};
use super::description::{Description, RelativeBias};
use super::layer::{attention, modules, new_std, queries_first};
use super::stack::Place;
use crate::Result;
use crate::tensor::ops::{Attention, Linear, Ops, QkNorm, Relative, ShortConvolution, Tensor};
use crate::weights::init::Init;
use crate::weights::spec::Arrangement;

/// Convolutions in the place of some layers' attention.
#[derive(Debug, Clone)]
pub struct ShortConvolutions {
    /// Which layers have one.
    pub layers: Vec<bool>,
    /// Tokens that one sees.
    pub taps: usize,
    /// Whether its modules have biases.
    pub bias: bool,
    /// What they are called.
    pub names: ShortConvolutionNames,
}

/// What a convolution's modules are called, in the layer.
#[derive(Debug, Clone, Copy)]
pub struct ShortConvolutionNames {
    /// What makes its gates and its input: b, c and x, one below the other.
    pub input: &'static str,
    /// The convolution.
    pub taps: &'static str,
    /// What projects what comes of it.
    pub output: &'static str,
}

/// What mixes a layer's tokens.
pub(super) enum Mixing {
    /// Attention.
    Attention { qkv: Linear, norm: Option<QkNorm>, attention: Attention },
    /// A convolution.
    Convolution { bcx: Linear, convolution: ShortConvolution },
}

/// The projection of what comes of it.
pub(super) struct Projected<'a> {
    /// Its module.
    pub name: &'a str,
    /// Elements of a row that it reads.
    pub inputs: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl Mixing {
    /// Declares what mixes the tokens of a layer, which is called `parent`, and tells what projects it.
    pub fn declare<'a>(
        description: &'a Description,
        place: &Place<'_>,
        layer: usize,
        parent: &str,
        declare: &mut Declare,
    ) -> (Mixing, Projected<'a>) {
        // What isn't causal has no use for its keys and values when a layer is done.
        let cache = if description.causal { place.cache + layer } else { place.cache };
        match description.short_convolution(layer) {
            Some(convolutions) => Mixing::convolution(description, convolutions, cache, parent, declare),
            None => Mixing::attention(description, place, (layer, cache), parent, declare),
        }
    }

    fn attention<'a>(
        description: &'a Description,
        place: &Place<'_>,
        (layer, cache): (usize, usize),
        parent: &str,
        declare: &mut Declare,
    ) -> (Mixing, Projected<'a>) {
        let Description { config, names, .. } = description;
        let (heads, kv_heads, head_dim) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let (q, kv) = (heads * head_dim, kv_heads * head_dim);
        let plain = modules(description, parent, names.qkv, &[], description.qkv_bias);
        let by_head = Arrangement::ByHead { heads, kinds: 3 };
        let relative = declare_relative(description, place.prefix, declare);
        let qkv = queries_first(
            description,
            declare,
            Modules {
                rows: &[q, kv, kv],
                arrangement: if description.qkv_by_head { by_head } else { plain.arrangement },
                without_bias: description.bare_key.then_some(1),
                ..plain
            },
        );
        let norm = names.qk_norm.map(|[q_name, k_name]| {
            let each = !description.qk_norm_over_all;
            let (q_width, k_width) = if each { (head_dim, head_dim) } else { (q, kv) };
            let q = declare.rms_norm(&format!("{parent}{q_name}"), q_width, config.norm_eps);
            let k = declare.rms_norm(&format!("{parent}{k_name}"), k_width, config.norm_eps);
            QkNorm { q, k, heads, kv_heads, head_dim, each }
        });
        let attention = Attention { relative, layer: cache, ..attention(description, layer) };
        let projected = Projected { name: names.output, inputs: q, bias: description.output_bias };
        (Mixing::Attention { qkv, norm, attention }, projected)
    }

    fn convolution<'a>(
        description: &'a Description,
        convolutions: &'a ShortConvolutions,
        cache: usize,
        parent: &str,
        declare: &mut Declare,
    ) -> (Mixing, Projected<'a>) {
        let ShortConvolutions { taps, bias: has_bias, names, .. } = convolutions;
        let width = description.config.hidden_size;
        let bcx = declare.linear(modules(description, parent, &[names.input], &[3 * width], *has_bias));
        let module = format!("{parent}{}", names.taps);
        let name = format!("{module}.weight");
        let init = Init::Normal { std: description.config.initializer_range, zero_row: None };
        let weight = declare.vector(&module, vec![(name, width * taps)], init);
        declare.specs.shape(weight, vec![width, 1, *taps]);
        let bias = format!("{module}.bias");
        let bias = has_bias.then(|| declare.vector(&bias, vec![(bias.clone(), width)], Init::Zeros));
        let convolution = ShortConvolution { layer: cache, width, taps: *taps, weight, bias };
        let projected = Projected { name: names.output, inputs: width, bias: *has_bias };
        (Mixing::Convolution { bcx, convolution }, projected)
    }

    /// The projection of what comes into it.
    pub fn input(&self) -> &Linear {
        match self {
            Mixing::Attention { qkv, .. } => qkv,
            Mixing::Convolution { bcx, .. } => bcx,
        }
    }

    /// Rows of which each knows of others.
    pub fn mix(&self, ops: &mut dyn Ops, x: Tensor) -> Result<Tensor> {
        match self {
            Mixing::Attention { norm: Some(norm), attention, .. } => ops.qk_norm_attention(x, norm, attention),
            Mixing::Attention { norm: None, attention, .. } => ops.attention(x, attention),
            Mixing::Convolution { convolution, .. } => ops.short_convolution(x, convolution),
        }
    }
}

/// Declares a layer's own table of what scores get by distance. All layers' come from one tensor: that each has the few
/// hundred numbers spares it the wait for another block.
fn declare_relative(description: &Description, prefix: &str, declare: &mut Declare) -> Option<Relative> {
    let RelativeBias { module, buckets } = description.relative?;
    let heads = description.config.num_attention_heads;
    let rows = buckets.count * if description.causal { 1 } else { 2 };
    let name = format!("{prefix}{module}.weight");
    let std = new_std(description, description.config.hidden_size);
    let table = declare.vector(&name, vec![(name.clone(), rows * heads)], Init::Normal { std, zero_row: None });
    declare.specs.shape(table, vec![rows, heads]);
    Some(Relative { table, buckets })
}
