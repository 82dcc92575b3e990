//! The raw shape of `[workload]`: inline in a benchmark, or a file of its own.

use crate::manifest::decode::{Map, Text, choice, shape, words};
use crate::manifest::template::Template;
use crate::manifest::tree::Spanned;
use crate::manifest::values::Period;

shape! {
    /// What is sent, whatever the load.
    #[schemars(title = "sb workload")]
    pub struct WorkloadFile {
        /// What sends the requests. Default: `"native"`.
        engine: Option<EngineWord>,
        /// A request that takes longer counts as timed out. Default: `"30s"`.
        timeout: Option<Spanned<Period>>,
        /// At least one; each invocation picks one by weight.
        requests: Spanned<Vec<Spanned<RequestFile>>>,
    }
    unsupported {
        "script" => "describe the requests as [[workload.requests]] tables",
        "env" => "describe the requests as [[workload.requests]] tables; k6 scripts are not run",
    }
}

words! {
    /// What sends the requests.
    pub enum EngineWord {
        /// The built-in load generator.
        Native = "native",
    }
    unsupported {
        "k6" => "use `native` (or leave the key out) and describe the requests as [[workload.requests]] tables",
    }
}

shape! {
    /// One kind of request.
    pub struct RequestFile {
        /// Also the request type by which reports group. Example: `"upload"`.
        name: Text,
        /// Share among the requests, above 0. Default: 1.
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
    }
}

shape! {
    /// Which answers count as a success.
    pub struct ExpectFile {
        /// One status or a list. Example: `[200, 201]`.
        status: StatusFile,
    }
}

choice! {
    /// One status or a list.
    pub enum StatusFile: "a status or a list of them" {
        /// One status. Example: `200`.
        Integer => One(Spanned<i64>),
        /// A list. Example: `[200, 201]`.
        Array => Many(Vec<Spanned<i64>>),
    }
}
