//! The pipeline that ships, and what is made of it: the same text with other words in it.

/// `pipeline.toml` as it ships.
pub const SHIPPED: &str = include_str!("../../../pipeline.toml");

/// Lines of the shipped pipeline that are written anew elsewhere, by what they begin with.
pub const URL: &str = "url     = \"https://localhost:8443\"";
/// Where `receive` listens.
pub const LISTEN: &str = "listen = \"127.0.0.1:8443\"";
/// Where the console is.
pub const CONSOLE: &str = "listen = \"127.0.0.1:8080\"";
/// Where the metrics are.
pub const METRICS: &str = "listen = \"127.0.0.1:9473\"";
/// The probes.
pub const INCLUDE: &str = "include = [\"filters/*.toml\"]";

/// The shipped pipeline with these pieces replaced; each must stand in it exactly once.
pub fn with(changes: &[(&str, &str)]) -> Result<String, String> {
    let mut text = SHIPPED.to_owned();
    for (old, new) in changes {
        if SHIPPED.matches(old).count() != 1 {
            return Err(format!("the shipped pipeline does not hold `{old}` once"));
        }
        text = text.replacen(old, new, 1);
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_is_there() {
        let text = with(&[
            (URL, "url = \"u\""),
            (LISTEN, "listen = \"l\""),
            (METRICS, "listen = \"m\""),
            (CONSOLE, "listen = \"c\""),
            (INCLUDE, "include = []"),
        ]);
        let text = text.unwrap();
        assert!(["\"u\"", "\"l\"", "\"m\"", "\"c\"", "include = []"].iter().all(|part| text.contains(part)));
        assert!(with(&[("listen", "x")]).is_err(), "twice is not once");
    }
}
