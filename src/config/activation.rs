//! `hidden_act`.

/// A feed-forward's activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// x · sigmoid(x)
    Silu,
    /// x · Φ(x), by erf
    Gelu,
    /// GELU's approximation by tanh
    GeluTanh,
    /// x · sigmoid(1.702 · x)
    QuickGelu,
    /// max(x, 0)
    Relu,
    /// `max(x, 0)²`
    Relu2,
    /// tanh(x)
    Tanh,
}

impl Activation {
    /// Every name that [`from_name`](Self::from_name) knows.
    pub const NAMES: &'static str = "silu, swish, gelu, gelu_python, gelu_new, gelu_fast, gelu_accurate, \
         gelu_pytorch_tanh, gelu_python_tanh, quick_gelu, relu, relu2, tanh";

    /// The function that transformers' `ACT2FN` has under `name`.
    pub fn from_name(name: &str) -> Option<Activation> {
        Some(match name {
            "silu" | "swish" => Activation::Silu,
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_pytorch_tanh" | "gelu_python_tanh" => {
                Activation::GeluTanh
            }
            "quick_gelu" => Activation::QuickGelu,
            "relu" => Activation::Relu,
            "relu2" => Activation::Relu2,
            "tanh" => Activation::Tanh,
            _ => return None,
        })
    }
}
