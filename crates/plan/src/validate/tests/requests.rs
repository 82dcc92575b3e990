//! Requests that cannot be sent whatever happens before: found before anything is deployed.

use super::*;

/// A manifest with one request.
fn manifest(params: &str, settings: &str, request: &str) -> String {
    format!(
        "{HEAD}[params]\n{params}\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"d\"\nrun = \"echo\"\n\
         outputs.url = {{ line = 1 }}\n[workload]\n{settings}\n[[workload.requests]]\nname = \"r\"\n{request}\n"
    )
}

/// The place of the only problem, and words of its message or help; none: there is no problem.
#[track_caller]
fn check_request(params: &str, settings: &str, request: &str, expected: Option<(&str, &str)>) {
    let checked = read(&manifest(params, settings, request));
    let Some((place, words)) = expected else {
        assert!(checked.problems.is_empty(), "{request}\n{}", rendered(&checked.problems));
        return;
    };
    let [problem] = checked.problems.as_slice() else {
        panic!("{request}\n{}", rendered(&checked.problems));
    };
    let source = problem.source.as_ref().unwrap();
    assert_eq!(source.text().get(problem.labels[0].0.clone()), Some(place), "{request}");
    let said = format!("{}; {}", problem.message, problem.help.clone().unwrap_or_default());
    assert!(said.contains(words), "{said}");
    assert!(problem.is_error());
}

#[test]
fn urls_that_nothing_can_be_sent_to() {
    #[track_caller]
    fn at(params: &str, url: &str, place: &str, words: &str) {
        check_request(params, "", &format!("url = \"{url}\""), Some((place, words)));
    }
    #[track_caller]
    fn url(params: &str, url: &str, words: Option<&str>) {
        let place = format!("\"{url}\"");
        check_request(params, "", &format!("url = {place}"), words.map(|words| (place.as_str(), words)));
    }
    at("", "http://127.0.0.1/ok?a=b c", " ", "`%20`");
    at("", "http://127.0.0.1:70000/ok", "70000", "not a port");
    at("", "http://user:pw@127.0.0.1/ok", "user:pw@127.0.0.1", "`Authorization`");
    at("", "http://127.0.0.1:http/ok", "http", "`http` is not a port");
    at("", "http://api{prod}/", "api{prod}", "it holds `{`");
    at("", "http://[::1/", "[::1", "without its `]`");
    at("", "http://a:b:1/", "a:b:1", "more than one `:`");
    at("", "http://:80/", ":80", "the URL has no host");
    url("host = \"a/b\"", "http://{{params.host}}/", Some("`a%2Fb` is not the name of a host: it holds `%`"));
    url("", r"http://127.0.0.1/\r\nx: 1", Some("line break"));
    url("", r"http://127.0.0.1/\u0000", Some("NUL"));
    url("port = 70000", "http://127.0.0.1:{{params.port}}/ok", Some("`70000` is not a port"));
    url("port = 7000", "http://127.0.0.1:{{params.port}}/ok", None);
    url("base = \"http://127.0.0.1:0\"", "{{params.base}}/ok", Some("`0` is not a port"));
    url("base = \"\"", "{{params.base}}/ok", None);
    url("q = \"a b\"", "http://127.0.0.1/?q={{params.q}}", None);
    at("", "{{outputs.url}}/a b", " ", "`%20`");
    at("", "{{outputs.url}}:70000/", "70000", "`70000` is not a port");
    url("", "{{outputs.url}}://127.0.0.1:80/", None);
    url("", "{{outputs.url}}stage/x?id={{request.uuid}}", None);
    url("", "http://{{outputs.url}}:{{outputs.url}}/", None);
}

#[test]
fn headers_and_methods_that_cannot_be_sent() {
    let url = "url = \"http://127.0.0.1/\"";
    let with = |more: &str| format!("{url}\n{more}");
    let headers = |given: &str| with(&format!("headers = {{ {given} }}"));
    check_request("", "", &headers("Content-Length = \"3\""), Some(("Content-Length", "set by sb")));
    check_request(
        "",
        "",
        &headers("transfer-encoding = \"chunked\""),
        Some(("transfer-encoding", "set by sb")),
    );
    check_request("", "", &headers("traceparent = \"x\""), Some(("traceparent", "set by sb")));
    check_request("", "trace_header = \"none\"", &headers("traceparent = \"x\""), None);
    check_request("", "", &headers("Host = \"a/b\""), Some(("Host", "`host:port`")));
    check_request("", "", &headers("Host = \"example.org\""), None);
    check_request(
        "",
        "http_version = \"2\"",
        &headers("Connection = \"close\""),
        Some(("Connection", "HTTP/2")),
    );
    check_request(
        "v = \"a\\nb\"",
        "",
        &headers("x-a = \"{{params.v}}\""),
        Some(("x-a", "control characters")),
    );
    check_request("", "", &with("method = \"PSOT\""), Some(("\"PSOT\"", "did you mean `POST`?")));
    check_request("", "", &with("method = \"FETCH\""), Some(("\"FETCH\"", "a registered method")));
    check_request("", "", &with("method = \"PROPFIND\""), None);
}

