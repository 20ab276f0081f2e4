// Bundle OpenLayers into one ES module, and gather the licences of every package in it.
//   node vendor/build.js OUT
import {build} from 'esbuild';
import {copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
mkdirSync(out, {recursive: true});
const {metafile} = await build({
  absWorkingDir: here,
  entryPoints: ['entry.js'],
  outfile: join(out, 'ol.js'),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'none',
  metafile: true,
});
const names = Object.keys(metafile.inputs)
  .map((path) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1])
  .filter(Boolean);
const texts = [...new Set(names)].sort().map((name) => {
  const folder = join(here, 'node_modules', name);
  const {version, license} = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  if (!file) throw new Error(`${name}: no file named LICENSE; add its text by hand`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
});
writeFileSync(join(out, 'LICENSES.txt'), texts.join(`\n${'-'.repeat(79)}\n\n`));
copyFileSync(join(here, 'node_modules', 'ol', 'ol.css'), join(out, 'ol.css'));
