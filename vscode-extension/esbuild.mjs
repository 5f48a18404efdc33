// Bundles the extension into dist/extension.js, or its tests into dist/test/ (--tests). The native module and the agent's
// files, which the bundle looks for in native/ beside dist/, are put there from bindings-node, which builds them.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const tests = process.argv.includes('--tests');

const common = {
  absWorkingDir: here,
  bundle: true,
  platform: 'node',
  // jsonc-parser's CommonJS form hides from bundlers what it needs.
  mainFields: ['module', 'main'],
  // That of VS Code 1.94.
  target: 'node20',
  sourcemap: true,
  logLevel: 'warning',
};

if (tests) {
  fs.rmSync(path.join(here, 'dist/test'), { recursive: true, force: true });
  await build({
    ...common,
    entryPoints: fs.readdirSync(path.join(here, 'test')).filter((name) => name.endsWith('.test.ts')).map((name) => `test/${name}`),
    outdir: 'dist/test',
    outExtension: { '.js': '.cjs' },
    format: 'cjs',
  });
} else {
  const { metafile } = await build({
    ...common,
    entryPoints: ['src/extension.ts'],
    outfile: 'dist/extension.js',
    format: 'cjs',
    external: ['vscode'],
    minify: process.argv.includes('--release'),
    metafile: true,
  });
  tellLicences(Object.keys(metafile.inputs));
  // The page of the traffic panel.
  await build({
    ...common,
    entryPoints: ['src/traffic/page/page.ts'],
    outfile: 'dist/traffic.js',
    platform: 'browser',
    format: 'iife',
    target: 'chrome128',
    minify: process.argv.includes('--release'),
  });
  copyNative();
}

/** Writes down whose work is in the bundle, as its licences ask. */
function tellLicences(inputs) {
  const folders = new Set(inputs.flatMap((input) => input.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1] ?? []));
  const texts = [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(fs.readFileSync(path.join(here, folder, 'package.json'), 'utf8'));
    const file = fs.readdirSync(path.join(here, folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : fs.readFileSync(path.join(here, folder, file), 'utf8').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  fs.writeFileSync(path.join(here, 'dist/third-party-licences.txt'), texts.join('\n---\n\n'));
}

function copyNative() {
  const from = path.join(here, '../bindings-node/native');
  if (!fs.existsSync(from)) {
    console.warn('native/ was not filled: run bindings-node/build first');
    return;
  }
  const to = path.join(here, 'native');
  fs.mkdirSync(to, { recursive: true });
  for (const name of fs.readdirSync(from)) {
    // Renamed into place: an editor that has the old one goes on with it.
    const building = path.join(to, `.${name}`);
    fs.copyFileSync(path.join(from, name), building);
    fs.renameSync(building, path.join(to, name));
  }
}
