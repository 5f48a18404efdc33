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
  await build({
    ...common,
    entryPoints: ['src/extension.ts'],
    outfile: 'dist/extension.js',
    format: 'cjs',
    external: ['vscode'],
    minify: process.argv.includes('--release'),
  });
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
