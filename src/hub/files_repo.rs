//! A repo of files that the page hands over: a folder that the user has picked, or files by their paths.

use std::ops::Range;

use futures_util::future::LocalBoxFuture;
use js_sys::{ArrayBuffer, Map, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::blob::JsBlob;
use super::id::is_plain_path;
use super::lending::Lender;
use super::{ByteStream, Chunk, HubError, Prefix, Repo};

/// Bytes that are read from a file at a time.
const CHUNK: u32 = 1 << 20;

#[wasm_bindgen]
extern "C" {
    /// A `FileSystemDirectoryHandle`, or a `FileSystemFileHandle`.
    #[derive(Clone)]
    type Handle;
    #[wasm_bindgen(method, getter)]
    fn name(this: &Handle) -> Option<String>;
    #[wasm_bindgen(method, catch, js_name = getDirectoryHandle)]
    fn get_directory_handle(this: &Handle, name: &str) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getFileHandle)]
    fn get_file_handle(this: &Handle, name: &str) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch, js_name = getFile)]
    fn get_file(this: &Handle) -> Result<Promise, JsValue>;
}

/// Files of the page's: they are read where they lie, a piece at a time.
pub struct FilesRepo {
    id: String,
    place: Place,
    subfolder: Option<String>,
    lender: Lender,
}

enum Place {
    Folder(Handle),
    Files(Map),
}

/// One file's content.
#[derive(Clone)]
enum File {
    Blob(JsBlob),
    Bytes(Uint8Array),
}

impl FilesRepo {
    /// What JavaScript hands over: a `FileSystemDirectoryHandle`, or a `Map` from paths to `Blob`s, `ArrayBuffer`s or
    /// `Uint8Array`s. `None` where it is neither.
    pub fn from_js(source: &JsValue, subfolder: Option<String>) -> Option<FilesRepo> {
        if let Some(files) = source.dyn_ref::<Map>() {
            return Some(FilesRepo::new("the files given".to_owned(), Place::Files(files.clone()), subfolder));
        }
        let is_folder = Reflect::get(source, &"getDirectoryHandle".into()).is_ok_and(|method| method.is_function());
        if !is_folder {
            return None;
        }
        let folder: Handle = source.clone().unchecked_into();
        let id = folder.name().filter(|name| !name.is_empty()).unwrap_or_else(|| "the folder given".to_owned());
        Some(FilesRepo::new(id, Place::Folder(folder), subfolder))
    }

    fn new(id: String, place: Place, subfolder: Option<String>) -> FilesRepo {
        FilesRepo { id, place, subfolder, lender: Lender::new(CHUNK) }
    }

    /// Files in memory, by their paths; `id` is what messages call them.
    pub fn in_memory(id: &str, files: Vec<(String, Uint8Array)>) -> FilesRepo {
        let map = Map::new();
        for (path, bytes) in files {
            map.set(&path.into(), &bytes);
        }
        FilesRepo::new(id.to_owned(), Place::Files(map), None)
    }

    async fn file(&self, path: &str) -> Result<File, HubError> {
        let full = match &self.subfolder {
            Some(folder) => format!("{folder}/{path}"),
            None => path.to_owned(),
        };
        if !is_plain_path(&full) {
            return Err(HubError::InvalidPath { repo: self.id.clone(), path: full });
        }
        let missing =
            || HubError::EntryNotFound { repo: self.id.clone(), revision: "(local)".to_owned(), path: path.to_owned() };
        match &self.place {
            Place::Files(files) => {
                let file = files.get(&full.into());
                if file.is_undefined() {
                    return Err(missing());
                }
                Ok(match file.dyn_into::<ArrayBuffer>() {
                    Ok(buffer) => File::Bytes(Uint8Array::new(&buffer)),
                    Err(file) => match file.dyn_into::<Uint8Array>() {
                        Ok(bytes) => File::Bytes(bytes),
                        Err(file) => File::Blob(file.unchecked_into()),
                    },
                })
            }
            Place::Folder(folder) => find(folder, &full).await.map(File::Blob).map_err(|error| {
                match error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.name())).as_deref() {
                    Some("NotFoundError" | "TypeMismatchError") => missing(),
                    _ => self.unreadable(path, &error),
                }
            }),
        }
    }

    fn unreadable(&self, path: &str, error: &JsValue) -> HubError {
        HubError::Unreadable { repo: self.id.clone(), path: path.to_owned(), reason: said(error) }
    }

    async fn read_range(&self, path: &str, file: &File, range: Range<u64>) -> Result<Vec<u8>, HubError> {
        let chunk = read(file, range, &self.lender).await.map_err(|error| self.unreadable(path, &error))?;
        Ok(chunk.to_vec())
    }
}

