// How the bench tells its figures; what they are is not tested.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Figures } from '../bench/figures.mjs';

// Those of tests/src/bin/bench/figure.rs, and the build.
const KEYS = ['aim', 'beside', 'build', 'id', 'least', 'most', 'of', 'ratio', 'reached', 'target', 'unit', 'value'];

test('figures have the keys of all other figures', () => {
  const figures = new Figures('release');
  assert.match(figures.add('node.call', 'us', [3, 1, 2], 2), /^node\.call +2\.00 us +1\.00\.\.3\.00 +<= 2 reached$/);
  const [figure] = JSON.parse(JSON.stringify(figures));
  assert.deepEqual(Object.keys(figure).sort(), KEYS);
  assert.deepEqual([figure.id, figure.value, figure.ratio, figure.reached], ['node.call', 2, 1, true]);
});

test('one that is missed counts, but not of a debug build', () => {
  for (const [build, missed] of [['release', ['node.call']], ['debug', []]]) {
    const figures = new Figures(build);
    figures.add('node.stall', 'ms', [1, 30], 10, (runs) => Math.min(...runs));
    assert.deepEqual(figures.missed, []);
    assert.match(figures.add('node.call', 'us', [5], 2), /MISSED$/);
    assert.deepEqual(figures.missed, missed);
    assert.equal(JSON.parse(JSON.stringify(figures))[1].reached, false);
  }
});
