//! Tokenizers of several languages, which say in a token of its own which one a text is in: NLLB's and mBART's. Semantics:
//! transformers' `tokenization_nllb.py`, `tokenization_mbart50.py` and `tokenization_mbart.py`.

use serde_json::{Map, Value};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;

use super::TextError;

/// How a class of tokenizers says a text's language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages {
    /// Whether its token stands behind the text and the token that ends it, rather than before them.
    behind: bool,
    /// That of a text of which nothing is said.
    pub(super) src_lang: String,
}

impl Languages {
    /// By a `tokenizer_config.json`; `None`: by all that is said there, texts are of no language.
    pub(super) fn of(config: &Map<String, Value>) -> Option<Languages> {
        let text = |key: &str| config.get(key).and_then(Value::as_str);
        let (behind, default) = match text("tokenizer_class")?.trim_end_matches("Fast") {
            "NllbTokenizer" => (config.get("legacy_behaviour").and_then(Value::as_bool) == Some(true), "eng_Latn"),
            "MBart50Tokenizer" => (false, "en_XX"),
            "MBartTokenizer" => (true, "en_XX"),
            _ => return None,
        };
        Some(Languages { behind, src_lang: text("src_lang").unwrap_or(default).to_owned() })
    }

    /// What puts tokens around texts in a language.
    ///
    /// # Errors
    /// [`TextError::Language`] where the vocabulary has no such.
    pub(super) fn framing(
        &self,
        language: &str,
        eos: &str,
        id_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<PostProcessorWrapper, TextError> {
        let unknown = || TextError::Language { language: language.to_owned(), example: self.src_lang.clone() };
        let tokens = [(language, id_of(language)), (eos, id_of(eos))];
        let [Some(language_id), Some(eos_id)] = tokens.map(|(_, id)| id) else { return Err(unknown()) };
        let frame = |texts: &[&str]| -> Vec<String> {
            let (before, behind): (&[&str], &[&str]) =
                if self.behind { (&[], &[eos, language]) } else { (&[language], &[eos]) };
            [before, texts, behind].concat().into_iter().map(str::to_owned).collect()
        };
        let mut template = TemplateProcessing::builder();
        template.special_tokens(vec![(language.to_owned(), language_id), (eos.to_owned(), eos_id)]);
        let framed = template.try_single(frame(&["$A"])).and_then(|template| template.try_pair(frame(&["$A", "$B"])));
        let template = framed.map_err(|_| unknown())?.build().map_err(|_| unknown())?;
        Ok(template.into())
    }
}
