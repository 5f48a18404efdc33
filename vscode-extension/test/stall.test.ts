// What could block the extension host for long: found in the sources, since a time that a test takes says nothing on a busy machine.
// `make code-bench` measures it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { longestBlock } from './e2e/stall/blocks.js';

// Beside the bundle's own folder, dist/test.
const ROOT = path.join(__dirname, '../..');

function sources(folder: string): { name: string; text: string }[] {
  return fs
    .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[jt]s$/.test(name) && !name.endsWith('.d.ts'))
    .map((name) => ({ name: `${folder}/${name}`, text: fs.readFileSync(path.join(ROOT, folder, name), 'utf8') }));
}

test('no file is read and no program waited for in the host', () => {
  const found = [...sources('src'), ...sources('../bindings-node/lib')].flatMap(({ name, text }) =>
    [...text.matchAll(/\b\w+Sync\b(?=\()/g)].map(([call]) => `${name}: ${call}`),
  );
  // Whether the native module is there, once, just before it is loaded; and the last words of a process that ends.
  assert.deepEqual(found.sort(), ['../bindings-node/lib/load.js: existsSync', '../bindings-node/lib/unclosed.js: writeSync']);
});

test('of what the engine does only answers that are there already are not waited for', () => {
  const text = fs.readFileSync(path.join(ROOT, 'src/engine/engine.ts'), 'utf8');
  const methods = [...text.matchAll(/^  (\w+)\(.*\): (.+);$/gm)].map(([, name = '', answer = '']) => ({ name, answer }));
  assert.ok(methods.length > 8);
  const atOnce = methods.filter(({ answer }) => !/^(Promise|AsyncIterable)</.test(answer)).map(({ name }) => name);
  assert.deepEqual(atOnce, ['flows', 'onLog']);
});

test('heavy parts are loaded when they are needed', () => {
  const found = sources('src').flatMap(({ name, text }) => [...text.matchAll(/^import (?!type).* from '(yaml|kubetether|.*proxy-agent)'/gm)].map(([, part]) => `${name}: ${part}`));
  assert.deepEqual(found, ['src/cluster/proxy.ts: https-proxy-agent', 'src/cluster/proxy.ts: socks-proxy-agent']);
  assert.deepEqual(sources('src').filter(({ text }) => /^import (?!type).*proxy\.js'/m.test(text)), []);
});

test('in a profile, a stretch of ours is found with all that it calls', () => {
  const frame = (functionName: string, url = '') => ({ functionName, url, lineNumber: 6 });
  const ours = 'file:///x/dist/extension.js';
  const nodes = [
    { id: 1, callFrame: frame('(root)'), children: [2, 3, 4, 7] },
    { id: 2, callFrame: frame('(idle)') },
    { id: 3, callFrame: frame('editor', 'file:///editor.js'), children: [5] },
    { id: 4, callFrame: frame('(garbage collector)') },
    { id: 5, callFrame: frame('tick', ours), children: [6] },
    { id: 6, callFrame: frame('parse') },
    { id: 7, callFrame: frame('other', 'file:///other/extension.js') },
  ];
  const of = (...samples: number[]) => longestBlock({ nodes, samples, timeDeltas: samples.map(() => 1_000) }, '/dist/extension.js');
  const { ms, in: entered } = of(2, 5, 6, 4, 6, 2, 5, 2);
  assert.deepEqual([ms, entered], [4, 'tick:7']);
  assert.equal(of(2, 4, 7, 3, 2).ms, 0);
  assert.equal(of(5, 3, 5, 2).ms, 1);
});
