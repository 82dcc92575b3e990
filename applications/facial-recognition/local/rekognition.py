"""A stand-in for Amazon Rekognition's faces: collections in memory, and faces as picture.py sees them. It recognises nothing; it gives the application
the answers and errors that it would get.
"""

import base64
import binascii
import http.client
import re
import threading
import time
from dataclasses import dataclass
from urllib.parse import quote

import picture

TARGET = "RekognitionService."
MODEL = "7.0"
REGION, ACCOUNT = "us-east-1", "000000000000"
# An image in the request, and one in a bucket.
MOST_BYTES = 5 * 1024 * 1024
MOST_BYTES_IN_BUCKET = 15 * 1024 * 1024
MOST_FACES = 4096
# For the services of the local target, in seconds.
TIMEOUT = 30
# By its scope the local target finds the service; nothing else of it is looked at.
S3 = f"AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}/s3/aws4_request, SignedHeaders=host, Signature=none"


class Refusal(Exception):
    """An error as the service reports it."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind, self.message = kind, message


def wrong(message):
    return Refusal("InvalidParameterException", message)


def not_found(collection):
    return Refusal("ResourceNotFoundException", f"The collection id: {collection} does not exist")


def too_large(most):
    return Refusal("ImageTooLargeException", f"Image size is too large: at most {most} bytes")


@dataclass
class Stored:
    """A face in a collection."""

    id: str
    image: str
    external: str | None
    face: picture.Face

    def shown(self):
        shown = {
            "FaceId": self.id,
            "BoundingBox": self.face.box(),
            "ImageId": self.image,
            "Confidence": self.face.confidence(),
            "IndexFacesModelVersion": MODEL,
        }
        return shown if self.external is None else shown | {"ExternalImageId": self.external}


class Collection:
    def __init__(self):
        self.made_at = time.time()
        # How many faces were ever stored: makes their ids differ.
        self.stored = 0
        self.faces = []

    def store(self, face, image, external):
        """The same image under the same external id is stored once."""
        for stored in self.faces:
            if stored.face == face and stored.external == external:
                return stored
        self.stored += 1
        stored = Stored(face.uuid(self.stored.to_bytes(8, "big")), image, external, face)
        self.faces.append(stored)
        return stored


class Call:
    """The input of an operation, with its types checked."""

    def __init__(self, given):
        if not isinstance(given, dict):
            raise wrong(f"Request has invalid parameters: invalid type: {given!r}, expected an object")
        self.given = given

    def get(self, name, kind, default=None):
        value = self.given.get(name)
        if value is None:
            return default
        # To Python, true is a number.
        if not isinstance(value, kind) or isinstance(value, bool) or (kind is int and value < 0):
            raise wrong(f"Request has invalid parameters: invalid type: {name} is {value!r}")
        return value

    def need(self, name, kind):
        value = self.get(name, kind)
        if value is None:
            raise wrong(f"Request has invalid parameters: missing field `{name}`")
        return value

    def texts(self, name):
        values = self.get(name, list, [])
        if not all(isinstance(value, str) for value in values):
            raise wrong(f"Request has invalid parameters: invalid type: {name} holds something else than texts")
        return values

    def image(self):
        return Call(self.need("Image", dict))


class Rekognition:
    """The service. Each method that is named like an operation answers it; `call` is its input, `services` where the other services are."""

    def __init__(self, collections=()):
        self.collections = {name: Collection() for name in collections}
        # Held for every look at the collections, not while an image is read.
        self.lock = threading.Lock()
        self.operations = {
            "DetectFaces": self.detect_faces,
            "SearchFacesByImage": self.search_faces_by_image,
            "IndexFaces": self.index_faces,
            "DeleteFaces": self.delete_faces,
            "ListFaces": self.list_faces,
            "CreateCollection": self.create_collection,
            "DeleteCollection": self.delete_collection,
            "DescribeCollection": self.describe_collection,
        }

    def answer(self, target, given, services=None):
        """The answer to a call: `target` is its header X-Amz-Target, `services` is `HOST:PORT` of the local target."""
        operation = self.operations.get(target.removeprefix(TARGET)) if target.startswith(TARGET) else None
        if operation is None:
            *but_last, last = self.operations
            raise Refusal(
                "UnknownOperationException",
                f"`{target}` is not an operation of the local stand-in for Rekognition, which has {', '.join(but_last)} and {last}",
            )
        return operation(Call(given), services)

    def collection(self, name):
        if name not in self.collections:
            raise not_found(name)
        return self.collections[name]

    def detect_faces(self, call, services):
        attributes = call.texts("Attributes")
        return {"FaceDetails": [face.detail(attributes) for face in faces(call.image(), services)]}

    def search_faces_by_image(self, call, services):
        name = call.need("CollectionId", str)
        most = call.get("MaxFaces", int, 80)
        least = call.get("FaceMatchThreshold", (int, float), 80.0)
        if not (1 <= most <= MOST_FACES and 0 <= least <= 100):
            raise wrong(f"MaxFaces is 1 to {MOST_FACES}, FaceMatchThreshold 0 to 100")
        filtered = is_filtered(call, "NONE")
        with self.lock:
            self.collection(name)
        found = faces(call.image(), services)
        searched = next((face for face in found if not (filtered and face.faults())), None)
        if searched is None:
            raise wrong("There are no faces in the image. Should be at least 1.")
        with self.lock:
            compared = [(stored.face.similarity(searched), stored) for stored in self.collection(name).faces]
        matches = sorted((match for match in compared if match[0] >= least), key=lambda match: match[0], reverse=True)
        return {
            "SearchedFaceBoundingBox": searched.box(),
            "SearchedFaceConfidence": searched.confidence(),
            "FaceMatches": [{"Similarity": similarity, "Face": stored.shown()} for similarity, stored in matches[:most]],
            "FaceModelVersion": MODEL,
        }

    def index_faces(self, call, services):
        name = call.need("CollectionId", str)
        most = call.get("MaxFaces", int, MOST_FACES)
        if most == 0:
            raise wrong("MaxFaces is at least 1")
        filtered = is_filtered(call, "AUTO")
        external = call.get("ExternalImageId", str)
        if external is not None:
            check_identifier("ExternalImageId", external, "_.-:")
        attributes = call.texts("DetectionAttributes")
        with self.lock:
            self.collection(name)
        found = faces(call.image(), services)
        records, refused = [], []
        with self.lock:
            collection = self.collection(name)
            for face in found:
                faults = face.faults() if filtered else []
                if len(records) == most:
                    faults.append("EXCEEDS_MAX_FACES")
                if faults:
                    refused.append({"Reasons": faults, "FaceDetail": face.detail(attributes)})
                else:
                    stored = collection.store(face, found[0].uuid(b"image"), external)
                    records.append({"Face": stored.shown(), "FaceDetail": face.detail(attributes)})
        return {"FaceRecords": records, "UnindexedFaces": refused, "FaceModelVersion": MODEL}

    def delete_faces(self, call, services):
        name, ids = call.need("CollectionId", str), call.texts("FaceIds")
        if not 1 <= len(ids) <= MOST_FACES:
            raise wrong(f"FaceIds are 1 to {MOST_FACES}")
        with self.lock:
            collection = self.collection(name)
            known = {stored.id for stored in collection.faces}
            collection.faces = [stored for stored in collection.faces if stored.id not in ids]
        return {
            "DeletedFaces": [one for one in ids if one in known],
            "UnsuccessfulFaceDeletions": [{"FaceId": one, "Reasons": ["FACE_NOT_FOUND"]} for one in ids if one not in known],
        }

    def list_faces(self, call, services):
        name, token = call.need("CollectionId", str), call.get("NextToken", str)
        most = min(max(call.get("MaxResults", int, MOST_FACES), 1), MOST_FACES)
        wanted = call.texts("FaceIds")
        with self.lock:
            listed = list(self.collection(name).faces)
        # A token is the id of the last face given.
        if token is not None:
            place = next((place for place, stored in enumerate(listed) if stored.id == token), None)
            if place is None:
                raise Refusal("InvalidPaginationTokenException", "NextToken is not one of this collection")
            listed = listed[place + 1 :]
        listed = [stored for stored in listed if not wanted or stored.id in wanted]
        answer = {"Faces": [stored.shown() for stored in listed[:most]], "FaceModelVersion": MODEL}
        return answer | {"NextToken": listed[most - 1].id} if len(listed) > most else answer

    def create_collection(self, call, services):
        name = call.need("CollectionId", str)
        check_identifier("CollectionId", name, "_.-")
        with self.lock:
            if name in self.collections:
                raise Refusal("ResourceAlreadyExistsException", f"The collection id: {name} already exists")
            self.collections[name] = Collection()
        # The service's own answer has no `arn:` here.
        return {"StatusCode": 200, "CollectionArn": arn(name), "FaceModelVersion": MODEL}

    def delete_collection(self, call, services):
        name = call.need("CollectionId", str)
        with self.lock:
            self.collection(name)
            del self.collections[name]
        return {"StatusCode": 200}

    def describe_collection(self, call, services):
        name = call.need("CollectionId", str)
        with self.lock:
            collection = self.collection(name)
            return {
                "FaceCount": len(collection.faces),
                "UserCount": 0,
                "FaceModelVersion": MODEL,
                "CollectionARN": f"arn:{arn(name)}",
                "CreationTimestamp": collection.made_at,
            }


def arn(collection):
    return f"aws:rekognition:{REGION}:{ACCOUNT}:collection/{collection}"


def check_identifier(what, given, also):
    if not re.fullmatch(f"[A-Za-z0-9{re.escape(also)}]{{1,255}}", given):
        raise wrong(f"{what} `{given}`: 1 to 255 letters, digits and {also}")


def is_filtered(call, default):
    """Whether faces of low quality are kept out."""
    given = call.get("QualityFilter", str, default)
    if given not in ("NONE", "AUTO", "LOW", "MEDIUM", "HIGH"):
        raise wrong(f"QualityFilter `{given}`: NONE, AUTO, LOW, MEDIUM or HIGH")
    return given != "NONE"


def faces(image, services):
    encoded, lies = image.get("Bytes", str), image.get("S3Object", dict)
    if (encoded is None) == (lies is None):
        raise wrong("Image needs either Bytes or S3Object")
    if encoded is not None:
        try:
            content = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refusal("SerializationException", f"Image.Bytes: {error}") from None
        if len(content) > MOST_BYTES:
            raise too_large(MOST_BYTES)
        name = None
    else:
        lies = Call(lies)
        bucket, name, version = lies.need("Bucket", str), lies.need("Name", str), lies.get("Version", str)
        content = read(services, bucket, name, version)
    try:
        return picture.faces(content, name)
    except picture.NoImage:
        raise Refusal("InvalidImageFormatException", "Request has invalid image format: PNG or JPEG is needed") from None


def read(services, bucket, name, version):
    """An object in a bucket of the application, at the services of the local target."""

    def unavailable(why):
        message = "Unable to get object metadata from S3. Check object key, region and/or access permissions"
        return Refusal("InvalidS3ObjectException", f"{message}: {bucket}/{name}: {why}")

    if not services:
        raise unavailable("the call did not come by the local target, which has the bucket")
    path = f"/{quote(bucket)}/{quote(name)}" + (f"?versionId={quote(version)}" if version else "")
    connection = http.client.HTTPConnection(services, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Authorization": S3})
        answer = connection.getresponse()
        if answer.status != 200:
            raise unavailable(answer.status)
        content = answer.read(MOST_BYTES_IN_BUCKET + 1)
    except (OSError, http.client.HTTPException) as error:
        raise unavailable(error) from None
    finally:
        connection.close()
    if len(content) > MOST_BYTES_IN_BUCKET:
        raise too_large(MOST_BYTES_IN_BUCKET)
    return content
