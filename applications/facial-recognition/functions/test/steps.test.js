import assert from "node:assert/strict";
import { test } from "node:test";
import { failing, fakeClient, noSubsegment as subsegment } from "../fakes.js";
import { compare } from "../src/compare.js";
import { detect } from "../src/detect.js";
import { discard } from "../src/discard.js";
import { indexFace } from "../src/index-face.js";
import { notify, reasonOf } from "../src/notify.js";
import { persist } from "../src/persist.js";
import { user, users } from "../src/user.js";

const REQUEST = { userId: "ada", photo: "face-1.png", registration: "r1" };

const detected = (changes = {}) => ({
  Confidence: 99.5,
  BoundingBox: { Left: 0.2, Top: 0.1, Width: 0.5, Height: 0.6 },
  Pose: { Yaw: 3, Pitch: -4, Roll: 80 },
  Sunglasses: { Value: false, Confidence: 99 },
  ...changes,
});

const detecting = (respond) => {
  const rekognition = fakeClient(respond);
  return { rekognition, step: detect({ rekognition, bucket: "b", subsegment }) };
};

test("a photo of one clear face is accepted", async () => {
  const { rekognition, step } = detecting(() => ({ FaceDetails: [detected()] }));
  assert.deepEqual(await step(REQUEST), { confidence: 99.5, box: { left: 0.2, top: 0.1, width: 0.5, height: 0.6 } });
  assert.deepEqual(rekognition.sent[0].input.Image, { S3Object: { Bucket: "b", Name: "photos/face-1.png" } });
});

test("photos that cannot be used are told apart", async () => {
  const refused = async (respond, message) => {
    await assert.rejects(detecting(respond).step(REQUEST), (error) => error.name === "PhotoNotUsable" && message.test(error.message));
  };
  await refused(() => ({ FaceDetails: [] }), /no face/);
  await refused(() => ({ FaceDetails: [detected(), detected()] }), /2 faces/);
  await refused(() => ({ FaceDetails: [detected({ Confidence: 60 })] }), /not certain/);
  await refused(() => ({ FaceDetails: [detected({ BoundingBox: { Left: 0, Top: 0, Width: 0.1, Height: 0.05 } })] }), /too small/);
  await refused(() => ({ FaceDetails: [detected({ Pose: { Yaw: -60, Pitch: 0 } })] }), /turned away by 60/);
  await refused(() => ({ FaceDetails: [detected({ Sunglasses: { Value: true, Confidence: 95 } })] }), /sunglasses/);
  await refused(failing("InvalidImageFormatException", "bad format"), /bad format/);
  await refused(failing("InvalidS3ObjectException", "no such object"), /no such object/);
});

test("sunglasses that are only suspected, and a missing pose, do no harm", async () => {
  const { step } = detecting(() => ({ FaceDetails: [detected({ Sunglasses: { Value: true, Confidence: 55 }, Pose: undefined })] }));
  assert.equal((await step(REQUEST)).confidence, 99.5);
});

test("throttling stays what it is, so that the state machine tries again", async () => {
  await assert.rejects(detecting(failing("ThrottlingException")).step(REQUEST), { name: "ThrottlingException" });
});

const comparing = (respond) => {
  const rekognition = fakeClient(respond);
  return { rekognition, step: compare({ rekognition, bucket: "b", collection: "c", threshold: 90, subsegment }) };
};

const match = (ExternalImageId, Similarity) => ({ Face: { ExternalImageId }, Similarity });

test("a new face, and a new photo of the same user, pass", async () => {
  const { rekognition, step } = comparing(() => ({ FaceMatches: [] }));
  assert.deepEqual(await step(REQUEST), { known: false });
  assert.equal(rekognition.sent[0].input.FaceMatchThreshold, 90);
  assert.deepEqual(await comparing(() => ({ FaceMatches: [match("ada", 99)] })).step(REQUEST), { known: true });
});

test("the face of somebody else is refused without saying whose it is", async () => {
  const { step } = comparing(() => ({ FaceMatches: [match("ada", 99), match("grace", 93.27), match("mary", 91)] }));
  await assert.rejects(step(REQUEST), { name: "FaceAlreadyRegistered", message: "the face belongs to another user (similarity 93.3 %)" });
});

test("a search that finds no face in the photo is no fault of ours; other invalid parameters are", async () => {
  await assert.rejects(comparing(failing("InvalidParameterException", "There are no faces in the image.")).step(REQUEST), {
    name: "PhotoNotUsable",
  });
  await assert.rejects(comparing(failing("InvalidParameterException", "bad threshold")).step(REQUEST), {
    name: "InvalidParameterException",
  });
});