#[test]
fn commands_cannot_be_given_a_nul_byte() {
    for step in [
        r#"run = ["echo", "a\u0000b"]"#,
        r#"run = "echo \u0000""#,
        "run = \"echo\"\nenv = { A = \"x\\u0000\" }",
        "run = \"echo\"\nworkdir = \"x\\u0000\"",
    ] {
        let checked = read(&format!("{HEAD}[targets.local]\n[[deploy]]\nname = \"d\"\n{step}\n"));
        let codes: Vec<&str> = checked.problems.iter().map(|problem| problem.code).collect();
        assert!(codes.contains(&"nul-byte"), "{step}: {codes:?}");
    }
}

#[test]
fn a_parameter_that_cannot_be_one_is_one_error_wherever_it_is_used() {
    let text = format!(
        "{HEAD}[params]\nhost = \"127.0.0.1\"\nport = \"{{{{params.host}}}}\"\n[targets.local]\ntraces = \"none\"\n\
         [[deploy]]\nname = \"d\"\nrun = \"x\"\nbackground = true\nready = {{ port = \"{{{{params.port}}}}\" }}\n\
         [[deploy]]\nname = \"w\"\nwait_for = {{ http = \"http://a:{{{{params.port}}}}/\" }}\n\
         [[cleanup]]\nname = \"c\"\nrun = \"x\"\n[[workload.requests]]\nname = \"r\"\n\
         url = \"http://a:{{{{params.port}}}}/\"\nheaders = {{ Host = \"a:{{{{params.port}}}}\" }}\n"
    );
    let found = read(&text);
    let codes: Vec<&str> = found.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["invalid-param"], "{}", rendered(&found.problems));
}

#[test]
fn parameters_of_a_plan_are_tried_in_its_requests() {
    let text = manifest("port = 80", "", "url = \"http://127.0.0.1:{{params.port}}/\"");
    let given = |port: &str| {
        let params = vec![("port".to_owned(), port.to_owned())];
        single(read(&text).value.unwrap(), "local", None, &Overrides { params, ..Overrides::default() })
    };
    assert!(given("8080").problems.is_empty());
    let refused = given("70000");
    assert!(refused.value.is_none());
    assert!(refused.problems[0].message.contains("`70000` is not a port"), "{}", rendered(&refused.problems));
}

#[test]
fn parameters_of_a_plan_are_tried_in_its_steps() {
    #[track_caller]
    fn check(step: &str, given: &str, expected: Option<&str>) {
        let text = format!(
            "{HEAD}[params]\nport = 80\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"d\"\n{step}\n\
             [[cleanup]]\nname = \"c\"\nrun = \"x\"\n"
        );
        let params = vec![("port".to_owned(), given.to_owned())];
        let overrides = Overrides { params, ..Overrides::default() };
        let checked = read(&text);
        let found = single(checked.value.unwrap(), "local", None, &overrides);
        let said: Vec<&str> = found.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(found.value.is_none(), expected.is_some(), "{said:?}");
        assert!(said.concat().contains(expected.unwrap_or_default()), "{said:?}");
    }
    let ready = |ready: &str| format!("run = \"x\"\nbackground = true\nready = {{ {ready} }}");
    check(&ready("port = \"{{params.port}}\""), "8080", None);
    check(&ready("port = \"{{params.port}}\""), "70000", Some("waits for a port, and `70000` is no port"));
    check(&ready("port = \"{{params.port}}\""), "0", Some("`0` is no port"));
    let url = "http = \"http://127.0.0.1:{{params.port}}/\"";
    check(&ready(url), "8080", None);
    check(&ready(url), "70000", Some("URL of the step `d` cannot be used: `70000` is not a port"));
    check(&format!("wait_for = {{ {url} }}"), "8080", None);
    check(&format!("wait_for = {{ {url} }}"), "70000", Some("`70000` is not a port"));
}
