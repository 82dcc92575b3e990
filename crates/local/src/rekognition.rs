//! A stand-in for Amazon Rekognition's faces, since moto has none that answers: collections in memory, and faces as
//! [`picture`] sees them. It recognises nothing; it gives an application the answers and errors that it would get.

mod picture;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::clock::wall_micros;
use super::context::uuid;
use super::http::{self, Answer};
use super::invoke_api::text;
use picture::Face;

const TARGET: &str = "RekognitionService.";
const MODEL: &str = "7.0";
/// An image in the request, and one in a bucket.
const MOST_BYTES: usize = 5 * 1024 * 1024;
const MOST_BYTES_IN_BUCKET: usize = 15 * 1024 * 1024;
/// Room for an image in base64.
const MOST_REQUEST: usize = 8 * 1024 * 1024;
const MOST_FACES: usize = 4096;

pub(super) struct Rekognition {
    /// `127.0.0.1:PORT` of the services, for images in buckets.
    services: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    /// `REGION:ACCOUNT`
    place: String,
    collections: Mutex<BTreeMap<String, Collection>>,
}

struct Collection {
    made_at_micros: i64,
    /// How many faces were ever stored: makes their ids differ.
    stored: u64,
    faces: Vec<Stored>,
}

struct Stored {
    id: String,
    image: String,
    external: Option<String>,
    face: Face,
}

