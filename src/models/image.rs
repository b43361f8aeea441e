//! Images as rows of numbers: what a vision transformer makes its tokens of.

use super::declare::Declare;
use crate::Result;
use crate::config::{ConfigError, MAX_ELEMENTS, ModelConfig, TransformerConfig};
use crate::generation::GenerationError;
use crate::tensor::ops::{Linear, Number, Ops, Tensor, WeightId};
use crate::weights::init::Init;

/// The images that a model takes, and how it cuts them into patches. What is left of an image beside its last whole patch
/// is not read, as a convolution leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Colours.
    pub channels: usize,
    /// Pixels, from top to bottom.
    pub height: usize,
    /// Pixels, from left to right.
    pub width: usize,
    /// A patch's height, in pixels.
    pub patch_height: usize,
    /// A patch's width, in pixels.
    pub patch_width: usize,
}

impl ImageShape {
    /// What a config says: `image_size` and `patch_size`, each one number or height and width, and `num_channels`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] where they are no sizes, or no patch fits into an image.
    pub(super) fn parse(raw: &ModelConfig, patch: usize) -> Result<ImageShape, ConfigError> {
        let channels = raw.fields().count("num_channels")?.unwrap_or(3);
        let (height, width) = size(raw, "image_size", 224)?;
        let (patch_height, patch_width) = size(raw, "patch_size", patch)?;
        let shape = ImageShape { channels, height, width, patch_height, patch_width };
        if patch_height > height || patch_width > width {
            return Err(raw.fields().invalid("patch_size", format!("at most the image's {height} × {width}")));
        }
        let pixels = channels.checked_mul(height).and_then(|count| count.checked_mul(width));
        if pixels.is_none_or(|count| count as u64 > MAX_ELEMENTS) {
            return Err(raw.fields().invalid("image_size", format!("at most {MAX_ELEMENTS} elements of an image")));
        }
        Ok(shape)
    }

    /// Checks that the weights that read patches aren't too large.
    pub(super) fn fits(&self, raw: &ModelConfig, config: &TransformerConfig) -> Result<(), ConfigError> {
        let fields = raw.fields();
        config.rows_fit(&fields, "patch_size", self.row())?;
        config.rows_fit(&fields, "image_size", self.tokens())
    }

    /// Tokens of an image: one for the whole of it, which comes first, and one for each patch.
    pub fn tokens(&self) -> usize {
        1 + (self.height / self.patch_height.max(1)) * (self.width / self.patch_width.max(1))
    }

    /// Numbers of a patch.
    pub fn row(&self) -> usize {
        self.channels * self.patch_height * self.patch_width
    }

    /// An image's rows: zeros for the first token, then the patches from left to right and from top to bottom, each in the
    /// order in which a convolution's kernel has its elements (channel, y, x). `[tokens, row]` of `[channels, height, width]`.
    ///
    /// # Errors
    /// [`GenerationError::ImageSize`] where `dims` is another shape than the model's images have, or there are more or fewer
    /// `pixels`.
    pub fn unfold(&self, pixels: &[f32], dims: &[usize]) -> Result<Vec<f32>, GenerationError> {
        let expected = [self.channels, self.height, self.width];
        if dims != expected || pixels.len() != expected.iter().product::<usize>() {
            return Err(GenerationError::ImageSize { found: dims.to_vec(), numbers: pixels.len(), expected });
        }
        let mut rows = Vec::with_capacity(self.tokens() * self.row());
        rows.resize(self.row(), 0.0);
        let (down, across) = (self.height / self.patch_height.max(1), self.width / self.patch_width.max(1));
        for top in (0..down).map(|y| y * self.patch_height) {
            for left in (0..across).map(|x| x * self.patch_width) {
                for channel in 0..self.channels {
                    for y in top..top + self.patch_height {
                        let from = (channel * self.height + y) * self.width + left;
                        rows.extend_from_slice(pixels.get(from..from + self.patch_width).unwrap_or_default());
                    }
                }
            }
        }
        Ok(rows)
    }
}

/// One number, or two: height and width.
fn size(raw: &ModelConfig, key: &str, default: usize) -> Result<(usize, usize), ConfigError> {
    let fields = raw.fields();
    let Some(list) = fields.get(key).and_then(serde_json::Value::as_array) else {
        let side = fields.count(key)?.unwrap_or(default);
        return Ok((side, side));
    };
    let side = |value: &serde_json::Value| {
        value
            .as_u64()
            .filter(|side| (1..=u64::from(u32::MAX)).contains(side))
            .and_then(|side| usize::try_from(side).ok())
    };
    match list.as_slice() {
        [height, width] => side(height).zip(side(width)),
        _ => None,
    }
    .ok_or_else(|| fields.invalid(key, "a positive integer, or two of them: height and width"))
}

