//! Pieces of a file that have been read, so that headers near one another cost one request.

use std::ops::Range;

use crate::Result;
use crate::hub::Repo;

/// What has been read of one file.
pub(super) struct Window<'a> {
    repo: &'a dyn Repo,
    path: &'a str,
    /// In the order in which they were read.
    pieces: Vec<(u64, Vec<u8>)>,
}

impl<'a> Window<'a> {
    /// Nothing but the file's start.
    pub fn new(repo: &'a dyn Repo, path: &'a str, start: Vec<u8>) -> Self {
        Window { repo, path, pieces: vec![(0, start)] }
    }

    /// The bytes in `range`, which lies in the file; a request where no piece has all of them.
    pub async fn read(&mut self, range: Range<u64>) -> Result<&[u8]> {
        let known = self.pieces.iter().position(|(at, piece)| within(&range, *at, piece).is_some());
        let place = match known {
            Some(place) => place,
            None => {
                let bytes = self.repo.open(self.path, range.clone()).await?.collect().await?;
                self.pieces.push((range.start, bytes));
                self.pieces.len() - 1
            }
        };
        Ok(self.pieces.get(place).and_then(|(at, piece)| within(&range, *at, piece)).unwrap_or_default())
    }

    /// What is known from `at` on, in one piece.
    pub fn from(&self, at: u64) -> &[u8] {
        let known =
            self.pieces.iter().filter_map(|(start, piece)| piece.get(usize::try_from(at.checked_sub(*start)?).ok()?..));
        known.max_by_key(|rest| rest.len()).unwrap_or_default()
    }

    /// Forgets everything but `range`, which it reads.
    pub async fn advance(&mut self, range: Range<u64>) -> Result<()> {
        self.pieces.clear();
        self.read(range).await.map(drop)
    }
}

fn within<'p>(range: &Range<u64>, at: u64, piece: &'p [u8]) -> Option<&'p [u8]> {
    let start = usize::try_from(range.start.checked_sub(at)?).ok()?;
    let end = usize::try_from(range.end.checked_sub(at)?).ok()?;
    piece.get(start..end)
}