/// An error as the service reports it.
#[derive(Debug)]
struct Refusal {
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn parameter(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    bytes: Option<String>,
    s3_object: Option<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    bucket: String,
    name: String,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Detect {
    image: Image,
    #[serde(default)]
    attributes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Search {
    collection_id: String,
    image: Image,
    max_faces: Option<usize>,
    face_match_threshold: Option<f64>,
    quality_filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    collection_id: String,
    image: Image,
    external_image_id: Option<String>,
    #[serde(default)]
    detection_attributes: Vec<String>,
    max_faces: Option<usize>,
    quality_filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    collection_id: String,
    face_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    collection_id: String,
    next_token: Option<String>,
    max_results: Option<usize>,
    #[serde(default)]
    face_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    collection_id: String,
}

impl Rekognition {
    /// `collections` are there from the start.
    pub fn new(services: String, region: &str, account: &str, collections: &[String]) -> Self {
        let made = collections.iter().map(|name| (name.clone(), Collection::new())).collect();
        Self {
            services,
            client: Client::builder(TokioExecutor::new()).build_http(),
            place: format!("{region}:{account}"),
            collections: Mutex::new(made),
        }
    }

    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let target = text(request.headers(), "x-amz-target").unwrap_or_default().to_owned();
        let answered = match http::read_body(request.into_body(), MOST_REQUEST).await {
            Ok(body) => self.operation(&target, &body).await,
            Err(_) => Err(Refusal::new(
                "ImageTooLargeException",
                format!("the request must be whole, and at most {MOST_REQUEST} bytes"),
            )),
        };
        let mut answer = match answered {
            Ok(value) => http::json(StatusCode::OK, &value),
            Err(Refusal { kind, message }) => {
                let body = json!({ "__type": kind, "Code": kind, "Message": message });
                let mut answer = http::json(StatusCode::BAD_REQUEST, &body);
                answer.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
                answer
            }
        };
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        answer
    }

    async fn operation(&self, target: &str, body: &[u8]) -> Result<Value, Refusal> {
        match target.strip_prefix(TARGET).unwrap_or_default() {
            "DetectFaces" => {
                let Detect { image, attributes } = input(body)?;
                let faces = self.faces(image).await?;
                Ok(
                    json!({ "FaceDetails": faces.iter().map(|face| face.detail(&attributes)).collect::<Vec<_>>() }),
                )
            }
            "SearchFacesByImage" => self.search(input(body)?).await,
            "IndexFaces" => self.index(input(body)?).await,
            "DeleteFaces" => self.delete_faces(input(body)?),
            "ListFaces" => self.list(&input(body)?),
            "CreateCollection" => self.create(input(body)?),
            "DeleteCollection" => {
                let Named { collection_id } = input(body)?;
                self.all().remove(&collection_id).ok_or_else(|| not_found(&collection_id))?;
                Ok(json!({ "StatusCode": 200 }))
            }
            "DescribeCollection" => {
                let Named { collection_id } = input(body)?;
                let mut all = self.all();
                let collection = of(&mut all, &collection_id)?;
                Ok(json!({
                    "FaceCount": collection.faces.len(),
                    "UserCount": 0,
                    "FaceModelVersion": MODEL,
                    "CollectionARN": format!("arn:{}", self.arn(&collection_id)),
                    "CreationTimestamp": collection.made_at_micros as f64 / 1e6,
                }))
            }
            _ => Err(Refusal::new(
                "UnknownOperationException",
                format!(
                    "`{target}` is not an operation of the local stand-in for Rekognition, which has DetectFaces, SearchFacesByImage, IndexFaces, DeleteFaces, ListFaces, CreateCollection, DeleteCollection and DescribeCollection"
                ),
            )),
        }
    }

    fn create(&self, Named { collection_id }: Named) -> Result<Value, Refusal> {
        identifier("CollectionId", &collection_id, "_.-")?;
        let mut all = self.all();
        if all.contains_key(&collection_id) {
            let message = format!("The collection id: {collection_id} already exists");
            return Err(Refusal::new("ResourceAlreadyExistsException", message));
        }
        // The service's own answer has no `arn:` here.
        let arn = self.arn(&collection_id);
        all.insert(collection_id, Collection::new());
        Ok(json!({ "StatusCode": 200, "CollectionArn": arn, "FaceModelVersion": MODEL }))
    }

    async fn search(&self, search: Search) -> Result<Value, Refusal> {
        let most = search.max_faces.unwrap_or(80);
        let least = search.face_match_threshold.unwrap_or(80.0);
        if !(1..=MOST_FACES).contains(&most) || !(0.0..=100.0).contains(&least) {
            return Err(Refusal::parameter(format!(
                "MaxFaces is 1 to {MOST_FACES}, FaceMatchThreshold 0 to 100"
            )));
        }
        let filtered = filter(search.quality_filter.as_deref(), "NONE")?;
        of(&mut self.all(), &search.collection_id)?;
        let faces = self.faces(search.image).await?;
        let Some(searched) = faces.iter().find(|face| !filtered || face.faults().is_empty()) else {
            return Err(Refusal::parameter("There are no faces in the image. Should be at least 1."));
        };
        let mut all = self.all();
        let mut matches: Vec<(f64, &Stored)> = of(&mut all, &search.collection_id)?
            .faces
            .iter()
            .map(|stored| (stored.face.similarity(searched), stored))
            .filter(|(similarity, _)| *similarity >= least)
            .collect();
        matches.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        matches.truncate(most);
        let matches = matches
            .into_iter()
            .map(|(similarity, stored)| json!({ "Similarity": similarity, "Face": stored.shown() }));
        Ok(json!({
            "SearchedFaceBoundingBox": searched.bounds(),
            "SearchedFaceConfidence": searched.confidence(),
            "FaceMatches": matches.collect::<Vec<_>>(),
            "FaceModelVersion": MODEL,
        }))
    }

    async fn index(&self, index: Index) -> Result<Value, Refusal> {
        let most = index.max_faces.unwrap_or(MOST_FACES);
        if most == 0 {
            return Err(Refusal::parameter("MaxFaces is at least 1"));
        }
        let filtered = filter(index.quality_filter.as_deref(), "AUTO")?;
        if let Some(external) = &index.external_image_id {
            identifier("ExternalImageId", external, "_.-:")?;
        }
        of(&mut self.all(), &index.collection_id)?;
        let faces = self.faces(index.image).await?;
        let mut all = self.all();
        let collection = of(&mut all, &index.collection_id)?;
        let image = faces.first().map(|face| uuid(face.number(&[b"image"])));
        let (mut records, mut refused) = (Vec::new(), Vec::new());
        for face in faces {
            let detail = face.detail(&index.detection_attributes);
            let mut faults = if filtered { face.faults() } else { Vec::new() };
            if records.len() == most {
                faults.push("EXCEEDS_MAX_FACES");
            }
            if !faults.is_empty() {
                refused.push(json!({ "Reasons": faults, "FaceDetail": detail }));
                continue;
            }
            let stored = collection.store(
                face,
                image.as_deref().unwrap_or_default(),
                index.external_image_id.as_ref(),
            );
            records.push(json!({ "Face": stored, "FaceDetail": detail }));
        }
        Ok(json!({ "FaceRecords": records, "UnindexedFaces": refused, "FaceModelVersion": MODEL }))
    }

    fn delete_faces(&self, Delete { collection_id, face_ids }: Delete) -> Result<Value, Refusal> {
        if !(1..=MOST_FACES).contains(&face_ids.len()) {
            return Err(Refusal::parameter(format!("FaceIds are 1 to {MOST_FACES}")));
        }
        let mut all = self.all();
        let faces = &mut of(&mut all, &collection_id)?.faces;
        let (deleted, missing): (Vec<_>, Vec<_>) =
            face_ids.into_iter().partition(|id| faces.iter().any(|stored| stored.id == *id));
        faces.retain(|stored| !deleted.contains(&stored.id));
        let missing = missing.into_iter().map(|id| json!({ "FaceId": id, "Reasons": ["FACE_NOT_FOUND"] }));
        Ok(json!({ "DeletedFaces": deleted, "UnsuccessfulFaceDeletions": missing.collect::<Vec<_>>() }))
    }

    fn list(&self, list: &List) -> Result<Value, Refusal> {
        let mut all = self.all();
        let faces = &of(&mut all, &list.collection_id)?.faces;
        // A token is the id of the last face given.
        let start = match &list.next_token {
            None => 0,
            Some(token) => {
                let last = faces.iter().position(|stored| stored.id == *token);
                let unknown = || {
                    Refusal::new("InvalidPaginationTokenException", "NextToken is not one of this collection")
                };
                last.ok_or_else(unknown)? + 1
            }
        };
        let most = list.max_results.unwrap_or(MOST_FACES).clamp(1, MOST_FACES);
        let mut wanted = faces[start..]
            .iter()
            .filter(|stored| list.face_ids.is_empty() || list.face_ids.contains(&stored.id));
        let given: Vec<&Stored> = wanted.by_ref().take(most).collect();
        let mut answer = json!({
            "Faces": given.iter().map(|stored| stored.shown()).collect::<Vec<_>>(),
            "FaceModelVersion": MODEL,
        });
        if let (Some(last), Some(_)) = (given.last(), wanted.next()) {
            answer["NextToken"] = json!(last.id);
        }
        Ok(answer)
    }

    async fn faces(&self, image: Image) -> Result<Vec<Face>, Refusal> {
        let (bytes, name) = match (image.bytes, image.s3_object) {
            (Some(encoded), None) => {
                let bytes = STANDARD.decode(encoded).map_err(|error| {
                    Refusal::new("SerializationException", format!("Image.Bytes: {error}"))
                })?;
                check_size(bytes.len(), MOST_BYTES)?;
                (Bytes::from(bytes), None)
            }
            (None, Some(object)) => (self.read(&object).await?, Some(object.name)),
            _ => return Err(Refusal::parameter("Image needs either Bytes or S3Object")),
        };
        picture::faces(&bytes, name.as_deref()).map_err(|picture::NoImage| {
            Refusal::new(
                "InvalidImageFormatException",
                "Request has invalid image format: PNG or JPEG is needed",
            )
        })
    }

    async fn read(&self, object: &Object) -> Result<Bytes, Refusal> {
        let unavailable = |why: &str| {
            let message = format!(
                "Unable to get object metadata from S3. Check object key, region and/or access permissions: {}/{}: {why}",
                object.bucket, object.name
            );
            Refusal::new("InvalidS3ObjectException", message)
        };
        let version = object.version.as_deref().map(|version| format!("?versionId={}", escaped(version)));
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=local/20260101/{}/s3/aws4_request, SignedHeaders=host, Signature=none",
            self.place.split(':').next().unwrap_or_default()
        );
        let request = Request::get(format!(
            "http://{}/{}/{}{}",
            self.services,
            escaped(&object.bucket),
            escaped(&object.name),
            version.unwrap_or_default()
        ))
        .header(AUTHORIZATION, scope)
        .body(Empty::new())
        .map_err(|error| unavailable(&error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| unavailable(&error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(unavailable(answer.status().as_str()));
        }
        let body = http_body_util::Limited::new(answer.into_body(), MOST_BYTES_IN_BUCKET);
        match body.collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(too_large(MOST_BYTES_IN_BUCKET))
            }
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }

    fn arn(&self, collection: &str) -> String {
        format!("aws:rekognition:{}:collection/{collection}", self.place)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Collection>> {
        self.collections.lock()
    }
}

impl Collection {
    fn new() -> Self {
        Self { made_at_micros: wall_micros(), stored: 0, faces: Vec::new() }
    }

    /// The same image under the same external id is stored once.
    fn store(&mut self, face: Face, image: &str, external: Option<&String>) -> Value {
        let same = |stored: &&Stored| stored.face == face && stored.external.as_ref() == external;
        if let Some(stored) = self.faces.iter().find(same) {
            return stored.shown();
        }
        self.stored += 1;
        let stored = Stored {
            id: uuid(face.number(&[&self.stored.to_be_bytes()])),
            image: image.to_owned(),
            external: external.cloned(),
            face,
        };
        let shown = stored.shown();
        self.faces.push(stored);
        shown
    }
}

impl Stored {
    fn shown(&self) -> Value {
        let mut shown = json!({
            "FaceId": self.id,
            "BoundingBox": self.face.bounds(),
            "ImageId": self.image,
            "Confidence": self.face.confidence(),
            "IndexFacesModelVersion": MODEL,
        });
        if let Some(external) = &self.external {
            shown["ExternalImageId"] = json!(external);
        }
        shown
    }
}

fn input<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::parameter(format!("Request has invalid parameters: {error}")))
}

fn of<'a>(all: &'a mut BTreeMap<String, Collection>, id: &str) -> Result<&'a mut Collection, Refusal> {
    all.get_mut(id).ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Refusal {
    Refusal::new("ResourceNotFoundException", format!("The collection id: {id} does not exist"))
}

