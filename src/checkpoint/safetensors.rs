//! Reads a safetensors file's header by range.

use super::entry::Header;
use super::header::{self, LENGTH};
use super::{CheckpointError, CheckpointFile, FIRST_BYTES, HeaderFault};
use crate::hub::{HubError, Repo};
use crate::{Error, Result};

/// One request, two where the header is longer than nearly all are.
pub(super) async fn read(repo: &dyn Repo, path: &str) -> Result<(CheckpointFile, Header)> {
    let fail = |fault| CheckpointError::Header { repo: repo.id().to_owned(), path: path.to_owned(), fault };
    let prefix = repo.read_prefix(path, FIRST_BYTES).await?;
    let (mut bytes, size) = (prefix.bytes, prefix.file_size);
    let length = header::length(&bytes).map_err(fail)?;
    let (read, end) = (bytes.len() as u64, LENGTH + length);
    if read < end {
        if read < FIRST_BYTES || size.is_some_and(|size| size < end) {
            return Err(fail(HeaderFault::Truncated { length }).into());
        }
        let rest = async { repo.open(path, read..end).await?.collect().await };
        bytes.extend(rest.await.map_err(|error| match error {
            HubError::RangeNotSatisfiable { .. } => Error::from(fail(HeaderFault::Truncated { length })),
            error => error.into(),
        })?);
    }
    // `length` is at most 25,000,000.
    let json = bytes.get(LENGTH as usize..end as usize).ok_or_else(|| fail(HeaderFault::Truncated { length }))?;
    let header = header::parse(json, size).map_err(fail)?;
    Ok((CheckpointFile { path: path.to_owned(), size }, header))
}
