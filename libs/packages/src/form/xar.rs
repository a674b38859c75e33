//! XAR, the outer archive of a flat package: a head of 28 bytes, a table of contents as packed XML, the files in a row.
//!
//! Source of the form: the project xar's own description of it, and what Apple's `xar` 1.8 writes. A signature is what
//! `productsign` makes of an archive: the table names where it lies in the heap and brings the certificates; what is signed
//! is the sum of the packed table, which holds the sums of all files (github.com/mackyle/xar/wiki/xarformat, Apple's `xar.h`).
//! A signature of style `CMS` beside it would carry the time of an authority on the Internet; there is none, so neither is it.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use jiff::Timestamp;
use sha1::{Digest as _, Sha1};

use super::archive::writer;
use crate::{Error, Identity};

/// Bytes of the head.
const HEAD: u16 = 28;
/// Bytes of a SHA-1: the sum of the table stands at the beginning of the heap.
const SUM: usize = 20;
/// SHA-1 in the head. It guards against accidents, here as in Apple's own packages.
const SHA1: u32 = 1;

/// An archive of these files, name and bytes, as root's; `time` in seconds since 1970. Whoever signs it always signs alike.
pub fn write(files: &[(&str, &[u8])], time: u32, signer: Option<&Identity>) -> Result<Vec<u8>, Error> {
    let made = Timestamp::from_second(time.into()).map_err(writer)?.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let mut toc = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xar>\n <toc>\n  <creation-time>{made}</creation-time>\n  \
         <checksum style=\"sha1\"><offset>0</offset><size>{SUM}</size></checksum>\n",
    );
    let behind = signer.map_or(0, Identity::signature_len);
    if let Some(signer) = signer {
        toc.push_str(&signature(signer));
    }
    let mut heap = Vec::new();
    for (i, (name, bytes)) in files.iter().enumerate() {
        let (id, size, offset) = (i + 1, bytes.len(), SUM + behind + heap.len());
        let sum: String = Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        toc.push_str(&format!(
            "  <file id=\"{id}\">\n   <data><length>{size}</length><encoding style=\"application/octet-stream\"/>\
             <offset>{offset}</offset><size>{size}</size><extracted-checksum style=\"sha1\">{sum}</extracted-checksum>\
             <archived-checksum style=\"sha1\">{sum}</archived-checksum></data>\n   <mode>0644</mode><uid>0</uid>\
             <gid>0</gid><user>root</user><group>wheel</group><type>file</type><name>{name}</name>\n  </file>\n"
        ));
        heap.extend_from_slice(bytes);
    }
    toc.push_str(" </toc>\n</xar>\n");
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    let packed = packed.write_all(toc.as_bytes()).and_then(|()| packed.finish()).map_err(writer)?;

    let mut archive = b"xar!".to_vec();
    archive.extend(HEAD.to_be_bytes());
    archive.extend(1u16.to_be_bytes()); // version
    archive.extend((packed.len() as u64).to_be_bytes());
    archive.extend((toc.len() as u64).to_be_bytes());
    archive.extend(SHA1.to_be_bytes());
    archive.extend(&packed);
    let sum: [u8; SUM] = Sha1::digest(&packed).into();
    archive.extend(sum);
    if let Some(signer) = signer {
        archive.extend(signer.sign(&sum).map_err(writer)?);
    }
    archive.extend(heap);
    Ok(archive)
}

/// What the table says of a signature: where it lies, and the certificates, the signer's first.
fn signature(signer: &Identity) -> String {
    let size = signer.signature_len();
    let one = |der: &[u8]| format!("<X509Certificate>{}</X509Certificate>", STANDARD.encode(der));
    let chain: String = signer.chain().map(one).collect();
    format!(
        "  <signature style=\"RSA\">\n   <offset>{SUM}</offset><size>{size}</size>\n   \
         <KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data>{chain}</X509Data></KeyInfo>\n  </signature>\n"
    )
}
