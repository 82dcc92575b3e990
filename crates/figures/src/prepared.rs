//! Pictures that were drawn elsewhere: flame graphs, waterfalls.

use std::fmt::Write as _;

use base64::Engine as _;
use roxmltree::{Document, Node};
use sha2::{Digest as _, Sha256};

use crate::error::FigureError;
use crate::text::{clean, escaped};

/// An SVG that can stand in a page: without scripts, style sheets, event handlers and references to anything outside.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The children of the outer element.
    inner: String,
    /// Attributes of the outer element that its children inherit.
    inherited: String,
    width: f64,
    height: f64,
}

/// The elements that are kept. All others are left out, with all that is in them.
const ELEMENTS: [&str; 18] = [
    "svg",
    "g",
    "title",
    "defs",
    "rect",
    "path",
    "line",
    "polyline",
    "polygon",
    "circle",
    "ellipse",
    "text",
    "tspan",
    "linearGradient",
    "radialGradient",
    "stop",
    "pattern",
    "clipPath",
];

/// The attributes that are kept.
const ATTRIBUTES: [&str; 53] = [
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
    "cx",
    "cy",
    "r",
    "rx",
    "ry",
    "d",
    "dx",
    "dy",
    "points",
    "width",
    "height",
    "viewBox",
    "preserveAspectRatio",
    "transform",
    "gradientTransform",
    "patternTransform",
    "gradientUnits",
    "patternUnits",
    "offset",
    "stop-color",
    "stop-opacity",
    "fill",
    "fill-opacity",
    "fill-rule",
    "stroke",
    "stroke-width",
    "stroke-opacity",
    "stroke-dasharray",
    "stroke-linecap",
    "stroke-linejoin",
    "opacity",
    "font-size",
    "font-weight",
    "font-style",
    "font-family",
    "text-anchor",
    "dominant-baseline",
    "clip-path",
    "clip-rule",
    "overflow",
    "visibility",
    "display",
    "letter-spacing",
    "textLength",
    "lengthAdjust",
    "color",
    "paint-order",
];

/// The parser, and the converters of files, need stack for each level.
const DEEPEST: usize = 200;

/// How deep the elements of a text are nested, before it is parsed.
fn depth(xml: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = xml;
    while let Some((_, tag)) = rest.split_once('<') {
        let skipped =
            [("!--", "-->"), ("![CDATA[", "]]>")].into_iter().find(|(start, _)| tag.starts_with(start));
        if let Some((_, end)) = skipped {
            rest = tag.split_once(end).map_or("", |(_, after)| after);
            continue;
        }
        // Up to the end of the tag, which is not inside of quotes.
        let mut quote = None;
        let end = tag.bytes().position(|byte| match (quote, byte) {
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                false
            }
            (Some(open), _) => {
                if open == byte {
                    quote = None;
                }
                false
            }
            (None, _) => byte == b'>',
        });
        let end = end.unwrap_or(tag.len());
        match tag.as_bytes().first() {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) if tag[..end].ends_with('/') => {}
            Some(_) => depth += 1,
        }
        deepest = deepest.max(depth);
        rest = &tag[end..];
    }
    deepest
}

