import assert from 'node:assert/strict';
import { test } from 'node:test';

import { configurationsOf, launchAt, withBlock } from '../src/debug/launchFile.js';

/** `|` is where the cursor is. */
function at(text: string) {
  const offset = text.indexOf('|');
  const without = text.replace('|', '');
  const found = launchAt(without, offset);
  return found === undefined ? undefined : { ...found, text: without.slice(found.begin, found.end) };
}

test('the Service of a block is completed, with the namespace that it names', () => {
  const found = at('{"configurations": [{"name": "a", "kubetether": {"namespace": "shop", "context": "kind", "exchange": "or|d"}}]}');
  assert.deepEqual([found?.key, found?.text, found?.namespace, found?.context], ['exchange', 'ord', 'shop', 'kind']);
});

test('a text without end goes to the end of its line', () => {
  const found = at('{"kubetether": {\n  "exchange": "|\n  "port": 80 }}');
  assert.deepEqual([found?.key, found?.text], ['exchange', '']);
});

test('destinations of forwards are completed', () => {
  const found = at('{"kubetether": { "namespace": "shop", "forwards": { "DB": "d|b" } }}');
  assert.deepEqual([found?.key, found?.namespace], ['forward', 'shop']);
});

const ELSEWHERE = {
  'a key': '{"kubetether": {"ex|change": "a"}}',
  'another key of the block': '{"kubetether": {"namespace": "a|"}}',
  'the same key in no block': '{"other": {"exchange": "a|"}}',
  'a name of a forward': '{"kubetether": {"forwards": {"D|B": "db:1"}}}',
  'forwards of something else': '{"x": {"forwards": {"DB": "d|"}}}',
  'a comment': '{"kubetether": {// "exchange": "a|"\n}}',
  'no text': '{"kubetether": {"exchange": | }}',
  'after the block': '{"kubetether": {"exchange": "a"}, "exchange": "b|"}',
  'an element of a list': '{"kubetether": {"exchange": ["a|"]}}',
};
for (const [what, text] of Object.entries(ELSEWHERE)) test(`nothing is completed in ${what}`, () => assert.equal(at(text), undefined));

test('comments and escaped quotes are passed over', () => {
  const found = at('// "kubetether": {\n{"a": "x\\"{", /* { */ "kubetether": {"exchange": "|"}}');
  assert.equal(found?.key, 'exchange');
});

const FILE = `{
  // how it is started
  "version": "0.2.0",
  "configurations": [
    { "type": "go", "name": "stock", "request": "launch" },
    {
      "type": "node", // Node 20
      "name": "orders",
      "request": "launch"
    },
  ],
}
`;

test('configurations are listed', () => {
  assert.deepEqual(configurationsOf(FILE).map(({ name, type }) => [name, type]), [['stock', 'go'], ['orders', 'node']]);
  assert.deepEqual(configurationsOf('{ "configurations": [ { "name":'), []);
  assert.deepEqual(configurationsOf(''), []);
});

test('a block is written, and the rest of the file stays', () => {
  const written = withBlock(FILE, 'orders', { exchange: 'orders', port: 8080 });
  assert.match(written ?? '', /\/\/ how it is started[^]*\/\/ Node 20[^]*"kubetether": \{\n +"exchange": "orders",\n +"port": 8080\n +\}/);
  assert.equal(withBlock(FILE, 'nobody', {}), undefined);
  const again = withBlock(written ?? '', 'orders', { exchange: 'stock', port: 1 });
  assert.equal(again?.split('"kubetether"').length, 2);
  assert.ok(again?.includes('"exchange": "stock"'));
});
