// A photographer sends a photo: it is stored, and the workflow that waits for it goes on. Which product it shows follows from the assignment.
import { randomUUID } from "node:crypto";
import { DeleteObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { SendTaskSuccessCommand } from "@aws-sdk/client-sfn";
import { HttpError, answer, http } from "./http.js";

const MOST_BYTES = 4_500_000;

const FORMATS = [
  { extension: "png", type: "image/png", signature: Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]) },
  { extension: "jpg", type: "image/jpeg", signature: Buffer.from([0xff, 0xd8, 0xff]) },
];

/** What the workflow no longer waits for. */
const TOO_LATE = new Set(["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"]);

function photoOf({ body, isBase64Encoded }) {
  const bytes = Buffer.from(body ?? "", isBase64Encoded ? "base64" : "latin1");
  if (bytes.length > MOST_BYTES) throw new HttpError(413, `a photo has at most ${MOST_BYTES} bytes`);
  const format = FORMATS.find(({ signature }) => bytes.subarray(0, signature.length).equals(signature));
  if (!format) throw new HttpError(415, "a photo is a PNG or JPEG, sent as image/png or image/jpeg");
  return { bytes, format };
}

export const receivePhoto = ({ assignments, s3, states, bucket, subsegment }) =>
  http(async (request) => {
    const id = request.pathParameters?.photographer ?? "";
    const { bytes, format } = photoOf(request);
    const photographer = await assignments.photographer(id);
    if (!photographer) throw new HttpError(404, `there is no photographer ${id}`);
    if (photographer.state !== "awaiting") throw new HttpError(409, `nobody waits for a photo of ${id}`);

    const { product, token } = photographer;
    // Each upload has a name of its own: one that comes too late does not replace the one that came first.
    const key = `products/${product}/${randomUUID()}.${format.extension}`;
    await subsegment("store", { product, bytes: bytes.length }, () =>
      s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: bytes, ContentType: format.type })),
    );
    try {
      await subsegment("wake-workflow", { product }, () =>
        states.send(new SendTaskSuccessCommand({ taskToken: token, output: JSON.stringify({ key, bytes: bytes.length }) })),
      );
    } catch (error) {
      await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
      if (TOO_LATE.has(error.name)) throw new HttpError(409, `the photo of ${product} is no longer waited for`);
      throw error;
    }
    return answer(201, { product, photo: key });
  });