impl Prepared {
    /// Takes the picture over, without what a page must not have.
    ///
    /// # Errors
    ///
    /// The text is no SVG, its elements are nested deeper than 200 levels, or the size of the picture is unknown: neither `width` and `height` in pixels nor a `viewBox`.
    pub fn new(svg: &str) -> Result<Self, FigureError> {
        if depth(svg) > DEEPEST {
            return Err(FigureError::Prepared(format!(
                "its elements are nested deeper than {DEEPEST} levels"
            )));
        }
        let options = roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: 4_000_000 };
        let document = Document::parse_with_options(svg, options)
            .map_err(|error| FigureError::Prepared(format!("it is not XML ({error})")))?;
        let root = document.root_element();
        if root.tag_name().name() != "svg" {
            let found = clean(root.tag_name().name(), 40);
            return Err(FigureError::Prepared(format!("its outer element is `{found}`, not `svg`")));
        }
        let pixels = |name: &str| {
            root.attribute(name)?
                .trim()
                .trim_end_matches("px")
                .parse::<f64>()
                .ok()
                .filter(|size| *size >= 1.0)
        };
        let shown: Vec<f64> = root
            .attribute("viewBox")
            .unwrap_or_default()
            .split([' ', ','])
            .filter_map(|part| part.parse().ok())
            .collect();
        let (width, height) = match (pixels("width").zip(pixels("height")), shown.as_slice()) {
            (Some(size), _) => size,
            (None, [_, _, width, height]) if *width >= 1.0 && *height >= 1.0 => (*width, *height),
            _ => {
                let reason = "its size is unknown: give it `width` and `height` in pixels, or a `viewBox`";
                return Err(FigureError::Prepared(reason.to_owned()));
            }
        };
        if !(width * height).is_finite() || width > 100_000.0 || height > 1_000_000.0 {
            return Err(FigureError::Prepared(format!("it is too large: {width} by {height} pixels")));
        }
        let digest = Sha256::digest(svg.as_bytes());
        let prefix = format!("sb-{:02x}{:02x}{:02x}{:02x}-", digest[0], digest[1], digest[2], digest[3]);
        let mut inner = String::with_capacity(svg.len());
        // Each element is opened, and closed after its children.
        let mut open: Vec<(Node, bool)> = root.children().rev().map(|node| (node, false)).collect();
        while let Some((node, ends)) = open.pop() {
            let name = node.tag_name().name();
            if ends {
                let _ = write!(inner, "</{name}>");
            } else if node.is_text() {
                inner.push_str(&escaped(node.text().unwrap_or_default()));
            } else if node.is_element() && ELEMENTS.contains(&name) {
                let _ = write!(inner, "<{name}{}>", attributes(node, &prefix));
                open.push((node, true));
                open.extend(node.children().rev().map(|child| (child, false)));
            }
        }
        let mut inherited = String::new();
        for attribute in root.attributes() {
            let name = attribute.name();
            if name.starts_with("font-") || matches!(name, "fill" | "stroke") {
                write_attribute(&mut inherited, name, attribute.value(), &prefix);
            }
        }
        let shown = if shown.len() == 4 { shown } else { vec![0.0, 0.0, width, height] };
        let shown = shown.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let _ = write!(inherited, r#" viewBox="{shown}""#);
        Ok(Self { inner, inherited, width, height })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// The picture as an element with further attributes.
    pub(crate) fn element(&self, attributes: &str) -> String {
        format!("<svg{attributes}{}>{}</svg>", self.inherited, self.inner)
    }
}

/// The attributes of an element that are kept. Those of `style` become attributes: a strict page forbids `style`.
fn attributes(node: Node, prefix: &str) -> String {
    let mut out = String::new();
    for attribute in node.attributes().filter(|attribute| attribute.namespace().is_none()) {
        match attribute.name() {
            "id" => {
                let _ = write!(out, r#" id="{prefix}{}""#, escaped(attribute.value()));
            }
            "style" => {
                for (name, value) in attribute.value().split(';').filter_map(|rule| rule.split_once(':')) {
                    if node.attribute(name.trim()).is_none() {
                        write_attribute(&mut out, name.trim(), value.trim(), prefix);
                    }
                }
            }
            name => write_attribute(&mut out, name, attribute.value(), prefix),
        }
    }
    out
}

fn write_attribute(out: &mut String, name: &str, value: &str, prefix: &str) {
    if !ATTRIBUTES.contains(&name) {
        return;
    }
    let value = match value.find("url(") {
        None => value.to_owned(),
        // Only to a part of the same picture.
        Some(_) => match value.trim().strip_prefix("url(").and_then(|rest| rest.strip_suffix(')')) {
            Some(target) => match target.trim_matches(['"', '\'']).strip_prefix('#') {
                Some(id) => format!("url(#{prefix}{id})"),
                None => return,
            },
            None => return,
        },
    };
    let _ = write!(out, r#" {name}="{}""#, escaped(&value));
}

/// The hash of a text in a Content-Security-Policy.
pub(crate) fn policy_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_handlers_styles_and_foreign_references_are_left_out() {
        let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="100" height="50" onload="init()" font-family="monospace">
            <style>text { fill: red }</style><script>alert(1)</script>
            <defs><linearGradient id="g"><stop offset="0" stop-color="#fff"/></linearGradient></defs>
            <a xlink:href="https://example.org"><rect width="1"/></a><foreignObject><p>x</p></foreignObject>
            <image href="https://example.org/a.png"/><use href="#g"/>
            <g onclick="x()" style="fill: url(#g); stroke:#000"><title>a &lt;b&gt;</title><rect width="10" height="5" fill="url(https://example.org/x)"/></g>
        </svg>"##;
        let picture = Prepared::new(svg).unwrap();
        let text = picture.element("");
        for forbidden in
            ["script", "onload", "onclick", "style", "example.org", "foreignObject", "<a", "<use", "<image"]
        {
            assert!(!text.contains(forbidden), "{forbidden}: {text}");
        }
        assert!(text.contains("<title>a &lt;b&gt;</title>"), "{text}");
        assert!(text.contains("stroke=\"#000\"") && text.contains("fill=\"url(#sb-"), "{text}");
        assert!(text.contains(r#"font-family="monospace""#), "{text}");
        assert_eq!(picture.size(), (100.0, 50.0));
    }

    #[test]
    fn what_is_no_picture_is_refused_with_a_reason() {
        let check = |svg: &str, reason: &str| {
            let error = Prepared::new(svg).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        };
        check("hello", "not XML");
        check("<html/>", "`html`, not `svg`");
        check("<svg/>", "size is unknown");
        check(r#"<svg width="100%" height="50%"/>"#, "size is unknown");
        check(r#"<svg width="1e9" height="5"/>"#, "too large");
    }

    #[test]
    fn a_picture_that_is_nested_too_deep_is_refused() {
        let nested = |depth: usize| {
            format!(
                r#"<svg width="9" height="9">{}{}</svg>"#,
                "<g id='>'>".repeat(depth),
                "</g>".repeat(depth)
            )
        };
        assert_eq!(Prepared::new(&nested(150)).unwrap().element("").matches("</g>").count(), 150);
        let error = Prepared::new(&nested(100_000)).unwrap_err().to_string();
        assert_eq!(error, "the SVG cannot be embedded: its elements are nested deeper than 200 levels");
        assert_eq!(depth("<a><!-- </a></a> --><b x='/>'><c/></b><![CDATA[<d>]]></a>"), 2);
    }
}
