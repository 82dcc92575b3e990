//! Which route of the application a request takes.

use std::collections::BTreeMap;

use super::invoke_api::percent_decode;
use sb_sam::Route;

/// A route that fits, and what its path parameters are.
#[derive(Debug)]
pub struct RouteMatch<'a> {
    /// The route, as the template has it.
    pub route: &'a Route,
    /// By name, percent-decoded.
    pub parameters: BTreeMap<String, String>,
    /// The path below the stage.
    pub path: String,
}

/// How a segment of a route's path fits: the smaller, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Literal,
    Parameter,
    Greedy,
    Default,
}

/// The best route, as API Gateway chooses: literal segments before parameters before `{proxy+}` before `$default`,
/// then the method itself before ANY. The stage may stand in front of the path, as in the URL of an API, or be left out.
/// `path` begins with `/`; one that does not takes no route.
pub fn find_route<'a>(routes: &'a [Route], method: &str, path: &str) -> Option<RouteMatch<'a>> {
    let best = |path: &str, routes: &mut dyn Iterator<Item = &'a Route>| {
        routes
            .filter(|route| route.method == method || route.method == "ANY")
            .filter_map(|route| Some((fit(&route.path, path)?, route)))
            .min_by(|((a, _), first), ((b, _), second)| {
                a.cmp(b).then_with(|| (first.method == "ANY").cmp(&(second.method == "ANY")))
            })
            .map(|((_, parameters), route)| RouteMatch { route, parameters, path: path.to_owned() })
    };
    let beneath = path.strip_prefix('/')?;
    let (stage, below) = match beneath.split_once('/') {
        Some((stage, rest)) => (stage, format!("/{rest}")),
        None => (beneath, "/".to_owned()),
    };
    let direct = best(path, &mut routes.iter());
    let is_default = |found: &RouteMatch<'_>| found.route.path == "$default";
    match direct {
        Some(found) if !is_default(&found) => Some(found),
        weak => best(&below, &mut routes.iter().filter(|route| route.stage == stage)).or(weak),
    }
}

fn fit(pattern: &str, path: &str) -> Option<(Vec<Fit>, BTreeMap<String, String>)> {
    if pattern == "$default" {
        return Some((vec![Fit::Default], BTreeMap::new()));
    }
    let mut fits = Vec::new();
    let mut parameters = BTreeMap::new();
    let mut rest = path.trim_matches('/').split('/').collect::<Vec<_>>().into_iter();
    for part in pattern.trim_matches('/').split('/') {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match name.map(|name| name.strip_suffix('+').ok_or(name)) {
            None => {
                if rest.next()? != part {
                    return None;
                }
                fits.push(Fit::Literal);
            }
            Some(Err(name)) => {
                let value = rest.next().filter(|value| !value.is_empty())?;
                parameters.insert(name.to_owned(), percent_decode(value));
                fits.push(Fit::Parameter);
            }
            Some(Ok(name)) => {
                let value = rest.by_ref().collect::<Vec<_>>().join("/");
                if value.is_empty() {
                    return None;
                }
                parameters.insert(name.to_owned(), percent_decode(&value));
                fits.push(Fit::Greedy);
            }
        }
    }
    rest.next().is_none().then_some((fits, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_sam::Format;

    fn route(method: &str, path: &str) -> Route {
        Route {
            function: format!("{method} {path}"),
            integration: None,
            format: Format::Rest,
            method: method.to_owned(),
            path: path.to_owned(),
            api: "Api".to_owned(),
            stage: "Prod".to_owned(),
        }
    }

    #[track_caller]
    fn check(method: &str, path: &str, expected: Option<(&str, &[(&str, &str)])>) {
        let routes = [
            route("ANY", "/{proxy+}"),
            route("ANY", "/orders/{id}"),
            route("GET", "/orders/{id}"),
            route("GET", "/orders/latest"),
            route("GET", "/orders/{id}/items/{item}"),
            route("GET", "/"),
        ];
        let found = find_route(&routes, method, path)
            .map(|found| (found.route.function.clone(), found.parameters.into_iter().collect::<Vec<_>>()));
        let expected = expected.map(|(function, parameters)| {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            (function.to_owned(), parameters.iter().map(own).collect::<Vec<_>>())
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn the_most_specific_route_wins() {
        check("GET", "/orders/latest", Some(("GET /orders/latest", &[])));
        check("GET", "/orders/7", Some(("GET /orders/{id}", &[("id", "7")])));
        check("PUT", "/orders/7", Some(("ANY /orders/{id}", &[("id", "7")])));
        check(
            "GET",
            "/orders/7/items/a%20b",
            Some(("GET /orders/{id}/items/{item}", &[("id", "7"), ("item", "a b")])),
        );
        check("GET", "/a/b/c", Some(("ANY /{proxy+}", &[("proxy", "a/b/c")])));
        check("GET", "/", Some(("GET /", &[])));
        check("POST", "/", None);
    }

    #[test]
    fn the_stage_may_stand_in_front() {
        let routes = [route("GET", "/hello")];
        assert_eq!(find_route(&routes, "GET", "/Prod/hello").unwrap().path, "/hello");
        assert!(find_route(&routes, "GET", "/Test/hello").is_none());
        assert!(find_route(&routes, "GET", "/hello/").is_some());
    }

    #[test]
    fn the_default_route_takes_the_rest() {
        let routes = [route("ANY", "$default"), route("GET", "/hello")];
        assert_eq!(find_route(&routes, "GET", "/Prod/hello").unwrap().route.path, "/hello");
        assert_eq!(find_route(&routes, "GET", "/other").unwrap().route.path, "$default");
    }
}
