//! A report as one page that needs nothing else.

use super::sheet::{Row, Sheet};
use limpid::{PictureResult, Report, render};
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d5d8de;--soft:#6b7280;--best:#0b6e4f}\
@media(prefers-color-scheme:dark){:root{--line:#3a3f48;--soft:#9aa1ac;--best:#57d3a3}}\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}\
.wide{overflow-x:auto}table{border-collapse:collapse}\
th,td{border-bottom:1px solid var(--line);padding:.3rem .7rem;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.best{color:var(--best);font-weight:700}.soft{color:var(--soft);font-size:.87em}\
img{display:block;max-width:192px}code{font-size:.87em;white-space:pre-wrap}";

/// A text in a place where only a text may be.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters have no place in a page.
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Bytes in base 64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |w, i| {
            w << 8 | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// The page.
pub(super) fn page(report: &Report, sheet: &Sheet) -> anyhow::Result<String> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <title>Limpid: evaluation</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>How good the maps are</h1>\n"
    );
    facts(report, &mut page);
    means(report, &mut page);
    contact_sheet(report, sheet, &mut page)?;
    pictures(report, &mut page);
    protocols(report, &mut page);
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn facts(report: &Report, page: &mut String) {
    let results = report.pictures.iter().filter(|p| p.error.is_none()).count();
    let failed = report.pictures.len() - results;
    let _ = writeln!(
        page,
        "<p>Model {} <span class=\"soft\">(SHA-256 {})</span><br>{} {} on {} ({}) in {}, seed {}; Limpid {}</p>",
        escape(&report.model),
        escape(&report.model_sha256),
        results,
        if results == 1 { "result" } else { "results" },
        escape(&report.device),
        escape(&report.isa),
        escape(&report.precision),
        report.seed,
        escape(&report.version),
    );
    if failed > 0 {
        let _ = writeln!(
            page,
            "<p>{failed} failed; the table of results says why.</p>"
        );
    }
}

fn means(report: &Report, page: &mut String) {
    page.push_str(
        "<h2>Means over the pictures</h2>\n<div class=\"wide\"><table>\n<tr><th>metric</th>",
    );
    for method in &report.summary {
        let _ = write!(page, "<th>{}</th>", escape(&method.method));
    }
    page.push_str("</tr>\n");
    for (i, (name, info)) in report.metrics.iter().enumerate() {
        let arrow = match info.better {
            Some("higher") => " \u{2191}",
            Some("lower") => " \u{2193}",
            _ => "",
        };
        let _ = write!(page, "<tr><th>{}{arrow}</th>", escape(name));
        let best = report.best(name);
        for method in &report.summary {
            let (_, found) = &method.metrics[i];
            let class = if best.contains(&&*method.method) {
                "n best"
            } else {
                "n"
            };
            let _ = write!(page, "<td class=\"{class}\">");
            match (found.mean, found.standard_error) {
                (Some(mean), Some(error)) => {
                    let (mean, error) = (number(mean), number(error));
                    let _ = write!(page, "{mean} <span class=\"soft\">\u{b1} {error}</span>");
                }
                (Some(mean), None) => page.push_str(&number(mean)),
                (None, _) => page.push('\u{2013}'),
            }
            page.push_str("</td>");
        }
        page.push_str("</tr>\n");
    }
    for (name, of) in [("gradients", 0), ("forward passes", 1), ("seconds", 2)] {
        let _ = write!(page, "<tr><th class=\"soft\">{name} a map</th>");
        for method in &report.summary {
            let value = [method.gradients, method.forwards, method.seconds][of];
            let value = value.map_or("\u{2013}".to_owned(), number);
            let _ = write!(page, "<td class=\"n soft\">{value}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str(
        "</table></div>\n<p class=\"soft\">Mean \u{b1} standard error of the mean. \u{2191} more is better, \u{2193} less is better; the best mean is green. Metrics judge different things and often disagree.</p>\n",
    );
}

fn number(value: f64) -> String {
    escape(&render::format_value(value))
}

fn contact_sheet(report: &Report, sheet: &Sheet, page: &mut String) -> anyhow::Result<()> {
    let mut rows = sheet.rows()?.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    page.push_str(
        "<h2>Contact sheet</h2>\n<div class=\"wide\"><table>\n<tr><th>as the model sees it</th>",
    );
    for method in &report.summary {
        let _ = write!(page, "<th>{}</th>", escape(&method.method));
    }
    page.push_str("</tr>\n");
    for row in rows {
        let Row {
            result,
            picture,
            maps,
        } = row?;
        let caption = format!("{}<br>{}", escape(image(result)), escape(&target(result)));
        let _ = write!(
            page,
            "<tr><td>{}<span class=\"soft\">{caption}</span></td>",
            embedded(&picture, image(result))
        );
        for (map, method) in maps.iter().zip(&report.summary) {
            match map {
                Some((png, limit)) => {
                    let _ = write!(
                        page,
                        "<td>{}<span class=\"soft\">colours end at {}</span></td>",
                        embedded(png, &method.method),
                        number(*limit)
                    );
                }
                None => page.push_str("<td class=\"soft\">failed</td>"),
            }
        }
        page.push_str("</tr>\n");
    }
    let scale = match sheet.is_shared() {
        true => "All maps of a method have one colour scale.",
        false => "Each map has its own colour scale.",
    };
    let _ = writeln!(page, "</table></div>\n<p class=\"soft\">{scale}</p>");
    Ok(())
}

fn embedded(png: &[u8], text: &str) -> String {
    let (text, data) = (escape(text), base64(png));
    format!("<img alt=\"{text}\" src=\"data:image/png;base64,{data}\">")
}

fn image(result: &PictureResult) -> &str {
    result.image.as_deref().unwrap_or("picture")
}

fn target(result: &PictureResult) -> String {
    let Some(target) = &result.target else {
        return String::new();
    };
    let mut text = format!("{} {}", target.index, target.label);
    if let Some(other) = &target.against {
        let _ = write!(text, " rather than {} {}", other.index, other.label);
    }
    if let Some(probability) = result.probability {
        let _ = write!(text, " ({:.1} %)", 100.0 * probability);
    }
    text
}

fn pictures(report: &Report, page: &mut String) {
    page.push_str(
        "<h2>Results</h2>\n<div class=\"wide\"><table>\n<tr><th>picture</th><th>method</th>",
    );
    for (name, _) in &report.metrics {
        let _ = write!(page, "<th>{}</th>", escape(name));
    }
    page.push_str("<th>gradients</th><th>forward passes</th><th>seconds</th></tr>\n");
    let columns = report.metrics.len() + 3;
    for picture in &report.pictures {
        let shown = escape(image(picture));
        if let Some(error) = &picture.error {
            let error = escape(error);
            let _ = writeln!(
                page,
                "<tr><td>{shown}</td><td colspan=\"{}\">{error}</td></tr>",
                columns + 1
            );
        }
        for result in &picture.results {
            let class = escape(&target(picture));
            let _ = write!(
                page,
                "<tr><td>{shown}<br><span class=\"soft\">{class}</span></td><td>{}</td>",
                escape(&result.method)
            );
            if let Some(error) = &result.error {
                let error = escape(error);
                let _ = writeln!(page, "<td colspan=\"{columns}\">{error}</td></tr>");
                continue;
            }
            for (name, _) in &report.metrics {
                let value = result.metrics.iter().find(|(n, _)| n == name);
                let value = value
                    .and_then(|(_, v)| *v)
                    .map_or("\u{2013}".to_owned(), number);
                let _ = write!(page, "<td class=\"n\">{value}</td>");
            }
            let cost = &result.cost;
            let _ = writeln!(
                page,
                "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                cost.evaluations.gradients,
                cost.evaluations.forwards,
                number(cost.seconds)
            );
        }
    }
    page.push_str("</table></div>\n");
    let mut notes: Vec<(&str, &str, &str)> = Vec::new();
    for result in report.pictures.iter().flat_map(|p| &p.results) {
        for (metric, note) in &result.notes {
            let note = (&*result.method, &**metric, &**note);
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    if !notes.is_empty() {
        page.push_str("<p class=\"soft\">Why numbers are missing:</p>\n<ul class=\"soft\">\n");
        for (method, metric, note) in notes {
            let [method, metric, note] = [method, metric, note].map(escape);
            let _ = writeln!(page, "<li>{metric} of {method}: {note}</li>");
        }
        page.push_str("</ul>\n");
    }
}

fn protocols(report: &Report, page: &mut String) {
    page.push_str("<h2>Protocols</h2>\n<div class=\"wide\"><table>\n<tr><th>metric</th><th>protocol</th></tr>\n");
    for (name, info) in &report.metrics {
        let protocol = escape(&info.protocol.to_string());
        let _ = writeln!(
            page,
            "<tr><th>{}</th><td><code>{protocol}</code></td></tr>",
            escape(name)
        );
    }
    page.push_str("</table></div>\n<h2>Methods</h2>\n<div class=\"wide\"><table>\n<tr><th>method</th><th>parameters</th></tr>\n");
    for (name, parameters) in &report.methods {
        let parameters = escape(&parameters["parameters"].to_string());
        let _ = writeln!(
            page,
            "<tr><th>{}</th><td><code>{parameters}</code></td></tr>",
            escape(name)
        );
    }
    page.push_str("</table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn nothing_that_is_shown_is_markup() {
        let text = "<img src=x onerror='a' title=\"b\">&\u{1b}";
        let escaped = escape(text);
        assert_eq!(
            escaped,
            "&lt;img src=x onerror=&#39;a&#39; title=&quot;b&quot;&gt;&amp;\u{fffd}"
        );
    }
}
