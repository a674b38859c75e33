//! What must hold of every page, whoever filled it.

use std::path::Path;

use serde_json::Value;

use crate::chromium::Chromium;

/// Bytes of a page, and of all its script.
const HTML_MAX: u64 = 200_000;
const SCRIPT_MAX: u64 = 60_000;

/// Levels A and AA of WCAG 2.2, and what axe-core knows to be good beyond them (headings in order, landmarks).
const RULES: &str = r#"["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]"#;

/// Texts in which a line is turned round, and characters that no HTML holds.
const ODD: &str = r"/[\u0000\u202a-\u202e\u2066-\u2069]/";

/// What is no part of any page of ours, however it came there.
const FOREIGN: &str = "style, iframe, frame, object, embed, base, img, video, audio, applet, marquee, portal, svg a, svg image, \
                       svg foreignObject, svg script, svg use, math, meta[http-equiv], input[type=image]";

/// What is wrong with the page that stands there now.
pub fn wrong(chromium: &Chromium, base: &str) -> Vec<String> {
    // That a page which refuses says so with its status is no complaint.
    let refuses = format!("{} - Failed to load resource: the server responded with a status of 4", chromium.url());
    let mut found = chromium.complaints();
    found.retain(|why| !why.starts_with(&refuses));
    let foreign = chromium.requests().into_iter().filter(|url| !url.starts_with(base) && !url.starts_with("data:,"));
    found.extend(foreign.map(|url| format!("asks for {url}")));
    let script = format!(
        r#"const wrong = [], origin = location.origin;
        const all = selector => [...document.querySelectorAll(selector)];
        const ours = url => {{ try {{ return new URL(url, location.href).origin === origin; }} catch {{ return false; }} }};
        if (window.owned !== undefined) wrong.push("a text was run as script");
        for (const e of all({FOREIGN:?})) wrong.push("an element of somebody else: " + e.outerHTML.slice(0, 200));
        for (const e of all("script")) if (e.textContent || !ours(e.src)) wrong.push("a script: " + e.outerHTML.slice(0, 200));
        for (const e of all("link")) if (!ours(e.href)) wrong.push("a link: " + e.outerHTML.slice(0, 200));
        for (const e of all("*")) {{
            for (const {{name}} of e.attributes) {{
                if (/^on|^(style|srcdoc|ping|background|xlink:href)$/i.test(name)) wrong.push("an attribute: " + e.outerHTML.slice(0, 200));
            }}
            for (const name of ["href", "action", "formaction", "src"]) {{
                if (e.hasAttribute(name) && !ours(e.getAttribute(name))) wrong.push("leads elsewhere: " + e.outerHTML.slice(0, 200));
            }}
        }}
        if ({ODD}.test(document.documentElement.outerHTML)) wrong.push("holds odd characters");
        for (const name of ["main", "h1", "header.top", "a.skip"]) {{
            if (all(name).length !== 1) wrong.push(all(name).length + " times " + name);
        }}
        const ids = all("[id]").map(e => e.id);
        for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("twice the id " + id);
        const size = performance.getEntriesByType("navigation")[0].decodedBodySize;
        if (size > {HTML_MAX}) wrong.push(size + " bytes of HTML");
        const scripts = performance.getEntriesByType("resource").filter(e => e.initiatorType === "script");
        const script = scripts.reduce((sum, e) => sum + e.decodedBodySize, 0);
        if (script > {SCRIPT_MAX}) wrong.push(script + " bytes of script");
        return wrong;"#
    );
    found.extend(words(&chromium.run(&script)));
    found
}

/// Nobody has to scroll to the side at this width; says what sticks out.
pub fn too_wide(chromium: &Chromium, width: u32) -> Vec<String> {
    chromium.size(width);
    let sticks_out = r#"const limit = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= limit) return [];
        const held = e => { for (; e; e = e.parentElement) if (getComputedStyle(e).overflowX !== "visible") return true; };
        const out = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > limit + 1 && !held(e.parentElement));
        return [limit + " px hold only a part of " + document.documentElement.scrollWidth + ": " + out.slice(0, 3).map(e => e.outerHTML.slice(0, 200)).join(" ")];"#;
    words(&chromium.run(sticks_out))
}

/// What axe-core finds: barriers for people.
pub fn barriers(chromium: &Chromium) -> Vec<String> {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/node_modules/axe-core/axe.min.js");
    let axe =
        std::fs::read_to_string(&axe).unwrap_or_else(|e| panic!("{}: {e}: scripts/browser gets it", axe.display()));
    if chromium.run("return typeof axe") == "undefined" {
        chromium.run(&axe);
    }
    let look = format!(
        r#"return axe.run(document, {{runOnly: {{type: "tag", values: {RULES}}}, resultTypes: ["violations"]}}).then(found =>
        found.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " (" + n.failureSummary.split("\n").slice(1).join(";") + ")").join(" ")))"#
    );
    words(&chromium.run(&look))
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}
