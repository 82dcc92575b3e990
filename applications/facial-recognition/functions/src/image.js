// Photos as pixels: decoding, cutting out, making smaller. Pure JavaScript, so that the function is a file and not a build for a platform.
import jpeg from "jpeg-js";
import { PNG } from "pngjs";
import { PhotoNotUsable } from "./errors.js";

const MOST_MEGAPIXELS = 40;
const MOST_MEMORY_MB = 512;
const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const JPEG_SIGNATURE = Buffer.from([0xff, 0xd8, 0xff]);

/** `{width, height, data}`, four bytes a pixel. What would take too much memory is refused by its header. */
export function decode(bytes) {
  try {
    if (bytes.subarray(0, 8).equals(PNG_SIGNATURE)) {
      const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
      if (width * height > MOST_MEGAPIXELS * 1e6) throw new Error(`${width} × ${height} pixels are too many`);
      return PNG.sync.read(bytes);
    }
    if (bytes.subarray(0, 3).equals(JPEG_SIGNATURE)) {
      return jpeg.decode(bytes, { maxResolutionInMP: MOST_MEGAPIXELS, maxMemoryUsageInMB: MOST_MEMORY_MB, formatAsRGBA: true });
    }
  } catch (error) {
    throw new PhotoNotUsable(`the photo cannot be decoded: ${error.message}`);
  }
  throw new PhotoNotUsable("the photo is neither PNG nor JPEG");
}

/** The square around a face, with a margin, as far as the image goes. `box` is in shares of width and height, as Rekognition gives it. */
export function squareAround({ width, height }, box, margin = 0.3) {
  const wanted = Math.max(box.width * width, box.height * height) * (1 + 2 * margin);
  const side = Math.max(1, Math.floor(Math.min(wanted, width, height)));
  const place = (middle, room) => Math.round(Math.min(Math.max(middle - side / 2, 0), room - side));
  return {
    left: place((box.left + box.width / 2) * width, width),
    top: place((box.top + box.height / 2) * height, height),
    side,
  };
}

/** Shares of the source pixels from `from` to `to`, `[index, share]`. */
function cover(from, to, last) {
  const parts = [];
  for (let index = Math.floor(from); index < to && index <= last; index += 1) {
    const share = Math.min(to, index + 1) - Math.max(from, index);
    if (share > 0) parts.push([index, share]);
  }
  return parts;
}

/** Each pixel of the thumbnail is the mean of the area it covers. Transparency becomes white, for JPEG has none. */
export function thumbnail(image, { left, top, side }, size) {
  const data = Buffer.alloc(size * size * 4, 255);
  const step = side / size;
  const columns = Array.from({ length: size }, (_, x) => cover(left + x * step, left + (x + 1) * step, image.width - 1));
  for (let y = 0; y < size; y += 1) {
    const rows = cover(top + y * step, top + (y + 1) * step, image.height - 1);
    for (let x = 0; x < size; x += 1) {
      let [red, green, blue, area] = [0, 0, 0, 0];
      for (const [row, rowShare] of rows) {
        for (const [column, columnShare] of columns[x]) {
          const at = (row * image.width + column) * 4;
          const share = rowShare * columnShare;
          const opaque = image.data[at + 3] / 255;
          red += share * (image.data[at] * opaque + 255 * (1 - opaque));
          green += share * (image.data[at + 1] * opaque + 255 * (1 - opaque));
          blue += share * (image.data[at + 2] * opaque + 255 * (1 - opaque));
          area += share;
        }
      }
      data.set([Math.round(red / area), Math.round(green / area), Math.round(blue / area)], (y * size + x) * 4);
    }
  }
  return { width: size, height: size, data };
}

export const encode = (image) => jpeg.encode(image, 85).data;
