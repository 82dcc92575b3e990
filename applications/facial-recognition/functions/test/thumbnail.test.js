import assert from "node:assert/strict";
import { test } from "node:test";
import jpeg from "jpeg-js";
import { PNG } from "pngjs";
import { PHOTOS, draw } from "../../data/make-photos.mjs";
import { failing, fakeClient, noSubsegment as subsegment } from "../fakes.js";
import { decode, encode, squareAround, thumbnail } from "../src/image.js";
import { makeThumbnail } from "../src/make-thumbnail.js";

const REQUEST = {
  userId: "ada",
  photo: "face-1.png",
  registration: "r1",
  face: { box: { left: 0.25, top: 0.2, width: 0.5, height: 0.6 } },
};

const making = (bytes) => {
  const s3 = fakeClient((_input, name) => (name === "GetObjectCommand" ? { Body: { transformToByteArray: async () => bytes } } : {}));
  return { s3, step: makeThumbnail({ s3, bucket: "b", subsegment }) };
};

test("the photos of the workload are what PNG decoders read, and always the same", () => {
  for (const [name, colourAt] of Object.entries(PHOTOS)) {
    const bytes = draw(colourAt);
    const { width, height, data } = PNG.sync.read(bytes);
    assert.deepEqual([width, height], [360, 450], name);
    assert.ok(new Set(data).size > 50, `${name} has many colours`);
    assert.ok(bytes.equals(draw(colourAt)), name);
  }
});

test("a photo becomes a small JPEG of the face", async () => {
  const { s3, step } = making(draw(PHOTOS["face-1.png"]));
  const made = await step(REQUEST);
  assert.equal(made.key, "thumbnails/ada/r1.jpg");
  const [read, written] = s3.sent;
  assert.deepEqual(read.input, { Bucket: "b", Key: "photos/face-1.png" });
  assert.equal(written.input.ContentType, "image/jpeg");
  const image = jpeg.decode(written.input.Body);
  assert.deepEqual([image.width, image.height], [160, 160]);
  assert.equal(written.input.Body.length, made.bytes);
  // The middle of the face is skin: more red than blue.
  const middle = (80 * 160 + 80) * 4;
  assert.ok(image.data[middle] > image.data[middle + 2] + 30);
});

test("JPEG photos are read too", async () => {
  const source = jpeg.encode({ width: 40, height: 30, data: Buffer.alloc(40 * 30 * 4, 200) }, 90).data;
  assert.ok((await making(source).step(REQUEST)).bytes > 0);
});

test("a photo that is missing, damaged or of another kind cannot be used", async () => {
  const unusable = (step) => assert.rejects(step(REQUEST), { name: "PhotoNotUsable" });
  await unusable(making(Buffer.from("GIF89a")).step);
  await unusable(making(Buffer.alloc(0)).step);
  await unusable(making(draw(PHOTOS["no-face.png"]).subarray(0, 2000)).step);
  await unusable(making(Buffer.from([0xff, 0xd8, 0xff, 0xe0, 1, 2, 3])).step);
  await unusable(makeThumbnail({ s3: fakeClient(failing("NoSuchKey")), bucket: "b", subsegment }));
  await assert.rejects(makeThumbnail({ s3: fakeClient(failing("AccessDenied")), bucket: "b", subsegment })(REQUEST), {
    name: "AccessDenied",
  });
});

test("an image that would need too much memory is refused by its header", () => {
  const bytes = Buffer.from(draw(() => [0, 0, 0], 2, 2));
  bytes.writeUInt32BE(60_000, 16);
  bytes.writeUInt32BE(60_000, 20);
  assert.throws(() => decode(bytes), /60000 × 60000 pixels are too many/);
});

test("the square stays in the image", () => {
  const image = { width: 200, height: 100 };
  const within = (box, expected) => assert.deepEqual(squareAround(image, box), expected);
  within({ left: 0.4, top: 0.3, width: 0.1, height: 0.4 }, { left: 58, top: 18, side: 64 });
  within({ left: 0, top: 0, width: 0.1, height: 0.2 }, { left: 0, top: 0, side: 32 });
  within({ left: 0.9, top: 0.8, width: 0.1, height: 0.2 }, { left: 168, top: 68, side: 32 });
  within({ left: 0, top: 0, width: 1, height: 1 }, { left: 50, top: 0, side: 100 });
  within({ left: 0, top: 0, width: 0, height: 0 }, { left: 0, top: 0, side: 1 });
});

test("a pixel of the thumbnail is the mean of what it covers", () => {
  const data = Buffer.from([0, 0, 0, 255, 100, 100, 100, 255, 200, 200, 200, 255, 100, 100, 100, 255]);
  const image = { width: 2, height: 2, data };
  assert.deepEqual([...thumbnail(image, { left: 0, top: 0, side: 2 }, 1).data], [100, 100, 100, 255]);
  assert.deepEqual([...thumbnail(image, { left: 1, top: 0, side: 1 }, 2).data.subarray(0, 4)], [100, 100, 100, 255]);
});

test("what is transparent becomes white", () => {
  const image = { width: 1, height: 1, data: Buffer.from([10, 20, 30, 0]) };
  assert.deepEqual([...thumbnail(image, { left: 0, top: 0, side: 1 }, 1).data], [255, 255, 255, 255]);
  assert.ok(encode(thumbnail(image, { left: 0, top: 0, side: 1 }, 8)).length > 100);
});
