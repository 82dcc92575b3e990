// Draws the photos of the workload: three faces, and a landscape without one. Always the same bytes, from nothing but this file.
//   node data/make-photos.mjs FOLDER
import { mkdirSync, writeFileSync } from "node:fs";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";

const WIDTH = 360;
const HEIGHT = 450;

const mix = (from, to, share) => from.map((channel, i) => channel + (to[i] - channel) * share);
const smooth = (edge, softness) => Math.min(1, Math.max(0, 0.5 - edge / softness));
/** Below 0 inside of the ellipse, in shares of its radius. */
const ellipse = (x, y, cx, cy, rx, ry) => Math.hypot((x - cx) / rx, (y - cy) / ry) - 1;

/** Colour of a point of a face; x and y from -1 to 1. Layers from back to front, with soft edges and a light from the upper left. */
function face({ skin, hair, iris, shirt, wall, long, wide, mouth, brow }) {
  return (x, y) => {
    let colour = mix(wall, [20, 20, 30], 0.25 * (1 + y));
    const paint = (next, distance, softness = 0.05) => {
      colour = mix(colour, next, smooth(distance, softness));
    };
    const light = 1 - 0.22 * (x + 0.35) ** 2 - 0.16 * (y + 0.2) ** 2;
    const lit = (base, extra = 0) => base.map((channel) => Math.max(0, channel * (light - extra)));
    paint(lit(hair, 0.1), ellipse(x, y, 0, long ? 0.1 : -0.25, wide * 1.32, long ? 0.95 : 0.62));
    paint(lit(shirt), ellipse(x, y, 0, 1.25, 0.95, 0.5));
    paint(lit(skin, 0.22), Math.max(Math.abs(x) / 0.24 - 1, Math.abs(y - 0.68) / 0.24 - 1), 0.15);
    paint(lit(skin, 0.08), ellipse(Math.abs(x), y, wide * 1.0, 0.02, 0.08, 0.14), 0.2);
    paint(lit(skin), ellipse(x, y, 0, 0.02, wide, 0.68), 0.04);
    const head = ellipse(x, y, 0, 0.02, wide, 0.68);
    paint(lit(skin, 0.14), Math.max(ellipse(Math.abs(x), y, wide * 0.75, 0.3, 0.2, 0.3), 40 * head), 1.6);
    paint(lit([skin[0] * 1.02, skin[1] * 0.82, skin[2] * 0.8]), Math.max(ellipse(Math.abs(x), y, 0.3, 0.22, 0.14, 0.1), 40 * head), 1.8);
    paint(lit(hair), Math.max(ellipse(x, y, 0, -0.42, wide * 1.08, 0.4), 0.1 - ellipse(x, y, 0, 0.02, wide * 0.98, 0.5)), 0.12);
    const eye = Math.abs(x) - 0.25;
    paint(lit(skin, 0.25), ellipse(eye, y, 0, -0.08, 0.17, 0.105), 0.6);
    paint([244, 242, 238], ellipse(eye, y, 0, -0.075, 0.12, 0.06), 0.12);
    if (ellipse(eye, y, 0, -0.075, 0.12, 0.06) < 0.05) {
      paint(iris, ellipse(eye, y, 0, -0.075, 0.052, 0.062), 0.15);
      paint([12, 10, 10], ellipse(eye, y, 0, -0.075, 0.024, 0.028), 0.2);
      paint([255, 255, 255], ellipse(x + 0.015, y, x < 0 ? -0.25 : 0.25, -0.095, 0.012, 0.013), 0.4);
    }
    paint(
      lit([skin[0] * 0.35, skin[1] * 0.28, skin[2] * 0.26]),
      Math.abs(y + 0.135 - 1.9 * eye * eye) / 0.012 - 1 + Math.max(0, Math.abs(eye) - 0.12) * 90,
      0.6,
    );
    paint(lit(hair, 0.15), Math.abs(y + brow - 1.1 * eye * eye) / 0.026 - 1 + Math.max(0, Math.abs(eye) - 0.15) * 60, 0.7);
    paint(lit(skin, 0.13), ellipse(x, y, 0.045, 0.1, 0.035, 0.16), 1.2);
    paint(lit(skin.map((channel) => Math.min(255, channel * 1.1))), ellipse(x, y, -0.01, 0.12, 0.035, 0.14), 1.2);
    paint(lit(skin, 0.3), ellipse(Math.abs(x), y, 0.05, 0.225, 0.032, 0.018), 0.7);
    const lips = [skin[0] * 0.82, skin[1] * 0.5, skin[2] * 0.5];
    paint(lit(lips), ellipse(x, y - mouth * x * x, 0, 0.405, 0.185, 0.055), 0.3);
    paint(lit(lips, 0.4), Math.abs(y - mouth * x * x - 0.402) / 0.009 - 1 + Math.max(0, Math.abs(x) - 0.17) * 60, 0.8);
    paint(lit(skin, 0.12), ellipse(x, y, 0, 0.53, 0.1, 0.02), 1.5);
    return colour;
  };
}

function landscape(x, y) {
  const hill = 0.25 + 0.12 * Math.sin(3 * x) + 0.05 * Math.sin(9 * x + 1);
  const sky = mix([90, 150, 215], [214, 228, 240], (y + 1) / 1.4);
  const ground = mix([92, 134, 62], [40, 70, 34], Math.max(0, y - hill));
  const colour = mix(sky, ground, smooth(hill - y, 0.02));
  return mix(colour, [255, 240, 190], smooth(ellipse(x, y, 0.5, -0.6, 0.13, 0.13 * (WIDTH / HEIGHT)), 0.2));
}

export const PHOTOS = {
  "face-1.png": face({
    skin: [228, 184, 152],
    hair: [72, 46, 30],
    iris: [84, 110, 78],
    shirt: [60, 92, 140],
    wall: [196, 204, 208],
    long: true,
    wide: 0.5,
    mouth: -0.5,
    brow: 0.235,
  }),
  "face-2.png": face({
    skin: [126, 84, 60],
    hair: [24, 20, 20],
    iris: [52, 32, 20],
    shirt: [150, 62, 52],
    wall: [214, 206, 190],
    long: false,
    wide: 0.54,
    mouth: -0.9,
    brow: 0.25,
  }),
  "face-3.png": face({
    skin: [238, 202, 178],
    hair: [196, 160, 96],
    iris: [76, 118, 160],
    shirt: [72, 110, 84],
    wall: [170, 184, 196],
    long: false,
    wide: 0.47,
    mouth: 0.2,
    brow: 0.22,
  }),
  "no-face.png": landscape,
};

function chunk(kind, data) {
  const named = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const whole = Buffer.alloc(data.length + 12);
  whole.writeUInt32BE(data.length);
  named.copy(whole, 4);
  whole.writeUInt32BE(crc32(named), data.length + 8);
  return whole;
}

/** An RGB PNG. */
export function draw(colourAt, width = WIDTH, height = HEIGHT) {
  const rows = Buffer.alloc((width * 3 + 1) * height);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const colour = colourAt((2 * column + 1) / width - 1, (2 * row + 1) / height - 1);
      rows.set(
        colour.map((channel) => Math.round(Math.min(255, Math.max(0, channel)))),
        row * (width * 3 + 1) + 1 + column * 3,
      );
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const folder = argv[2];
  if (!folder) throw new Error("usage: node make-photos.mjs FOLDER");
  mkdirSync(folder, { recursive: true });
  for (const [name, colourAt] of Object.entries(PHOTOS)) writeFileSync(`${folder}/${name}`, draw(colourAt));
}