/// What makes patches into tokens, and what its tensors are called below the model.
#[derive(Debug, Clone, Copy)]
pub struct Patches {
    /// The images.
    pub image: ImageShape,
    /// The convolution by which each patch becomes a token.
    pub convolution: &'static str,
    /// Whether it has a bias.
    pub bias: bool,
    /// The token that stands for the whole image, and the dimensions of 1 before its elements.
    pub class: (&'static str, usize),
    /// The table of the tokens' positions, and the dimensions of 1 before its rows.
    pub positions: (&'static str, usize),
}

/// Their weights.
pub(super) struct PatchEmbedding {
    pub image: ImageShape,
    projection: Linear,
    class: WeightId,
    positions: WeightId,
}

impl Patches {
    /// Declares the weights; `model` is the model's name with a dot, or nothing.
    pub(super) fn declare(&self, declare: &mut Declare, model: &str, config: &TransformerConfig) -> PatchEmbedding {
        let Patches { image, convolution, class, positions, .. } = *self;
        let (hidden, init) = (config.hidden_size, Init::Normal { std: config.initializer_range, zero_row: None });
        let ones = |count: usize, rest: &[usize]| [vec![1; count], rest.to_vec()].concat();

        let name = format!("{model}{}", class.0);
        let token = declare.vector(&name, vec![(name.clone(), hidden)], init);
        declare.specs.shape(token, ones(class.1, &[hidden]));

        let name = format!("{model}{convolution}");
        let kernels = declare.table(&name, hidden, image.row(), init);
        declare.specs.shape(kernels, vec![hidden, image.channels, image.patch_height, image.patch_width]);
        let bias = format!("{name}.bias");
        let bias = self.bias.then(|| declare.vector(&bias, vec![(bias.clone(), hidden)], Init::Zeros));

        let name = format!("{model}{}", positions.0);
        let table = declare.specs.matrix(&name, vec![(name.clone(), image.tokens())], hidden, init);
        declare.block.push(table);
        declare.specs.shape(table, ones(positions.1, &[image.tokens(), hidden]));

        let projection = Linear { weight: kernels, bias, inputs: image.row(), outputs: hidden };
        PatchEmbedding { image, projection, class: token, positions: table }
    }
}

impl PatchEmbedding {
    /// The tokens of an image whose rows the caller gives.
    pub fn embed(&self, ops: &mut dyn Ops) -> Result<Tensor> {
        let rows = ops.features(self.image.row())?;
        let x = ops.linear(rows, &self.projection)?;
        let x = ops.replace_first(x, self.class)?;
        ops.add_rows(x, self.positions, Number::Position { first: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(keys: serde_json::Value) -> Result<ImageShape, ConfigError> {
        ImageShape::parse(&ModelConfig::from_json("config", keys.to_string().as_bytes()).unwrap(), 16)
    }

    #[test]
    fn a_config_says_one_number_or_two() {
        let square = ImageShape { channels: 3, height: 224, width: 224, patch_height: 16, patch_width: 16 };
        assert_eq!(parse(json!({})).unwrap(), square);
        assert_eq!(square.tokens(), 197);
        assert_eq!(square.row(), 768);
        let found = parse(json!({"image_size": [32, 26], "patch_size": [6, 5], "num_channels": 1})).unwrap();
        assert_eq!(found, ImageShape { channels: 1, height: 32, width: 26, patch_height: 6, patch_width: 5 });
        assert_eq!((found.tokens(), found.row()), (26, 30));
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        let message = |keys| parse(keys).unwrap_err().to_string();
        let expected = "expected a positive integer, or two of them: height and width";
        assert_eq!(message(json!({"image_size": [32]})), format!("config: `image_size` is [32], {expected}"));
        assert_eq!(message(json!({"patch_size": [0, 4]})), format!("config: `patch_size` is [0,4], {expected}"));
        assert_eq!(
            message(json!({"image_size": 8, "patch_size": 9})),
            "config: `patch_size` is 9, expected at most the image's 8 × 8"
        );
        let huge = message(json!({"image_size": 4_000_000_000_u64, "patch_size": 2}));
        assert!(huge.ends_with("at most 4294967295 elements of an image"), "{huge}");
    }

    #[test]
    fn patches_lie_as_a_kernel_does_and_what_is_beside_them_is_left_out() {
        // Two channels of 3 × 5; patches of 2 × 2: one row of two, and a row and a column beside them.
        let shape = ImageShape { channels: 2, height: 3, width: 5, patch_height: 2, patch_width: 2 };
        let pixels: Vec<f32> = (0..30).map(|at| at as f32).collect();
        let rows = shape.unfold(&pixels, &[2, 3, 5]).unwrap();
        let class = [0.0; 8];
        let patches = [0, 1, 5, 6, 15, 16, 20, 21, 2, 3, 7, 8, 17, 18, 22, 23].map(|at| at as f32);
        assert_eq!(rows, [&class[..], &patches].concat());
    }

    #[test]
    fn an_image_of_another_size_is_refused() {
        let shape = ImageShape { channels: 3, height: 4, width: 4, patch_height: 2, patch_width: 2 };
        let error = shape.unfold(&[0.0; 60], &[3, 4, 5]).unwrap_err();
        assert_eq!(error.code(), "PIXEL_VALUES");
        assert_eq!(
            error.to_string(),
            "pixel_values of an image are 60 numbers of shape [3, 4, 5], and the model takes [3, 4, 4]; \
             does the image processor belong to this model?"
        );
        assert!(shape.unfold(&[0.0; 47], &[3, 4, 4]).is_err());
    }
}
