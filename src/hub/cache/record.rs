//! Small sealed records: a ref's commit, what a repo is, when a commit was last used.

use super::segment::{BLOCK, identity, seal, unseal};
use super::storage::{Storage, Stored};
use crate::hub::Chunk;

/// The record at `path`. One that is damaged counts as none.
pub(super) async fn read(storage: &dyn Storage, path: &str) -> Option<Vec<u8>> {
    let blob = storage.open(path).await.ok()?;
    if blob.size() > BLOCK {
        return None;
    }
    let bytes = blob.read(0..blob.size()).await.ok()?.to_vec();
    unseal(identity(&[path]), &bytes).map(<[u8]>::to_vec)
}

/// Writes a record, or replaces it. Where it can't be written it is missing, which costs a request later.
pub(super) async fn write(storage: &dyn Storage, path: &str, data: &[u8]) {
    let _: Stored<()> = async {
        let record = seal(identity(&[path]), data);
        let mut writer = storage.create(path, record.len() as u64).await?;
        writer.write(&Chunk::from(record)).await?;
        writer.finish().await
    }
    .await;
}
