// Draws the photo that photographers send: a mug on a table. Always the same bytes, from nothing but this file; `photo.png` beside it is what comes out.
//   node data/make-photo.mjs FILE
import { writeFileSync } from "node:fs";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";

const WIDTH = 320;
const HEIGHT = 240;

const mix = (from, to, share) => from.map((channel, i) => channel + (to[i] - channel) * Math.min(1, Math.max(0, share)));

/** Colour of a point; x and y from -1 to 1. */
function mug(x, y) {
  const wall = mix([232, 226, 214], [196, 188, 176], (y + 1) / 1.5);
  const grain = 8 * Math.sin(40 * y + 3 * Math.sin(5 * x));
  let colour = y > 0.45 ? [146 + grain, 104 + grain, 66 + grain] : wall;
  if (y > 0.45) colour = mix([60, 42, 28], colour, Math.hypot((x + 0.05) / 0.62, (y - 0.62) / 0.16));
  const handle = Math.hypot((x - 0.42) / 0.24, y / 0.34);
  const light = 1 - 0.75 * (x + 0.18) ** 2;
  const glaze = [48 * light, 106 * light, 150 * light];
  if (handle < 1 && handle > 0.66) colour = mix(glaze, [20, 44, 64], (handle - 0.66) * 1.6);
  const rim = Math.hypot(x / 0.42, (y + 0.5) / 0.1);
  const bottom = Math.hypot(x / 0.42, (y - 0.58) / 0.1);
  if (Math.abs(x) < 0.42 && ((y > -0.5 && y < 0.58) || bottom < 1)) colour = glaze;
  if (rim < 1) colour = rim < 0.86 ? mix([58, 34, 18], [96, 62, 36], (y + 0.6) * 5) : [92, 150, 190];
  return colour;
}

function chunk(kind, data) {
  const named = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const whole = Buffer.alloc(data.length + 12);
  whole.writeUInt32BE(data.length);
  named.copy(whole, 4);
  whole.writeUInt32BE(crc32(named), data.length + 8);
  return whole;
}

/** An RGB PNG. */
export function photo() {
  const rows = Buffer.alloc((WIDTH * 3 + 1) * HEIGHT);
  for (let row = 0; row < HEIGHT; row += 1) {
    for (let column = 0; column < WIDTH; column += 1) {
      const colour = mug((2 * column + 1) / WIDTH - 1, (2 * row + 1) / HEIGHT - 1);
      rows.set(
        colour.map((channel) => Math.round(Math.min(255, Math.max(0, channel)))),
        row * (WIDTH * 3 + 1) + 1 + column * 3,
      );
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(WIDTH, 0);
  header.writeUInt32BE(HEIGHT, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  if (!argv[2]) throw new Error("usage: node make-photo.mjs FILE");
  writeFileSync(argv[2], photo());
}
