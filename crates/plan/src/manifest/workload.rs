//! The raw shape of `[workload]`: inline in a benchmark, or a file of its own.

use crate::manifest::decode::{Map, Text, choice, shape, words};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Json, Period, Scalar};
use sb_workload::template::Template;

shape! {
    /// What is sent, whatever the load.
    #[cfg_attr(test, schemars(title = "sb workload"))]
    pub(crate) struct WorkloadFile {
        /// What sends the requests. Default: `"native"`, or `"k6"` with a script.
        engine: Option<Spanned<EngineWord>>,
        /// A k6 script instead of requests, relative to this file. Example: `"workload.js"`.
        script: Option<Text>,
        /// Of a script: what it finds in `__ENV`. Example: `env = { BASE_URL = "{{outputs.endpoint}}" }`.
        env: Option<Map<Spanned<Template>>>,
        /// Of a script: options for k6 (a table, or a JSON file), laid over those that the load gives. Example: `options = { thresholds = { http_req_failed = ["rate<0.01"] } }`.
        options: Option<Spanned<OptionsFile>>,
        /// Of a script, in containers: an alias from `[images]` or a reference. Default: the image `k6` of the table of default images.
        image: Option<Text>,
        /// Of a script: Docker engines that send the load together, each its share. Example: `["ssh://lg1", "ssh://lg2"]`.
        load_generators: Option<Spanned<Vec<Text>>>,
        /// A request that takes longer counts as timed out. Default: `"30s"`.
        timeout: Option<Spanned<Period>>,
        /// Each invocation picks one of them, or of the sequences, by weight.
        requests: Option<Spanned<Vec<Spanned<RequestFile>>>>,
        /// Requests that one invocation sends one after another, and that pass values on.
        sequences: Option<Spanned<Vec<Spanned<SequenceFile>>>>,
        /// Default: HTTP/1.1 over http, what the server prefers over https. `"2"` over http needs a server that knows without being asked.
        http_version: Option<HttpVersionWord>,
        /// `false`: every request opens a connection of its own. Default: `true`.
        connection_reuse: Option<bool>,
        /// Which certificates are trusted. Default: those that the system trusts.
        tls: Option<TlsFile>,
        /// Which header carries the trace id of an invocation. Default: `"both"`.
        trace_header: Option<TraceHeaderWord>,
        /// `true`: cookies of an answer are sent with the later requests of its sequence. Default: `false`.
        cookies: Option<bool>,
        /// `false`: `k6_metrics.csv` is not written (some 13 rows for each request). Default: `true`.
        k6_metrics: Option<bool>,
    }
}

words! {
    /// What sends the requests.
    pub(crate) enum EngineWord {
        /// The built-in load generator.
        Native = "native",
        /// k6, with a script.
        K6 = "k6",
    }
}

choice! {
    /// Options for k6.
    pub(crate) enum OptionsFile: "a table of options or the path of a JSON file" {
        /// A JSON file, relative to this file. Example: `"options.json"`.
        String => Path(String),
        /// The options themselves.
        Table => Inline(Json),
    }
}

words! {
    /// A version of HTTP.
    pub(crate) enum HttpVersionWord {
        /// HTTP/1.1.
        Http1 = "1.1",
        /// HTTP/2: agreed in the TLS handshake over https, without asking over http.
        Http2 = "2",
    }
}

words! {
    /// Which header carries the trace id.
    pub(crate) enum TraceHeaderWord {
        /// `X-Amzn-Trace-Id`.
        Xray = "xray",
        /// `traceparent`, of W3C Trace Context, with the same id.
        Traceparent = "traceparent",
        /// Both of them.
        Both = "both",
        /// Neither: answers cannot be told from their traces.
        None = "none",
    }
}

shape! {
    /// Which certificates are trusted.
    pub(crate) struct TlsFile {
        /// A PEM file with certificates that are trusted besides those of the system, relative to this file. Example: `"test-ca.pem"`.
        ca_file: Option<Text>,
        /// `false`: every certificate will do. For test servers only. Default: `true`.
        verify: Option<Spanned<bool>>,
    }
}

shape! {
    /// Requests that one invocation sends one after another: each when the one before was answered as expected.
    pub(crate) struct SequenceFile {
        /// Unique among sequences. Example: `"checkout"`.
        name: Text,
        /// Share among the requests and sequences, above 0. Default: 1.
        weight: Option<Spanned<f64>>,
        /// In the order in which they are sent.
        requests: Spanned<Vec<Spanned<RequestFile>>>,
    }
}

shape! {
    /// A value taken from an answer: exactly one of `json`, `regex` (from the body) and `header` (all of it, or what `regex` finds in it).
    pub(crate) struct ExtractFile {
        /// JSON pointer into the body. Example: `"/items/0/id"`.
        json: Option<Text>,
        /// Regular expression: its group, or all that it matches. Example: `'token=(\w+)'`.
        regex: Option<Text>,
        /// Name of a header. Example: `"Location"`.
        header: Option<Text>,
    }
}

shape! {
    /// One kind of request.
    pub(crate) struct RequestFile {
        /// Also the request type by which reports group. Example: `"upload"`.
        name: Text,
        /// Share among the requests and sequences, above 0; not within a sequence. Default: 1.
        weight: Option<Spanned<f64>>,
        /// HTTP method. Default: `"GET"`, or `"POST"` with a body. Example: `"PUT"`.
        method: Option<Text>,
        /// Where it goes; values after the start are percent-encoded. Example: `"{{outputs.endpoint}}/images/{{request.uuid}}.jpg"`.
        url: Spanned<Template>,
        /// HTTP headers. Example: `headers = { Accept = "application/json" }`.
        headers: Option<Map<Spanned<Template>>>,
        /// The body as text; values are JSON-escaped when it is JSON. Example: `'{"id": "{{request.uuid}}"}'`.
        body: Option<Spanned<Template>>,
        /// A file sent byte for byte, relative to this file. Example: `"images/cat.jpg"`.
        body_file: Option<Text>,
        /// Which answers count as a success. Default: every 2xx and 3xx. Example: `expect = { status = [200, 201] }`.
        expect: Option<ExpectFile>,
        /// In place of the workload's. Example: `"5s"`.
        timeout: Option<Spanned<Period>>,
        /// Values that later requests of the sequence know as `{{extracted.NAME}}`. Example: `extract.id = { json = "/id" }`.
        extract: Option<Map<Spanned<ExtractFile>>>,
    }
}

shape! {
    /// Which answers count as a success: all that is said must hold.
    pub(crate) struct ExpectFile {
        /// One status or a list. Default: every 2xx and 3xx. Example: `[200, 201]`.
        status: Option<Spanned<StatusFile>>,
        /// A text that the body holds. Example: `"ready"`.
        contains: Option<Text>,
        /// JSON pointers into the body, and the values there. Example: `json = { "/status" = "done" }`.
        json: Option<Map<Scalar>>,
        /// A regular expression that matches somewhere in the body.
        regex: Option<Text>,
    }
}

choice! {
    /// One status or a list.
    pub(crate) enum StatusFile: "a status (a number) or a list of them" {
        /// One status. Example: `200`.
        Integer => One(Spanned<i64>),
        /// A list. Example: `[200, 201]`.
        Array => Many(Vec<Spanned<i64>>),
    }
}
