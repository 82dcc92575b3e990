//! Each line of the bytes is a segment's document; the envelope around them is always sound. So mutations reach the
//! inner JSON without having to keep its escaping intact. The first line is the trace's duration.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (duration, documents) = text.split_once('\n').unwrap_or((text, ""));
    let documents: Vec<_> =
        documents.lines().map(|document| serde_json::json!({ "Document": document }).to_string()).collect();
    let line = format!(r#"{{"Id":"1-a","Duration":{duration},"Segments":[{}]}}"#, documents.join(","));
    sb_fuzz::check_text(&line);
});
