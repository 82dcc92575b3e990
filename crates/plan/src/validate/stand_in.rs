//! Stand-ins of AWS services: which services of the local target may be somewhere else, and where.

use crate::manifest::benchmark::LocalFile;
use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report, did_you_mean};
use sb_workload::template::{Context, Piece};

/// What signatures call AWS's services, one a line, as botocore 1.43.11 has them.
const SERVICES: &str = include_str!("aws_services.txt");
/// The services whose resources, events and traces are the local target's own.
const OWN: [&str; 8] = ["dynamodb", "kinesis", "lambda", "s3", "sns", "sqs", "states", "xray"];

/// Why a stand-in cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandInRefusal {
    /// Lower case, one sentence.
    pub message: String,
    /// The way out.
    pub help: String,
}

/// What is wrong with the name of a service that shall have a stand-in.
pub fn refused_service(name: &str) -> Option<StandInRefusal> {
    let refuse = |message: String, help: String| Some(StandInRefusal { message, help });
    if OWN.contains(&name) {
        return refuse(
            format!("the local target has `{name}` itself"),
            format!(
                "remove it: the events and traces of `{}` come from the local target's own services",
                OWN.join("`, `")
            ),
        );
    }
    if SERVICES.lines().any(|known| known == name) {
        return None;
    }
    let known = || SERVICES.lines().filter(|name| !OWN.contains(name));
    let near = did_you_mean(name, known()).map(|near| format!("did you mean `{near}`? "));
    refuse(
        format!("no service of AWS signs its requests as `{name}`"),
        near.unwrap_or_default()
            + "the name is the service's in the signature of a request, such as `rekognition`, or `bedrock` for Bedrock Runtime; for a service that is newer than this `sb`, set AWS_ENDPOINT_URL_… in the functions' `Environment`",
    )
}

/// What is wrong with a stand-in's URL, once its values are known.
pub fn refused_url(service: &str, url: &str) -> Option<StandInRefusal> {
    let rest = url.strip_prefix("http://");
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let problem = match (rest, authority) {
        (Some(rest), Some(authority)) => {
            if authority.is_empty() || authority.starts_with(':') {
                "names no host"
            } else if authority.contains('@') {
                "holds a user or a password"
            } else if rest.contains(['?', '#']) {
                "has a query or a fragment"
            } else if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
                "has white space in it"
            } else if !has_usable_port(authority) {
                "has no port between 1 and 65535"
            } else {
                return None;
            }
        }
        _ => "does not begin with `http://`",
    };
    Some(StandInRefusal {
        message: format!("the URL of the stand-in for `{service}` {problem}"),
        help: "write \"http://HOST:PORT\", such as \"http://127.0.0.1:8080\": a stand-in speaks plain HTTP"
            .to_owned(),
    })
}

/// Whether the port of `HOST`, `HOST:PORT` or `[ADDRESS]:PORT` is one, where there is one.
fn has_usable_port(authority: &str) -> bool {
    let after_host = match authority.strip_prefix('[') {
        Some(address) => match address.split_once(']') {
            Some((_, rest)) => rest,
            None => return false,
        },
        None => authority.find(':').map_or("", |at| &authority[at..]),
    };
    match after_host.strip_prefix(':') {
        Some(port) => {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
        }
        None => after_host.is_empty(),
    }
}

/// Checks the stand-ins of a `local` step as far as the manifest alone tells.
pub(super) fn check(local: &LocalFile, report: &mut Report) {
    for (name, url) in local.services.iter().flat_map(Map::iter) {
        if let Some(refused) = refused_service(&name.value) {
            report.push(
                Problem::error("invalid-stand-in", refused.message)
                    .at(&name.span, "cannot have a stand-in")
                    .help(refused.help),
            );
        }
        // What the first value will be, the manifest does not tell. After a literal beginning, any value will do.
        let likely = match url.value.pieces().first() {
            Some(Piece::Value { .. }) => continue,
            _ => url.value.render(Context::Plain, &|_| Some("1".into())).unwrap_or_default(),
        };
        if let Some(refused) = refused_url(&name.value, &likely) {
            report.push(
                Problem::error("invalid-stand-in", refused.message)
                    .at(&url.span, "not a URL of a stand-in")
                    .help(format!("{}, or begin with a value: \"{{{{outputs.url}}}}\"", refused.help)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_service(name: &str, expected: Option<(&str, &str)>) {
        let refused = refused_service(name);
        match (&refused, expected) {
            (None, None) => {}
            (Some(refused), Some((message, help))) => {
                assert!(
                    refused.message.contains(message) && refused.help.contains(help),
                    "{name}: {refused:?}"
                );
            }
            _ => panic!("{name}: {refused:?}"),
        }
    }

    #[test]
    fn a_service_is_one_of_aws_that_the_local_target_does_not_have() {
        check_service("rekognition", None);
        check_service("bedrock", None);
        check_service("s3", Some(("has `s3` itself", "remove it")));
        check_service("lambda", Some(("has `lambda` itself", "remove it")));
        check_service(
            "rekogniton",
            Some(("signs its requests as `rekogniton`", "did you mean `rekognition`?")),
        );
        check_service("Rekognition", Some(("`Rekognition`", "did you mean `rekognition`?")));
        check_service("bedrock-runtime", Some(("`bedrock-runtime`", "did you mean `bedrock`?")));
        check_service("no such", Some(("`no such`", "AWS_ENDPOINT_URL_")));
        check_service("", Some(("``", "the name is")));
    }

    #[track_caller]
    fn check_url(url: &str, expected: Option<&str>) {
        let refused = refused_url("rekognition", url);
        match (&refused, expected) {
            (None, None) => {}
            (Some(refused), Some(part)) => assert!(refused.message.contains(part), "{url}: {refused:?}"),
            _ => panic!("{url}: {refused:?}"),
        }
    }

    #[test]
    fn a_stand_in_is_at_a_plain_http_url() {
        check_url("http://127.0.0.1:8080", None);
        check_url("http://faces.example/base/", None);
        check_url("https://127.0.0.1:8080", Some("does not begin with `http://`"));
        check_url("127.0.0.1:8080", Some("does not begin"));
        check_url("", Some("does not begin"));
        check_url("http://", Some("names no host"));
        check_url("http://:80/", Some("names no host"));
        check_url("http://me:secret@host", Some("user or a password"));
        check_url("http://host/?a=b", Some("query"));
        check_url("http://a host", Some("white space"));
        check_url("http://[::1]:8080/", None);
        for url in
            ["http://h:99999", "http://h:0", "http://h:-1", "http://h:", "http://[::1", "http://[::1]x"]
        {
            check_url(url, Some("port between 1 and 65535"));
        }
    }
}
