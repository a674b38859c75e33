//! A ZIP archive, as Windows opens it.

use std::io::{Cursor, Write as _};

use zip::write::{SimpleFileOptions, ZipWriter};

use super::archive::writer;
use crate::{Error, Order};

/// The files in one folder, stored as they are: there is little to pack.
pub fn write(order: &Order, files: &[(&str, String)]) -> Result<Vec<u8>, Error> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // The form's own beginning of time, as it knows no zone.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o600);
    let folder = format!("zentral-{}-{}", order.agent.name(), order.unit);
    for (name, text) in files {
        archive.start_file(format!("{folder}/{name}"), options).map_err(writer)?;
        archive.write_all(text.as_bytes()).map_err(writer)?;
    }
    archive.finish().map(Cursor::into_inner).map_err(writer)
}
