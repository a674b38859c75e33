//! The bytes that a request's body becomes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::case::Request;
use super::fill::{self, Values};

/// Bytes of the bomb before it is packed.
const BOMB: usize = 100 << 20;
/// Lists within lists.
const NESTED: usize = 10_000;

/// The body, filled and transformed.
pub fn bytes(request: &Request, values: &Values) -> Result<Vec<u8>, String> {
    let plain = match (&request.body, &request.body_raw, &request.body_base64) {
        (Some(body), None, None) => fill::value(body, values)?.to_string().into_bytes(),
        (None, Some(raw), None) => fill::text(raw, values)?.into_bytes(),
        (None, None, Some(text)) => STANDARD.decode(text).map_err(|e| format!("body_base64: {e}"))?,
        (None, None, None) => Vec::new(),
        _ => return Err("has more than one of body, body_raw and body_base64".to_owned()),
    };
    let transforms = request.transform.as_deref().unwrap_or("");
    transforms.split('+').filter(|t| !t.is_empty()).try_fold(plain, transform)
}

fn transform(plain: Vec<u8>, name: &str) -> Result<Vec<u8>, String> {
    let packed = match name {
        "gzip" => gzip(&plain),
        "zlib" => pack(ZlibEncoder::new(Vec::new(), Compression::default()), &plain, ZlibEncoder::finish),
        "deflate" => pack(DeflateEncoder::new(Vec::new(), Compression::default()), &plain, DeflateEncoder::finish),
        // The first half of what there would be: what a broken connection or a full disk leaves.
        "half" => Ok(plain.get(..plain.len() / 2).unwrap_or_default().to_vec()),
        // Spaces before the body: whoever unpacks without a bound holds all of them.
        "gzip-bomb-100MiB" => {
            let mut bomb = vec![b' '; BOMB];
            bomb.extend_from_slice(&plain);
            gzip(&bomb)
        }
        "nested-arrays-10000" => Ok([vec![b'['; NESTED], plain, vec![b']'; NESTED]].concat()),
        "latin-1" => match String::from_utf8_lossy(&plain).chars().map(|c| u8::try_from(u32::from(c))).collect() {
            Ok(bytes) => Ok(bytes),
            Err(_) => return Err("transform latin-1: a letter that Latin-1 does not have".to_owned()),
        },
        "utf-16" => Ok(String::from_utf8_lossy(&plain).encode_utf16().flat_map(u16::to_le_bytes).collect()),
        "bom" => Ok([&b"\xef\xbb\xbf"[..], &plain].concat()),
        other => return Err(format!("unknown transform `{other}`")),
    };
    packed.map_err(|e| format!("transform {name}: {e}"))
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    pack(GzEncoder::new(Vec::new(), Compression::default()), plain, GzEncoder::finish)
}

fn pack<W: std::io::Write>(
    mut to: W,
    plain: &[u8],
    finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    to.write_all(plain)?;
    finish(to)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use std::io::Read as _;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    fn sent(transform: Option<&str>) -> Result<Vec<u8>, String> {
        let text = serde_json::json!({"method": "POST", "path": "/", "body": {"a": "{{A}}é"}, "transform": transform});
        let request: Request = serde_json::from_value(text).unwrap();
        bytes(&request, &[("A".to_owned(), "1".to_owned())].into())
    }

    #[test]
    fn each_transform_gives_what_its_name_says() {
        let plain = "{\"a\":\"1é\"}".as_bytes().to_vec();
        assert_eq!(sent(None).unwrap(), plain);
        let mut text = Vec::new();
        GzDecoder::new(&sent(Some("gzip")).unwrap()[..]).read_to_end(&mut text).unwrap();
        ZlibDecoder::new(&sent(Some("zlib")).unwrap()[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, [plain.clone(), plain.clone()].concat());
        let whole = sent(Some("gzip")).unwrap();
        assert_eq!(sent(Some("gzip+half")).unwrap(), whole[..whole.len() / 2]);
        assert_eq!(sent(Some("latin-1")).unwrap(), b"{\"a\":\"1\xe9\"}");
        assert_eq!(sent(Some("nested-arrays-10000")).unwrap().len(), plain.len() + 2 * NESTED);
        assert!(sent(Some("gzip-bomb-100MiB")).unwrap().len() < BOMB / 500);
        assert!(sent(Some("rot13")).is_err());
    }
}
