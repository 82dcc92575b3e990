//! Rules about what is sent: requests, sequences, scripts.

use super::About::Manifest;
use super::Depends::{File, Nothing, Table};
use super::{Rule, error, warning};
use crate::manifest::problem::Severity;

pub(super) const RULES: &[Rule] = &[
    error(
        "nothing-to-send",
        Manifest,
        File,
        [
            "A workload has requests, sequences of requests, or a script. A step with `load = true` needs a workload.",
            "[workload]\nrequests = []",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\" }]",
        ],
    ),
    error(
        "invalid-url",
        Manifest,
        Nothing,
        [
            "A URL begins with `http://` or `https://`, or with a value that does. The rest must be one that can be requested.",
            "[workload]\nrequests = [{ name = \"read\", url = \"127.0.0.1:8080/items\" }]",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/items\" }]",
        ],
    ),
    error(
        "invalid-method",
        Manifest,
        Nothing,
        [
            "A method is one that is registered for HTTP, in capital letters. `sb validate --fix` corrects one that is nearly that.",
            "[workload]\nrequests = [{ name = \"add\", method = \"PSOT\", url = \"http://127.0.0.1:8080/items\" }]",
            "[workload]\nrequests = [{ name = \"add\", method = \"POST\", url = \"http://127.0.0.1:8080/items\" }]",
        ],
    ),
    error(
        "invalid-header",
        Manifest,
        Nothing,
        [
            "A header has a name that HTTP allows and a value on one line. `sb` itself sets those that frame a message and carry the trace id.",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\", headers = { \"Content Type\" = \"text/plain\" } }]",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\", headers = { \"Content-Type\" = \"text/plain\" } }]",
        ],
    ),
    error(
        "two-bodies",
        Manifest,
        Nothing,
        [
            "A request has one body: a text in `body`, or a file in `body_file`.",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body = \"cat\", body_file = \"images/cat.jpg\" }]",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body_file = \"images/cat.jpg\" }]",
        ],
    ),
    warning(
        "body-not-json",
        Manifest,
        Nothing,
        [
            "A body that looks like JSON, or says so in its Content-Type, is probably meant to be JSON.",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body = '{\"id\": {{request.uuid}}}' }]",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", body = '{\"id\": \"{{request.uuid}}\"}' }]",
        ],
    ),
    error(
        "sequence-weight",
        Manifest,
        Nothing,
        [
            "The requests of a sequence are all sent, one after another. A weight belongs to the sequence.",
            "[[workload.sequences]]\nname = \"shop\"\nrequests = [{ name = \"read\", weight = 2, url = \"http://127.0.0.1:8080/\" }]",
            "[[workload.sequences]]\nname = \"shop\"\nweight = 2\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\" }]",
        ],
    ),
    error(
        "invalid-extract",
        Manifest,
        Table,
        [
            "A value is extracted from exactly one part of an answer: `json`, `regex`, or `header`.",
            "[[workload.sequences]]\nname = \"shop\"\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", extract.id = {} }]",
            "[[workload.sequences]]\nname = \"shop\"\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", extract.id = { json = \"/id\" } }]",
        ],
    ),
    error(
        "unused-extract",
        Manifest,
        Nothing,
        [
            "A value that is extracted is known to later requests of the same sequence. Outside of sequences nothing could use it.",
            "[workload]\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", extract.id = { json = \"/id\" } }]",
            "[[workload.sequences]]\nname = \"shop\"\nrequests = [{ name = \"add\", url = \"http://127.0.0.1:8080/\", extract.id = { json = \"/id\" } }]",
        ],
    ),
    error(
        "unused-certificate",
        Manifest,
        Table,
        [
            "With `verify = false` every certificate is trusted, so naming one has no effect.",
            "[workload]\nrequests = [{ name = \"read\", url = \"https://127.0.0.1:8443/\" }]\ntls = { verify = false, ca_file = \"ca.pem\" }",
            "[workload]\nrequests = [{ name = \"read\", url = \"https://127.0.0.1:8443/\" }]\ntls = { ca_file = \"ca.pem\" }",
        ],
    ),
    warning(
        "unused-cookies",
        Manifest,
        Table,
        [
            "Cookies are kept from one request of a sequence to the next. Without sequences `cookies` has no effect.",
            "[workload]\ncookies = true\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\" }]",
            "[workload]\nrequests = [{ name = \"read\", url = \"http://127.0.0.1:8080/\" }]",
        ],
    ),
    warning(
        "unknown-route",
        Manifest,
        File,
        [
            "A request goes to the API of the template that is deployed to the local target, and no route there has its method and path. It would fail.",
            "[workload]\nrequests = [{ name = \"read\", url = \"{{outputs.endpoint}}/hallo\" }]\n\n[[deploy]]\nname = \"stack\"\nlocal = { template = \"api.yaml\" }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
            "[workload]\nrequests = [{ name = \"read\", url = \"{{outputs.endpoint}}/hello\" }]\n\n[[deploy]]\nname = \"stack\"\nlocal = { template = \"api.yaml\" }\n\n[[cleanup]]\nname = \"stack\"\nlocal = { down = true }",
        ],
    ),
    error(
        "invalid-script",
        Manifest,
        Table,
        [
            "A k6 script says itself what is sent and how. Keys that describe requests do not go with one, and keys for scripts need one. The script exports a function to run: `export default function () { … }`.",
            "[workload]\nscript = \"workload.js\"\ntimeout = \"10s\"",
            "[workload]\nscript = \"workload.js\"",
        ],
    )
    .or(Severity::Note),
    warning(
        "no-default-function",
        Manifest,
        Table,
        [
            "k6 runs the default function of a script. One that only exports others runs under a load whose scenarios name one of them with `exec`, and under no other.",
            "[workload]\nscript = \"browse.js\"",
            "[workload]\nscript = \"workload.js\"",
        ],
    ),
];
