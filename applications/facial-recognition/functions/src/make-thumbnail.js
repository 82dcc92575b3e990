// Cuts the face out of the photo and stores it small.
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { PhotoNotUsable } from "./errors.js";
import { decode, encode, squareAround, thumbnail } from "./image.js";

const SIZE = 160;

export const makeThumbnail =
  ({ s3, bucket, subsegment }) =>
  async ({ userId, photo, registration, face }) => {
    let bytes;
    try {
      const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: `photos/${photo}` }));
      bytes = Buffer.from(await Body.transformToByteArray());
    } catch (error) {
      if (error.name === "NoSuchKey") throw new PhotoNotUsable(`there is no photo ${photo}`);
      throw error;
    }
    const small = await subsegment("resize", { photo, bytes: bytes.length }, async () => {
      const image = decode(bytes);
      return encode(thumbnail(image, squareAround(image, face.box), SIZE));
    });
    const key = `thumbnails/${userId}/${registration}.jpg`;
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: small, ContentType: "image/jpeg" }));
    return { key, bytes: small.length };
  };
