//! Canonical documents by digest.

use rusqlite::OptionalExtension;

use super::{StoreError, Stored, Transaction};
use crate::canonical::Document;
use crate::model::Digest;

/// Documents are small JSON; a higher level gains little.
const LEVEL: i32 = 3;
/// The largest document that is kept, and that is read. More than is read of an instance makes none.
const LARGEST: usize = 64 << 20;

/// How deep a document is nested at most, so that the events and messages about it can be read as well.
const MOST_LEVELS: usize = 80;

/// Keeps `document` if it is not there yet.
///
/// # Errors
/// The database cannot be written.
pub fn insert(tx: &Transaction<'_>, document: &Document) -> Stored<()> {
    let is_there: Option<i64> = tx
        .sql
        .prepare_cached("SELECT 1 FROM documents WHERE digest = ?1")?
        .query_row([document.digest().as_str()], |row| row.get(0))
        .optional()?;
    if is_there.is_none() {
        let body = pack(document.bytes())?;
        // What is kept and cannot be read again would stop every later cycle.
        if document.levels() > MOST_LEVELS || unpack(&body).as_deref() != Some(document.bytes()) {
            return Err(StoreError::Unreadable { what: format!("document {}", document.digest()), section: None });
        }
        tx.sql
            .prepare_cached("INSERT INTO documents (digest, body) VALUES (?1, ?2)")?
            .execute((document.digest().as_str(), body))?;
    }
    Ok(())
}

/// The bytes stored under `digest`, as they are: whether they are the document is for the caller to check.
///
/// # Errors
/// The database cannot be read, or the frame is damaged.
pub fn bytes(tx: &Transaction<'_>, digest: &Digest) -> Stored<Option<Vec<u8>>> {
    let frame: Option<Vec<u8>> = tx
        .sql
        .prepare_cached("SELECT body FROM documents WHERE digest = ?1")?
        .query_row([digest.as_str()], |row| row.get(0))
        .optional()?;
    let damaged = || StoreError::Damaged(format!("document {digest} cannot be unpacked"));
    frame.map(|frame| unpack(&frame).ok_or_else(damaged)).transpose()
}

/// One frame of `bytes`.
pub(super) fn pack(bytes: &[u8]) -> Stored<Vec<u8>> {
    if bytes.len() > LARGEST {
        return Err(StoreError::Unreadable {
            what: format!("what is larger than {} MiB", LARGEST >> 20),
            section: None,
        });
    }
    zstd::bulk::compress(bytes, LEVEL)
        .map_err(|error| StoreError::Damaged(format!("a document cannot be compressed: {error}")))
}

/// What is in one frame, unless it is damaged.
pub(super) fn unpack(frame: &[u8]) -> Option<Vec<u8>> {
    let size = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten()?;
    let size = usize::try_from(size).ok().filter(|size| *size <= LARGEST)?;
    zstd::bulk::decompress(frame, size).ok()
}

/// The document stored under `digest`, checked.
///
/// # Errors
/// It is missing or not what its digest says.
pub fn load(tx: &Transaction<'_>, digest: &Digest) -> Stored<Document> {
    let bytes = bytes(tx, digest)?.ok_or_else(|| StoreError::Damaged(format!("document {digest} is missing")))?;
    Document::from_canonical(bytes, digest).map_err(|error| StoreError::Damaged(error.to_string()))
}