fn identifier(what: &str, id: &str, also: &str) -> Result<(), Refusal> {
    let fits =
        (1..=255).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
    let message = || format!("{what} `{id}`: 1 to 255 letters, digits and {also}");
    if fits { Ok(()) } else { Err(Refusal::parameter(message())) }
}

/// Whether faces of low quality are kept out.
fn filter(given: Option<&str>, default: &str) -> Result<bool, Refusal> {
    match given.unwrap_or(default) {
        "NONE" => Ok(false),
        "AUTO" | "LOW" | "MEDIUM" | "HIGH" => Ok(true),
        other => Err(Refusal::parameter(format!("QualityFilter `{other}`: NONE, AUTO, LOW, MEDIUM or HIGH"))),
    }
}

fn check_size(bytes: usize, most: usize) -> Result<(), Refusal> {
    if bytes > most { Err(too_large(most)) } else { Ok(()) }
}

fn too_large(most: usize) -> Refusal {
    Refusal::new("ImageTooLargeException", format!("Image size is too large: at most {most} bytes"))
}

/// For the path or query of an address; slashes stay.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::picture::tests::png;
    use super::*;

    fn service() -> Rekognition {
        Rekognition::new("127.0.0.1:1".to_owned(), "us-east-1", "000000000000", &["people".to_owned()])
    }

    async fn ask(service: &Rekognition, operation: &str, call: Value) -> Result<Value, Refusal> {
        service.operation(&format!("{TARGET}{operation}"), call.to_string().as_bytes()).await
    }

    /// A call about a picture that shows `words`, in the collection `people`.
    fn about(words: &str, more: Value) -> Value {
        let bytes = STANDARD.encode(png(&format!("shows: {words}")));
        let mut call = json!({ "CollectionId": "people", "Image": { "Bytes": bytes } });
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call
    }

    #[track_caller]
    fn refused(answer: Result<Value, Refusal>, kind: &str, part: &str) {
        let refusal = answer.unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal:?}");
        assert!(refusal.message.contains(part), "{refusal:?}");
    }

    #[tokio::test]
    async fn a_face_is_detected_with_what_was_asked_for() {
        let service = service();
        let plain = ask(&service, "DetectFaces", about("ada", json!({}))).await.unwrap();
        let [face] = plain["FaceDetails"].as_array().unwrap().as_slice() else { panic!("{plain}") };
        assert!(face["Confidence"].as_f64().unwrap() > 99.0);
        assert!(face["Pose"]["Yaw"].as_f64().unwrap().abs() <= 15.0);
        assert_eq!(face.get("Sunglasses"), None);
        let asked = json!({ "Attributes": ["DEFAULT", "SUNGLASSES"] });
        let seen = ask(&service, "DetectFaces", about("ada, sunglasses", asked)).await.unwrap();
        assert_eq!(seen["FaceDetails"][0]["Sunglasses"]["Value"], true);
        assert_eq!(seen["FaceDetails"][0].get("Smile"), None);
        let all = ask(&service, "DetectFaces", about("ada", json!({ "Attributes": ["ALL"] }))).await.unwrap();
        assert_eq!(all["FaceDetails"][0].as_object().unwrap().len(), 17);
        let none = ask(&service, "DetectFaces", about("no face", json!({}))).await.unwrap();
        assert_eq!(none, json!({ "FaceDetails": [] }));
    }

    #[tokio::test]
    async fn an_indexed_face_is_found_until_it_is_deleted() {
        let service = service();
        let ada = json!({ "ExternalImageId": "ada" });
        let indexed = ask(&service, "IndexFaces", about("person ada", ada.clone())).await.unwrap();
        let id = indexed["FaceRecords"][0]["Face"]["FaceId"].clone();
        let again = ask(&service, "IndexFaces", about("person ada", ada.clone())).await.unwrap();
        assert_eq!(again["FaceRecords"][0]["Face"]["FaceId"], id, "the same image is stored once");
        ask(&service, "IndexFaces", about("person bob", json!({}))).await.unwrap();

        let other = about("person ada, turned", json!({ "FaceMatchThreshold": 90 }));
        let found = ask(&service, "SearchFacesByImage", other.clone()).await.unwrap();
        let [matched] = found["FaceMatches"].as_array().unwrap().as_slice() else { panic!("{found}") };
        assert_eq!((&matched["Face"]["FaceId"], &matched["Face"]["ExternalImageId"]), (&id, &json!("ada")));
        let all = about("person ada, turned", json!({ "FaceMatchThreshold": 0, "MaxFaces": 2 }));
        let all = ask(&service, "SearchFacesByImage", all).await.unwrap();
        let similarity = |index: usize| all["FaceMatches"][index]["Similarity"].as_f64().unwrap();
        assert!(similarity(0) > similarity(1), "{all}");

        let gone = json!({ "CollectionId": "people", "FaceIds": [id, "unknown"] });
        let gone = ask(&service, "DeleteFaces", gone).await.unwrap();
        let missing = json!([{ "FaceId": "unknown", "Reasons": ["FACE_NOT_FOUND"] }]);
        assert_eq!(gone, json!({ "DeletedFaces": [id], "UnsuccessfulFaceDeletions": missing }));
        let found = ask(&service, "SearchFacesByImage", other).await.unwrap();
        assert_eq!(found["FaceMatches"], json!([]));
        let anew = ask(&service, "IndexFaces", about("person ada", ada)).await.unwrap();
        assert_ne!(anew["FaceRecords"][0]["Face"]["FaceId"], id);
    }

    #[tokio::test]
    async fn faces_that_are_not_indexed_are_named_with_their_reasons() {
        let service = service();
        let two = ask(&service, "IndexFaces", about("2 faces", json!({ "MaxFaces": 1 }))).await.unwrap();
        assert_eq!(two["FaceRecords"].as_array().unwrap().len(), 1);
        assert_eq!(two["UnindexedFaces"][0]["Reasons"], json!(["EXCEEDS_MAX_FACES"]));
        let turned = ask(&service, "IndexFaces", about("turned", json!({}))).await.unwrap();
        assert_eq!(turned["UnindexedFaces"][0]["Reasons"], json!(["EXTREME_POSE"]));
        let taken = about("turned", json!({ "QualityFilter": "NONE" }));
        let taken = ask(&service, "IndexFaces", taken).await.unwrap();
        assert_eq!(taken["UnindexedFaces"], json!([]));
    }

    #[tokio::test]
    async fn collections_are_made_described_listed_and_deleted() {
        let service = service();
        let more = json!({ "CollectionId": "more" });
        ask(&service, "CreateCollection", more.clone()).await.unwrap();
        refused(
            ask(&service, "CreateCollection", more.clone()).await,
            "ResourceAlreadyExistsException",
            "more already exists",
        );
        ask(&service, "IndexFaces", about("3 faces", json!({ "CollectionId": "more" }))).await.unwrap();
        let described = ask(&service, "DescribeCollection", more.clone()).await.unwrap();
        assert_eq!(described["FaceCount"], 3);
        assert_eq!(described["CollectionARN"], "arn:aws:rekognition:us-east-1:000000000000:collection/more");
        let page = json!({ "CollectionId": "more", "MaxResults": 2 });
        let first = ask(&service, "ListFaces", page).await.unwrap();
        let rest = json!({ "CollectionId": "more", "NextToken": first["NextToken"] });
        let rest = ask(&service, "ListFaces", rest).await.unwrap();
        assert_eq!(first["Faces"].as_array().unwrap().len(), 2);
        assert_eq!((rest["Faces"].as_array().unwrap().len(), rest.get("NextToken")), (1, None));
        ask(&service, "DeleteCollection", more.clone()).await.unwrap();
        for operation in ["DeleteCollection", "DescribeCollection", "ListFaces"] {
            refused(
                ask(&service, operation, more.clone()).await,
                "ResourceNotFoundException",
                "more does not",
            );
        }
    }

    #[tokio::test]
    async fn what_the_service_refuses_is_refused() {
        let service = service();
        let none = ask(&service, "SearchFacesByImage", about("no face", json!({}))).await;
        refused(none, "InvalidParameterException", "There are no faces in the image");
        let unclear = about("blurred", json!({ "QualityFilter": "AUTO" }));
        refused(ask(&service, "SearchFacesByImage", unclear).await, "InvalidParameterException", "no faces");
        let nowhere = about("ada", json!({ "CollectionId": "nobody" }));
        for operation in ["SearchFacesByImage", "IndexFaces"] {
            refused(ask(&service, operation, nowhere.clone()).await, "ResourceNotFoundException", "nobody");
        }
        let image = |image: Value| json!({ "Image": image });
        let text = image(json!({ "Bytes": STANDARD.encode("a text") }));
        refused(ask(&service, "DetectFaces", text).await, "InvalidImageFormatException", "PNG or JPEG");
        let large = image(json!({ "Bytes": STANDARD.encode(vec![0; MOST_BYTES + 1]) }));
        refused(ask(&service, "DetectFaces", large).await, "ImageTooLargeException", "5242880");
        refused(
            ask(&service, "DetectFaces", image(json!({}))).await,
            "InvalidParameterException",
            "either Bytes or S3Object",
        );
        let object = image(json!({ "S3Object": { "Bucket": "b", "Name": "a b" } }));
        refused(ask(&service, "DetectFaces", object).await, "InvalidS3ObjectException", "b/a b");
        refused(
            ask(&service, "IndexFaces", about("x", json!({ "ExternalImageId": "a b" }))).await,
            "InvalidParameterException",
            "ExternalImageId `a b`",
        );
        refused(
            ask(&service, "IndexFaces", about("x", json!({ "MaxFaces": "many" }))).await,
            "InvalidParameterException",
            "invalid type",
        );
        refused(ask(&service, "DetectText", json!({})).await, "UnknownOperationException", "DetectText");
    }
}
