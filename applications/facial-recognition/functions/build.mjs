// Bundles every handler with what it needs: a function carries its own dependencies and nothing else, which keeps cold starts short.
import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const target = fileURLToPath(new URL("../.build/functions", import.meta.url));

rmSync(target, { recursive: true, force: true });
await build({
  absWorkingDir: here,
  entryPoints: readdirSync(`${here}/src/handlers`).map((file) => `src/handlers/${file}`),
  outdir: target,
  entryNames: "[name]/index",
  bundle: true,
  platform: "node",
  target: "node22",
  format: "cjs",
  logLevel: "warning",
});
