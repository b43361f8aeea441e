//! A blob of the browser's, as the cache reads it.

use std::ops::Range;

use super::super::segment::BLOCK;
use super::super::storage::{Blob, Storing};
use super::failure;
use crate::hub::Chunk;
use crate::hub::blob::JsBlob;
use crate::hub::lending::Lender;

/// What is read at a time goes into memory that is used again.
pub(super) fn lender() -> Lender {
    Lender::new(BLOCK as u32)
}

/// A blob, and what its bytes are read into.
pub(super) struct StoredBlob {
    pub(super) blob: JsBlob,
    pub(super) lender: Lender,
}

impl Blob for StoredBlob {
    fn size(&self) -> u64 {
        self.blob.size() as u64
    }

    fn read(&self, range: Range<u64>) -> Storing<'_, Chunk> {
        Box::pin(async move { self.blob.read(range, &self.lender).await.map_err(|error| failure(&error)) })
    }
}
