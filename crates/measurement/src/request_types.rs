//! Which type a request is of.
//!
//! The study's ten applications have rules on method and URL, and one of them also on the names on the critical path. For
//! every other application a type is the name that its manifest gives the request, or method and route.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use memchr::memmem::find;

/// The type of a trace without a request, in the study's tables.
pub const NO_REQUEST: &str = "NaN";
/// The type of a trace without a request, in every other table. No request of a manifest has such a name, and no reader of tables
/// takes it for an empty cell, which means all types.
pub const UNKNOWN_REQUEST: &str = "(unknown)";
/// The type of a request that no rule takes.
const UNMATCHED: &str = "unmatched";
/// Further routes of one execution have no type of their own.
const MOST_ROUTES: usize = 500;
const OTHER_ROUTES: &str = "other routes";

/// The ten applications of the study, in the order of its tables.
pub const STUDY_APPLICATIONS: [&str; 10] = [
    "apigw_node",
    "event_processing",
    "hello_retail",
    "image_processing",
    "matrix_multiplication",
    "model_training",
    "realworld_backend",
    "thumbnail_generator",
    "todo_api",
    "video_processing",
];

/// The number of a type of requests, within one execution.
pub type TypeId = u32;

/// What a request alone says of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestType {
    /// This one.
    Known(TypeId),
    /// The names on the critical path of its trace decide: [`image_type`].
    ByPath,
}

/// Finds the types of one application's requests, and numbers them from 0.
#[derive(Debug)]
pub struct RequestTypes {
    application: Arc<str>,
    as_published: bool,
    by_rules: bool,
    names: Vec<Arc<str>>,
    known: HashMap<Arc<str>, TypeId, foldhash::fast::RandomState>,
}

impl RequestTypes {
    /// Of an application. `by_rules`: by the rules of the study, where the application is one of its ten; `as_published`: in their
    /// published order, in which some can never apply.
    pub fn new(application: &str, by_rules: bool, as_published: bool) -> Self {
        let by_rules = by_rules && (as_published || STUDY_APPLICATIONS.contains(&application));
        Self {
            application: application.into(),
            as_published,
            by_rules,
            names: Vec::new(),
            known: HashMap::default(),
        }
    }

    /// The number of a type by its name.
    pub fn id(&mut self, name: &str) -> TypeId {
        if let Some(id) = self.known.get(name) {
            return *id;
        }
        let name: Arc<str> = name.into();
        // More types than there are requests cannot be.
        let id = self.names.len() as TypeId;
        self.names.push(name.clone());
        self.known.insert(name, id);
        id
    }

    /// The name of a type.
    pub fn name(&self, id: TypeId) -> Option<&Arc<str>> {
        self.names.get(id as usize)
    }

    /// All names, by number.
    pub fn into_names(self) -> Vec<Arc<str>> {
        self.names
    }

    /// The type of a request; `name` is what the load generator calls it, often the URL itself.
    pub fn of_request(&mut self, method: &[u8], url: &[u8], name: &[u8]) -> RequestType {
        if !self.by_rules {
            return RequestType::Known(self.of_route(method, url, name));
        }
        let application = self.application.clone();
        match by_rule(&application, method, url, self.as_published) {
            Some(Found::Name(name)) => RequestType::Known(self.id(name)),
            Some(Found::ByPath) => RequestType::ByPath,
            None => RequestType::Known(self.id(UNMATCHED)),
        }
    }

    fn of_route(&mut self, method: &[u8], url: &[u8], name: &[u8]) -> TypeId {
        if !name.is_empty() && name != url {
            return self.numbered(&String::from_utf8_lossy(name));
        }
        let url = String::from_utf8_lossy(url);
        let rest = url.split_once("://").map_or(&*url, |(_, rest)| rest);
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let parts = path.split('/').map(|part| if is_identifier(part) { "{id}" } else { part });
        let route = parts.collect::<Vec<_>>().join("/");
        self.numbered(&format!("{} {route}", String::from_utf8_lossy(method)))
    }