/// A file that has changed on the disk since it was picked can't be read any more, and the browser says so.
fn said(error: &JsValue) -> String {
    let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    message.unwrap_or_else(|| format!("{error:?}"))
}

async fn settled(promise: Result<Promise, JsValue>) -> Result<JsValue, JsValue> {
    JsFuture::from(promise?).await
}

async fn find(folder: &Handle, path: &str) -> Result<JsBlob, JsValue> {
    let (folders, name) = path.rsplit_once('/').map_or((None, path), |(folders, name)| (Some(folders), name));
    let mut folder = folder.clone();
    for name in folders.into_iter().flat_map(|folders| folders.split('/')) {
        folder = settled(folder.get_directory_handle(name)).await?.unchecked_into();
    }
    let file: Handle = settled(folder.get_file_handle(name)).await?.unchecked_into();
    Ok(settled(file.get_file()).await?.unchecked_into())
}

async fn read(file: &File, range: Range<u64>, lender: &Lender) -> Result<Chunk, JsValue> {
    match file {
        File::Bytes(bytes) => Ok(bytes.subarray(range.start as u32, range.end as u32).into()),
        File::Blob(blob) => blob.read(range, lender).await,
    }
}

impl File {
    fn size(&self) -> u64 {
        match self {
            File::Blob(blob) => blob.size() as u64,
            File::Bytes(bytes) => u64::from(bytes.length()),
        }
    }
}

impl Repo for FilesRepo {
    fn id(&self) -> &str {
        &self.id
    }

    fn read<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Vec<u8>, HubError>> {
        Box::pin(async move {
            let file = self.file(path).await?;
            if file.size() > max_bytes {
                return Err(HubError::TooLarge { repo: self.id.clone(), path: path.to_owned(), max_bytes });
            }
            self.read_range(path, &file, 0..file.size()).await
        })
    }

    fn read_prefix<'a>(&'a self, path: &'a str, max_bytes: u64) -> LocalBoxFuture<'a, Result<Prefix, HubError>> {
        Box::pin(async move {
            let file = self.file(path).await?;
            let size = file.size();
            let bytes = self.read_range(path, &file, 0..max_bytes.min(size)).await?;
            Ok(Prefix { bytes, file_size: Some(size) })
        })
    }

    fn open<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<Box<dyn ByteStream>, HubError>> {
        Box::pin(async move {
            let file = self.file(path).await?;
            if range.end > file.size() {
                let what = format!("bytes {}..{} of {path}", range.start, range.end);
                return Err(HubError::RangeNotSatisfiable { repo: self.id.clone(), what });
            }
            let (repo, path) = (self.id.clone(), path.to_owned());
            let lender = self.lender.clone();
            Ok(Box::new(OpenFile { repo, path, file, rest: range, lender }) as Box<dyn ByteStream>)
        })
    }
}

struct OpenFile {
    repo: String,
    path: String,
    file: File,
    rest: Range<u64>,
    lender: Lender,
}

impl ByteStream for OpenFile {
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Option<Chunk>, HubError>> {
        Box::pin(async move {
            let start = self.rest.start;
            let end = self.rest.end.min(start.saturating_add(u64::from(CHUNK)));
            if end <= start {
                return Ok(None);
            }
            let unreadable =
                |reason: String| HubError::Unreadable { repo: self.repo.clone(), path: self.path.clone(), reason };
            let bytes = read(&self.file, start..end, &self.lender).await.map_err(|error| unreadable(said(&error)))?;
            if bytes.len() as u64 != end - start {
                return Err(unreadable("it has become shorter".to_owned()));
            }
            self.rest.start = end;
            Ok(Some(bytes))
        })
    }
}
