import assert from 'node:assert/strict';
import { test } from 'node:test';

import { launchAt } from '../src/debug/launchFile.js';

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