    fn numbered(&mut self, name: &str) -> TypeId {
        if self.names.len() >= MOST_ROUTES && !self.known.contains_key(name) {
            return self.id(OTHER_ROUTES);
        }
        self.id(name)
    }
}

/// A part of a path that names one thing of many: a number, or eight and more hexadecimal digits and dashes with a digit.
fn is_identifier(part: &str) -> bool {
    let has_digit = part.bytes().any(|byte| byte.is_ascii_digit());
    let all = |test: fn(&u8) -> bool| part.as_bytes().iter().all(test);
    has_digit
        && (all(u8::is_ascii_digit)
            || part.len() >= 8 && all(|byte| byte.is_ascii_hexdigit() || *byte == b'-'))
}

enum Found {
    Name(&'static str),
    ByPath,
}

fn by_rule(application: &str, method: &[u8], url: &[u8], as_published: bool) -> Option<Found> {
    let ends = |text: &str| url.ends_with(text.as_bytes());
    let has = |text: &str| find(url, text.as_bytes()).is_some();
    // The first rule whose condition holds.
    let first =
        |rules: &[(bool, &'static str)]| rules.iter().find(|(holds, _)| *holds).map(|(_, name)| *name);
    let name = match application {
        "apigw_node" => first(&[(!url.is_empty(), "getPath")]),
        "event_processing" => first(&[(ends("/ingest"), "ingestEvent")]),
        "matrix_multiplication" => first(&[(ends("/run"), "multiplyMatrix")]),
        "model_training" => first(&[(ends("/train"), "trainModel")]),
        "video_processing" => first(&[(ends("/process"), "processVideo")]),
        "thumbnail_generator" => first(&[(has("/upload?"), "uploadImage")]),
        "hello_retail" => first(&[
            (ends("/event-writer"), "registerPhotographer|newProduct"),
            (ends("/sms"), "commitPhoto"),
            (ends("/categories"), "listCategories"),
            (has("/products?category="), "listProductsByCategory"),
            (has("/products?id="), "listProductsByID"),
        ]),
        "todo_api" => first(&[
            (has("/del?id="), "deleteTodo"),
            (ends("/put"), "createTodo"),
            (ends("/lst"), "listTodos"),
            (has("/get?id="), "getTodo"),
            (has("/done?id"), "markTodoAsDone"),
        ]),
        "realworld_backend" => realworld(method, url, as_published),
        "image_processing" if ends("/execute/") => return Some(Found::ByPath),
        _ => None,
    };
    name.map(Found::Name)
}

fn realworld(method: &[u8], url: &[u8], as_published: bool) -> Option<&'static str> {
    let ends = |text: &str| url.ends_with(text.as_bytes());
    let has = |text: &str| find(url, text.as_bytes()).is_some();
    let by_method = |names: &[(&str, &'static str)]| {
        names.iter().find(|(name, _)| name.as_bytes() == method).map(|(_, name)| *name)
    };
    let when = |holds: bool, names: &[(&str, &'static str)]| if holds { by_method(names) } else { None };
    let before = || {
        if ends("/users") {
            return Some("createUser");
        }
        if ends("/login") {
            return Some("loginUser");
        }
        when(ends("/user"), &[("GET", "getUser"), ("PUT", "updateUser")])
            .or_else(|| when(has("/api/profiles/"), &[("GET", "getProfile")]))
            .or_else(|| when(ends("/follow"), &[("POST", "followUser"), ("DELETE", "unfollowUser")]))
            .or_else(|| when(ends("/articles"), &[("POST", "createArticle")]))
    };
    // These four can never be reached where the published order has them: behind the three of `/api/articles/`.
    let special = || {
        when(ends("/favorite"), &[("DELETE", "unfavoriteArticle")])
            .or_else(|| ends("/articles/feed").then_some("getArticlesFeed"))
            .or_else(|| when(ends("/comments"), &[("GET", "getComments")]))
            .or_else(|| when(has("/comments/"), &[("DELETE", "deleteComment")]))
    };
    let article = || {
        when(
            has("/api/articles/"),
            &[("GET", "getArticle"), ("PUT", "updateArticle"), ("DELETE", "deleteArticle")],
        )
    };
    let after = || {
        when(ends("/favorite"), &[("POST", "favoriteArticle")])
            .or_else(|| when(has("/api/articles?author="), &[("GET", "listArticlesByAuthor")]))
            .or_else(|| ends("/tags").then_some("getTags"))
            .or_else(|| when(ends("/comments"), &[("POST", "createComment")]))
    };
    let found = before();
    if as_published {
        found.or_else(article).or_else(special).or_else(after)
    } else {
        found.or_else(special).or_else(article).or_else(after)
    }
}

/// The texts of a list as Python prints it: `['a', "it's"]`.
pub fn names_of(list: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < list.len() {
        let quote = list[at];
        at += 1;
        if quote != b'\'' && quote != b'"' {
            continue;
        }
        let mut name = Vec::new();
        while let Some(byte) = list.get(at).copied() {
            at += 1;
            match byte {
                b'\\' => {
                    name.extend(list.get(at).copied());
                    at += 1;
                }
                byte if byte == quote => break,
                byte => name.push(byte),
            }
        }
        names.push(name);
    }
    names
}

/// The paths of an image with a face and of one without.
struct ImagePaths {
    face: Vec<String>,
    no_face: Vec<String>,
}

static IMAGE_PATHS: LazyLock<ImagePaths> = LazyLock::new(|| {
    let function = |name: &str| {
        let runs = format!("wildrydes-{name}Function-*");
        vec!["Lambda".to_owned(), runs.clone(), runs, "Invocation".to_owned()]
    };
    let plain = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let start = [
        plain(&[
            "APIGatewayToStepFunctions/execute",
            "STEPFUNCTIONS",
            "RiderPhotoProcessing-*",
            "FaceDetection",
        ]),
        function("FaceDetection"),
        plain(&["rekognition", "rekognition", "Overhead"]),
    ]
    .concat();
    let face = [
        start.clone(),
        plain(&["CheckFaceDuplicate"]),
        function("FaceSearch"),
        plain(&["rekognition", "rekognition", "Overhead", "ParallelProcessing", "Branch ?", "Thumbnail"]),
        function("Thumbnail"),
        plain(&["S3", "S3", "S3", "S3", "Overhead", "PersistMetadata"]),
        function("PersistMetadata"),
        plain(&["DynamoDB", "DynamoDB", "Overhead"]),
    ]
    .concat();
    let no_face = [
        start,
        plain(&["PhotoDoesNotMeetRequirement"]),
        function("NotificationPlaceholder"),
        plain(&["Overhead"]),
    ]
    .concat();
    ImagePaths { face, no_face }
});

/// The type of a request of `image_processing` whose path is not known.
pub const IMAGE: &str = "postImage";

/// The type of a request of `image_processing`, by the names on its critical path.
pub fn image_type(names: &[Vec<u8>]) -> &'static str {
    let names: Vec<&[u8]> =
        names.iter().map(Vec::as_slice).filter(|name| *name != b"Initialization").collect();
    let is = |pattern: &[String]| {
        pattern.len() == names.len()
            && pattern.iter().zip(&names).all(|(pattern, name)| matches(pattern, name))
    };
    if is(&IMAGE_PATHS.face) {
        "postFaceImage"
    } else if is(&IMAGE_PATHS.no_face) {
        "postNonFaceImage"
    } else {
        IMAGE
    }
}

/// Whether a name matches a pattern whose only `*` is at its end, and whose `?` are one character each.
fn matches(pattern: &str, name: &[u8]) -> bool {
    if let Some(start) = pattern.strip_suffix('*') {
        return name.starts_with(start.as_bytes());
    }
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let mut rest = name.chars();
    pattern.chars().all(|wanted| rest.next().is_some_and(|found| wanted == '?' || wanted == found))
        && rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(application: &str, method: &str, url: &str, published: &str, better: &str) {
        for (as_published, expected) in [(true, published), (false, better)] {
            let mut types = RequestTypes::new(application, true, as_published);
            let RequestType::Known(id) = types.of_request(method.as_bytes(), url.as_bytes(), url.as_bytes())
            else {
                panic!("{url} is decided by the path");
            };
            assert_eq!(&*types.into_names()[id as usize], expected, "{method} {url}");
        }
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        check("todo_api", "GET", "https://h/dev/get?id=3", "getTodo", "getTodo");
        check("todo_api", "POST", "https://h/dev/put", "createTodo", "createTodo");
        check("hello_retail", "GET", "https://h/products?id=3", "listProductsByID", "listProductsByID");
        check("thumbnail_generator", "POST", "https://h/dev/upload", "unmatched", "unmatched");
        check("realworld_backend", "PATCH", "https://h/api/users/login", "loginUser", "loginUser");
        check("realworld_backend", "PUT", "https://h/api/articles/x", "updateArticle", "updateArticle");
    }

    #[test]
    fn rules_that_the_published_order_hides_come_first() {
        check("realworld_backend", "GET", "h/api/articles/feed", "getArticle", "getArticlesFeed");
        check("realworld_backend", "GET", "h/api/articles/x/comments", "getArticle", "getComments");
        check("realworld_backend", "DELETE", "h/api/articles/x/comments/1", "deleteArticle", "deleteComment");
        check(
            "realworld_backend",
            "DELETE",
            "h/api/articles/x/favorite",
            "deleteArticle",
            "unfavoriteArticle",
        );
        check("realworld_backend", "POST", "h/api/articles/x/favorite", "favoriteArticle", "favoriteArticle");
    }

    #[test]
    fn another_application_has_its_names_and_routes() {
        let mut types = RequestTypes::new("mine", true, false);
        let mut name = |method: &str, url: &str, name: &str| match types.of_request(
            method.as_bytes(),
            url.as_bytes(),
            name.as_bytes(),
        ) {
            RequestType::Known(id) => types.names[id as usize].to_string(),
            RequestType::ByPath => "by path".to_owned(),
        };
        assert_eq!(name("GET", "https://h/a/17?x=1", ""), "GET /a/{id}");
        assert_eq!(name("GET", "https://h", ""), "GET /");
        assert_eq!(name("GET", "https://h/a/0a1b2c3d-4e5f", "https://h/a/0a1b2c3d-4e5f"), "GET /a/{id}");
        assert_eq!(name("POST", "https://h/a", "upload"), "upload");
        for number in 0..2 * MOST_ROUTES {
            let found = name("GET", &format!("https://h/x{number}"), "");
            assert_eq!(found == OTHER_ROUTES, number >= MOST_ROUTES - 3, "{number}");
        }
    }

    #[test]
    fn images_are_told_apart_by_their_path() {
        let function = |name: &str| {
            format!("'Lambda', 'wildrydes-{name}Function-1', \"wildrydes-{name}Function-\", 'Invocation'")
        };
        let start = format!(
            "'APIGatewayToStepFunctions/execute', 'STEPFUNCTIONS', 'RiderPhotoProcessing-9', 'FaceDetection', {}, \
             'rekognition', 'Initialization', 'rekognition', 'Overhead'",
            function("FaceDetection")
        );
        let no_face = format!(
            "[{start}, 'PhotoDoesNotMeetRequirement', {}, 'Overhead']",
            function("NotificationPlaceholder")
        );
        let face = |branch: &str| {
            format!(
                "[{start}, 'CheckFaceDuplicate', {}, 'rekognition', 'rekognition', 'Overhead', 'ParallelProcessing', \
                 '{branch}', 'Thumbnail', {}, 'S3', 'S3', 'S3', 'S3', 'Overhead', 'PersistMetadata', {}, 'DynamoDB', \
                 'DynamoDB', 'Overhead']",
                function("FaceSearch"),
                function("Thumbnail"),
                function("PersistMetadata")
            )
        };
        for (path, expected) in [
            (no_face, "postNonFaceImage"),
            (face("Branch 1"), "postFaceImage"),
            (face("Branch 12"), "postImage"),
            (face("branch 1"), "postImage"),
            ("[]".to_owned(), "postImage"),
        ] {
            assert_eq!(image_type(&names_of(path.as_bytes())), expected, "{path}");
        }
    }
}
