import base64
import unittest

from rekognition import MOST_BYTES, TARGET, Refusal, Rekognition
from test_picture import png


def about(words, **more):
    """A call about a picture that shows `words`, in the collection `people`."""
    encoded = base64.b64encode(png(f"shows: {words}")).decode()
    return {"CollectionId": "people", "Image": {"Bytes": encoded}} | more


class Service(unittest.TestCase):
    def setUp(self):
        self.service = Rekognition(["people"])

    def ask(self, operation, call):
        return self.service.answer(TARGET + operation, call)

    def refused(self, operation, call, kind, part):
        with self.assertRaises(Refusal) as raised:
            self.ask(operation, call)
        self.assertEqual(raised.exception.kind, kind, raised.exception)
        self.assertIn(part, raised.exception.message)

    def test_a_face_is_detected_with_what_was_asked_for(self):
        [face] = self.ask("DetectFaces", about("ada"))["FaceDetails"]
        self.assertGreater(face["Confidence"], 99)
        self.assertLessEqual(abs(face["Pose"]["Yaw"]), 15)
        self.assertNotIn("Sunglasses", face)
        [seen] = self.ask("DetectFaces", about("ada, sunglasses", Attributes=["DEFAULT", "SUNGLASSES"]))["FaceDetails"]
        self.assertTrue(seen["Sunglasses"]["Value"])
        self.assertNotIn("Smile", seen)
        [everything] = self.ask("DetectFaces", about("ada", Attributes=["ALL"]))["FaceDetails"]
        self.assertEqual(len(everything), 17)
        self.assertEqual(self.ask("DetectFaces", about("no face")), {"FaceDetails": []})

    def test_an_indexed_face_is_found_until_it_is_deleted(self):
        index = lambda words, **more: self.ask("IndexFaces", about(words, **more))["FaceRecords"][0]["Face"]["FaceId"]
        ada = index("person ada", ExternalImageId="ada")
        self.assertEqual(index("person ada", ExternalImageId="ada"), ada, "the same image is stored once")
        index("person bob")

        other = about("person ada, turned", FaceMatchThreshold=90)
        [matched] = self.ask("SearchFacesByImage", other)["FaceMatches"]
        self.assertEqual((matched["Face"]["FaceId"], matched["Face"]["ExternalImageId"]), (ada, "ada"))
        both = self.ask("SearchFacesByImage", about("person ada, turned", FaceMatchThreshold=0, MaxFaces=2))["FaceMatches"]
        self.assertGreater(both[0]["Similarity"], both[1]["Similarity"])

        gone = self.ask("DeleteFaces", {"CollectionId": "people", "FaceIds": [ada, "unknown"]})
        missing = [{"FaceId": "unknown", "Reasons": ["FACE_NOT_FOUND"]}]
        self.assertEqual(gone, {"DeletedFaces": [ada], "UnsuccessfulFaceDeletions": missing})
        self.assertEqual(self.ask("SearchFacesByImage", other)["FaceMatches"], [])
        self.assertNotEqual(index("person ada", ExternalImageId="ada"), ada)

    def test_faces_that_are_not_indexed_are_named_with_their_reasons(self):
        two = self.ask("IndexFaces", about("2 faces", MaxFaces=1))
        self.assertEqual(len(two["FaceRecords"]), 1)
        self.assertEqual(two["UnindexedFaces"][0]["Reasons"], ["EXCEEDS_MAX_FACES"])
        turned = self.ask("IndexFaces", about("turned"))
        self.assertEqual(turned["UnindexedFaces"][0]["Reasons"], ["EXTREME_POSE"])
        taken = self.ask("IndexFaces", about("turned", QualityFilter="NONE"))
        self.assertEqual(taken["UnindexedFaces"], [])

    def test_collections_are_made_described_listed_and_deleted(self):
        more = {"CollectionId": "more"}
        self.ask("CreateCollection", more)
        self.refused("CreateCollection", more, "ResourceAlreadyExistsException", "more already exists")
        self.ask("IndexFaces", about("3 faces", CollectionId="more"))
        described = self.ask("DescribeCollection", more)
        self.assertEqual(described["FaceCount"], 3)
        self.assertEqual(described["CollectionARN"], "arn:aws:rekognition:us-east-1:000000000000:collection/more")
        first = self.ask("ListFaces", more | {"MaxResults": 2})
        rest = self.ask("ListFaces", more | {"NextToken": first["NextToken"]})
        self.assertEqual((len(first["Faces"]), len(rest["Faces"])), (2, 1))
        self.assertNotIn("NextToken", rest)
        self.refused("ListFaces", more | {"NextToken": "unknown"}, "InvalidPaginationTokenException", "NextToken")
        self.ask("DeleteCollection", more)
        for operation in ("DeleteCollection", "DescribeCollection", "ListFaces"):
            self.refused(operation, more, "ResourceNotFoundException", "more does not")

    def test_what_the_service_refuses_is_refused(self):
        wrong = "InvalidParameterException"
        self.refused("SearchFacesByImage", about("no face"), wrong, "There are no faces in the image")
        self.refused("SearchFacesByImage", about("blurred", QualityFilter="AUTO"), wrong, "no faces")
        self.refused("SearchFacesByImage", about("ada", MaxFaces=0), wrong, "MaxFaces is 1 to 4096")
        for operation in ("SearchFacesByImage", "IndexFaces"):
            self.refused(operation, about("ada", CollectionId="nobody"), "ResourceNotFoundException", "nobody")

        def of(content):
            return {"Image": {"Bytes": base64.b64encode(content).decode()}}

        self.refused("DetectFaces", of(b"a text"), "InvalidImageFormatException", "PNG or JPEG")
        self.refused("DetectFaces", of(bytes(MOST_BYTES + 1)), "ImageTooLargeException", "5242880")
        self.refused("DetectFaces", {"Image": {"Bytes": "no base64"}}, "SerializationException", "Image.Bytes")
        self.refused("DetectFaces", {"Image": {}}, wrong, "either Bytes or S3Object")
        self.refused("DetectFaces", {}, wrong, "missing field `Image`")
        self.refused("DetectFaces", [], wrong, "invalid type")
        lies = {"Image": {"S3Object": {"Bucket": "b", "Name": "a b"}}}
        self.refused("DetectFaces", lies, "InvalidS3ObjectException", "b/a b")
        self.refused("IndexFaces", about("x", ExternalImageId="a b"), wrong, "ExternalImageId `a b`")
        self.refused("IndexFaces", about("x", MaxFaces="many"), wrong, "invalid type")
        self.refused("IndexFaces", about("x", MaxFaces=0), wrong, "at least 1")
        self.refused("DetectText", {}, "UnknownOperationException", "DetectText")


if __name__ == "__main__":
    unittest.main()
