//! A range of a file, from the cache where it is there and from the endpoint where it isn't.

use std::ops::Range;
use std::rc::Rc;

use futures_util::future::{LocalBoxFuture, join};

use super::super::{ByteStream, Chunk, HubError, Repo};
use super::file::{CachedFile, Reader};
use super::recorder::Recorder;
use super::repo::Shared;

pub(super) struct CachedStream {
    shared: Rc<Shared>,
    file: Rc<CachedFile>,
    path: String,
    /// What is still to come.
    rest: Range<u64>,
    source: Source,
}

enum Source {
    Undecided,
    Cached(Reader),
    Fetched { stream: Box<dyn ByteStream>, recorder: Option<Recorder> },
}

impl CachedStream {
    pub(super) fn new(shared: Rc<Shared>, file: Rc<CachedFile>, path: &str, rest: Range<u64>) -> CachedStream {
        CachedStream { shared, file, path: path.to_owned(), rest, source: Source::Undecided }
    }

    /// Finds where the next byte comes from.
    pub(super) async fn decide(&mut self) -> Result<(), HubError> {
        if self.rest.is_empty() || !matches!(self.source, Source::Undecided) {
            return Ok(());
        }
        let at = self.rest.start;
        if let Some(reader) = self.file.find(at).await {
            self.source = Source::Cached(reader);
            return Ok(());
        }
        let gap = at..self.file.gap_end(at, self.rest.end).await;
        if self.shared.local_files_only {
            let (path, end) = (&self.path, gap.end);
            return Err(self.shared.not_cached(format!("bytes {at}..{end} of {path}")));
        }
        let keeps = self.shared.storage.keeps_weights();
        let mut recorder = keeps.then(|| Recorder::new(self.file.clone(), self.shared.room.clone(), gap.clone()));
        let prepared = async {
            // Of a file of which nothing has come yet it isn't known that it exists.
            if let Some(recorder) = &mut recorder
                && self.file.size().is_some()
            {
                recorder.prepare().await;
            }
        };
        match join(self.shared.hub.open(&self.path, gap), prepared).await.0 {
            Ok(stream) => {
                self.source = Source::Fetched { stream, recorder };
                Ok(())
            }
            Err(error) => {
                if let Some(recorder) = &mut recorder {
                    recorder.finish().await;
                }
                Err(error)
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Chunk>, HubError> {
        loop {
            if self.shared.abort.is_aborted() {
                self.source = Source::Undecided;
                return Err(HubError::Aborted { repo: self.shared.hub.id().to_owned() });
            }
            if self.rest.is_empty() {
                if let Source::Fetched { recorder: Some(recorder), .. } = &mut self.source {
                    recorder.finish().await;
                }
                self.source = Source::Undecided;
                return Ok(None);
            }
            let chunk = match &mut self.source {
                Source::Undecided => {
                    self.decide().await?;
                    continue;
                }
                Source::Cached(reader) if !reader.trailer.range.contains(&self.rest.start) => None,
                Source::Cached(reader) => reader.next(self.rest.start).await,
                Source::Fetched { stream, recorder } => match stream.next().await {
                    Ok(Some(chunk)) => {
                        if let Some(recorder) = recorder {
                            recorder.push(&chunk).await;
                        }
                        Some(chunk)
                    }
                    Ok(None) => {
                        if let Some(recorder) = recorder {
                            recorder.finish().await;
                        }
                        None
                    }
                    Err(error) => {
                        if let Some(recorder) = recorder
                            && !leaves_bytes_right(&error)
                        {
                            recorder.discard().await;
                        }
                        self.source = Source::Undecided;
                        return Err(error);
                    }
                },
            };
            let Some(chunk) = chunk else {
                self.source = Source::Undecided;
                continue;
            };
            let left = self.rest.end - self.rest.start;
            let chunk = match usize::try_from(left) {
                Ok(left) if left < chunk.len() => chunk.slice(0..left),
                _ => chunk,
            };
            self.rest.start += chunk.len() as u64;
            return Ok(Some(chunk));
        }
    }
}

impl ByteStream for CachedStream {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        Box::pin(self.next())
    }
}

/// Whether what came before the error is surely the file: it says that no more comes, not that something is wrong.
fn leaves_bytes_right(error: &HubError) -> bool {
    matches!(error, HubError::Network { .. } | HubError::Aborted { .. } | HubError::RateLimited { .. })
}
