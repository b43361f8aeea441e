//! `tokenizer.json`: reading it, and a text through what it describes.
#![no_main]

use layerline::text::{Tokenizer, TokenizerFiles};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let files = TokenizerFiles { tokenizer_json: data, ..TokenizerFiles::default() };
    if let Ok(tokenizer) = Tokenizer::from_files(files) {
        let _ = tokenizer.encode("Hello w\u{f6}rld 42", None, true, None).and_then(|found| tokenizer.decode(&found.ids, false));
    }
});
