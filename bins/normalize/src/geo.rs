//! Where on earth an address is, by a file in MaxMind's format (`geo = "geo/city.mmdb"`).

use std::net::IpAddr;
use std::path::Path;

use event::Request;
use maxminddb::{Reader, geoip2};
use serde_json::{Map, Value, json};

/// A longer file is none for cities.
const FILE_MAX: u64 = 512 << 20;

/// The file, if there is one.
#[derive(Default)]
pub(crate) struct Geo(Option<Reader<Vec<u8>>>);

impl std::fmt::Debug for Geo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Geo(a file)" } else { "Geo(none)" })
    }
}

impl Geo {
    /// Reads the file into memory. The error names it.
    pub(crate) fn open(file: &Path) -> Result<Self, String> {
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
        let length = std::fs::metadata(file).map_err(|e| named(&e))?.len();
        if length > FILE_MAX {
            return Err(named(&format!("{length} bytes are too many for addresses of cities")));
        }
        Reader::open_readfile(file).map(|reader| Self(Some(reader))).map_err(|e| named(&e))
    }

    /// Adds `geo` to a request whose address is known.
    pub(crate) fn add(&self, request: &mut Request) {
        let Some(found) = request.ip.as_deref().and_then(|ip| self.find(ip.parse().ok()?)) else { return };
        request.extra.insert("geo".to_owned(), found.into());
    }

    fn find(&self, ip: IpAddr) -> Option<Map<String, Value>> {
        let city: geoip2::City<'_> = self.0.as_ref()?.lookup(ip.to_canonical()).ok()?.decode().ok()??;
        let mut found = Map::new();
        let mut put = |key: &str, value: Option<&str>| {
            found.extend(value.map(|value| (key.to_owned(), Value::from(value))));
        };
        put("country", city.country.iso_code);
        put("city", city.city.names.english);
        if let (Some(lat), Some(lon)) = (city.location.latitude, city.location.longitude) {
            found.insert("location".to_owned(), json!({"lat": lat, "lon": lon}));
        }
        (!found.is_empty()).then_some(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
pub(crate) mod tests {
    use super::*;

    /// A text, and a map of so many pairs, as the format has them (all of them short).
    fn text(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 29);
        [&[0x40 | length], text.as_bytes()].concat()
    }

    fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let head = vec![0xe0 | u8::try_from(pairs.len()).unwrap()];
        pairs.iter().fold(head, |all, (key, value)| [all, text(key), value.clone()].concat())
    }

    fn double(n: f64) -> Vec<u8> {
        [&[0x68][..], &n.to_be_bytes()].concat()
    }

    /// A file that knows 203.0.113.0/24.
    pub(crate) fn file() -> Vec<u8> {
        let (prefix, bits) = (u32::from_be_bytes([203, 0, 113, 0]), 24u32);
        let (none, data) = (bits, bits + 16);
        let mut all = Vec::new();
        for bit in 0..bits {
            let next = if bit + 1 == bits { data } else { bit + 1 };
            let one = prefix >> (31 - bit) & 1 == 1;
            for record in if one { [none, next] } else { [next, none] } {
                all.extend_from_slice(record.to_be_bytes().get(1..).unwrap());
            }
        }
        all.extend_from_slice(&[0; 16]);
        let city = map(&[("names", map(&[("en", text("Berlin")), ("de", text("Berlin"))]))]);
        let location = map(&[("latitude", double(52.5)), ("longitude", double(13.4))]);
        all.extend(map(&[("city", city), ("country", map(&[("iso_code", text("DE"))])), ("location", location)]));
        all.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        let short = |n: u8| vec![0xa1, n];
        let fields = [
            ("binary_format_major_version", short(2)),
            ("binary_format_minor_version", short(0)),
            ("build_epoch", vec![0x01, 0x02, 1]),
            ("database_type", text("Test-City")),
            ("description", map(&[])),
            ("ip_version", short(4)),
            ("languages", vec![0x00, 0x04]),
            ("node_count", vec![0xc1, 24]),
            ("record_size", short(24)),
        ];
        all.extend(map(&fields));
        all
    }

    #[test]
    fn an_address_has_a_place_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("city.mmdb");
        std::fs::write(&path, file()).unwrap();
        let geo = Geo::open(&path).unwrap();
        let of = |ip: &str| {
            let mut request = Request { ip: Some(ip.into()), ..Request::default() };
            geo.add(&mut request);
            request.extra.get("geo").cloned()
        };
        let berlin = json!({"country": "DE", "city": "Berlin", "location": {"lat": 52.5, "lon": 13.4}});
        assert_eq!((of("203.0.113.9"), of("::ffff:203.0.113.9")), (Some(berlin.clone()), Some(berlin)));
        for unknown in ["203.0.114.1", "2001:db8::1", "no address", ""] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
        let mut request = Request { ip: Some("203.0.113.9".into()), ..Request::default() };
        Geo::default().add(&mut request);
        assert!(request.extra.is_empty());
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("city.mmdb");
        assert!(Geo::open(&path).unwrap_err().contains("city.mmdb"));
        std::fs::write(&path, "no such file").unwrap();
        assert!(Geo::open(&path).unwrap_err().contains("city.mmdb"));
        // Cut anywhere, it is refused or finds nothing; it never ends the process.
        let whole = file();
        for length in 0..whole.len() {
            std::fs::write(&path, whole.get(..length).unwrap()).unwrap();
            if let Ok(geo) = Geo::open(&path) {
                geo.add(&mut Request { ip: Some("203.0.113.9".into()), ..Request::default() });
            }
        }
    }
}