test("a face is indexed under its user", async () => {
  const rekognition = fakeClient(() => ({ FaceRecords: [{ Face: { FaceId: "f1" } }] }));
  assert.deepEqual(await indexFace({ rekognition, bucket: "b", collection: "c", subsegment })(REQUEST), { faceId: "f1" });
  assert.equal(rekognition.sent[0].input.ExternalImageId, "ada");
  assert.equal(rekognition.sent[0].input.MaxFaces, 1);
});

test("a face that Rekognition does not index is named with its reasons", async () => {
  const refused = (answer, message) =>
    assert.rejects(indexFace({ rekognition: fakeClient(() => answer), bucket: "b", collection: "c", subsegment })(REQUEST), {
      name: "PhotoNotUsable",
      message,
    });
  await refused(
    { FaceRecords: [], UnindexedFaces: [{ Reasons: ["LOW_SHARPNESS", "SMALL_BOUNDING_BOX"] }] },
    "the face could not be indexed: LOW_SHARPNESS, SMALL_BOUNDING_BOX",
  );
  await refused({}, "the face could not be indexed");
});

const persisting = (before) => {
  const documents = fakeClient(() => ({ Attributes: before }));
  return { documents, step: persist({ documents, table: "users", subsegment, now: () => new Date("2026-02-01T00:00:00Z") }) };
};

const MADE = { ...REQUEST, face: { confidence: 99.5 }, made: { index: { faceId: "f2" }, thumbnail: { key: "t2" } } };

test("a first registration replaces nothing", async () => {
  const { documents, step } = persisting(undefined);
  assert.deepEqual(await step(MADE), {
    userId: "ada",
    faceId: "f2",
    thumbnail: "t2",
    registeredAt: "2026-02-01T00:00:00.000Z",
    replaced: null,
  });
  assert.deepEqual(documents.sent[0].input.Item, {
    userId: "ada",
    photo: "face-1.png",
    registration: "r1",
    faceId: "f2",
    thumbnail: "t2",
    confidence: 99.5,
    registeredAt: "2026-02-01T00:00:00.000Z",
  });
});

test("a further registration names what it replaces, a repeated attempt does not name its own", async () => {
  const before = { registration: "r0", faceId: "f1", thumbnail: "t1" };
  assert.deepEqual((await persisting(before).step(MADE)).replaced, { index: { faceId: "f1" }, thumbnail: { key: "t1" } });
  assert.equal((await persisting({ ...before, registration: "r1" }).step(MADE)).replaced, null);
});

test("a photo that was registered before keeps its face, which has the id that it had", async () => {
  const before = { registration: "r0", faceId: "f2", thumbnail: "t1" };
  assert.deepEqual((await persisting(before).step(MADE)).replaced, { thumbnail: { key: "t1" } });
});

const discarding = (respondRekognition, respondS3, respondTable) => {
  const rekognition = fakeClient(respondRekognition);
  const s3 = fakeClient(respondS3);
  const documents = fakeClient(respondTable);
  const step = discard({ rekognition, s3, documents, bucket: "b", collection: "c", table: "t", subsegment });
  return { rekognition, s3, documents, step };
};

test("what was made is discarded, whichever half of it there is", async () => {
  const both = discarding();
  assert.deepEqual(await both.step({ index: { faceId: "f1" }, thumbnail: { key: "t1" } }), { discarded: 2 });
  assert.deepEqual(both.rekognition.sent[0].input, { CollectionId: "c", FaceIds: ["f1"] });
  assert.deepEqual(both.s3.sent[0].input, { Bucket: "b", Key: "t1" });

  const half = discarding();
  assert.deepEqual(await half.step({ index: { failure: { Error: "x" } }, thumbnail: { key: "t1" } }), { discarded: 1 });
  assert.equal(half.rekognition.sent.length, 0);
});

test("a registration that failed takes no face away from the user who is registered with it", async () => {
  const made = { userId: "ada", index: { faceId: "f1" }, thumbnail: { key: "t1" } };
  const registered = discarding(undefined, undefined, () => ({ Item: { userId: "ada", faceId: "f1" } }));
  assert.deepEqual(await registered.step(made), { discarded: 1 });
  assert.deepEqual(registered.documents.sent[0].input, { TableName: "t", Key: { userId: "ada" }, ConsistentRead: true });
  assert.equal(registered.rekognition.sent.length, 0);
  assert.equal(registered.s3.sent.length, 1);

  for (const item of [undefined, { userId: "ada", faceId: "f0" }]) {
    const other = discarding(undefined, undefined, () => ({ Item: item }));
    assert.deepEqual(await other.step(made), { discarded: 2 });
    assert.deepEqual(other.rekognition.sent[0].input.FaceIds, ["f1"]);
  }

  const unknown = discarding(undefined, undefined, failing("InternalServerError"));
  await assert.rejects(unknown.step(made), { name: "InternalServerError" });
  assert.equal(unknown.rekognition.sent.length, 0);
  assert.equal(unknown.s3.sent.length, 1);
});

test("a face that cannot be deleted does not keep the thumbnail, and fails the step", async () => {
  const { s3, step } = discarding(failing("ThrottlingException"));
  await assert.rejects(step({ index: { faceId: "f1" }, thumbnail: { key: "t1" } }), { name: "ThrottlingException" });
  assert.equal(s3.sent.length, 1);
});

test("who failed is told why, in words", async () => {
  const sns = fakeClient();
  const tell = notify({ sns, topicArn: "t", subsegment });
  const cause = (errorMessage) => JSON.stringify({ errorType: "x", errorMessage });
  const told = async (failure, kind, message) => {
    assert.deepEqual(await tell({ ...REQUEST, failure }), { kind, message });
    const { input } = sns.sent.at(-1);
    assert.deepEqual(JSON.parse(input.Message), { userId: "ada", registration: "r1", kind, message });
    assert.equal(input.MessageAttributes.kind.StringValue, kind);
  };
  await told(
    { Error: "PhotoNotUsable", Cause: cause("the photo shows no face") },
    "PhotoNotUsable",
    "Your photo cannot be used: the photo shows no face.",
  );
  await told(
    { Error: "FaceAlreadyRegistered", Cause: cause("similar") },
    "FaceAlreadyRegistered",
    "You seem to be registered already: similar.",
  );
  await told({ Error: "States.Timeout" }, "Failed", "Your registration failed, please try again later.");
  await told({ Error: "toString", Cause: cause("secret detail") }, "Failed", "Your registration failed, please try again later.");
});

test("a cause may be JSON or text", () => {
  assert.equal(reasonOf({ Error: "E", Cause: '{"errorMessage":"m"}' }), "m");
  assert.equal(reasonOf({ Error: "E", Cause: "plain" }), "plain");
  assert.equal(reasonOf({ Error: "E", Cause: "{}" }), "E");
  assert.equal(reasonOf({ Error: "E" }), "E");
});

test("a registered user is answered without the face's id", async () => {
  const item = { userId: "ada", photo: "p", thumbnail: "t", confidence: 99, registration: "r", registeredAt: "2026", faceId: "secret" };
  const documents = fakeClient(() => ({ Item: item }));
  const answer = await user({ documents, table: "users", subsegment })({ pathParameters: { userId: "ada" } });
  assert.equal(answer.statusCode, 200);
  const { faceId, ...shown } = item;
  assert.deepEqual(JSON.parse(answer.body), shown);
});

test("nobody is answered by 404, nonsense by 400", async () => {
  const documents = fakeClient(() => ({}));
  const ask = user({ documents, table: "users", subsegment });
  assert.equal((await ask({ pathParameters: { userId: "nobody" } })).statusCode, 404);
  assert.equal((await ask({ pathParameters: { userId: "a b" } })).statusCode, 400);
  assert.equal((await ask({ pathParameters: null })).statusCode, 400);
  assert.equal(documents.sent.length, 1);
});

test("users are listed in pages", async () => {
  const item = { userId: "ada", photo: "p", thumbnail: "t", confidence: 99, registration: "r", registeredAt: "2026", faceId: "secret" };
  const documents = fakeClient(({ ExclusiveStartKey }) =>
    ExclusiveStartKey ? { Items: [] } : { Items: [item], LastEvaluatedKey: { userId: "ada" } },
  );
  const list = users({ documents, table: "users", subsegment });
  const { faceId, ...shown } = item;
  assert.deepEqual(JSON.parse((await list({ queryStringParameters: null })).body), { users: [shown], next: "ada" });
  assert.deepEqual(JSON.parse((await list({ queryStringParameters: { after: "ada" } })).body), { users: [], next: null });
  assert.deepEqual(documents.sent[1].input.ExclusiveStartKey, { userId: "ada" });
  assert.equal((await list({ queryStringParameters: { after: "a b" } })).statusCode, 400);
});
