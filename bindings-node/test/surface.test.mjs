// What is there at run time is what the declarations say, and what the engine's schema and table of errors say.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as kubetether from 'kubetether';
import ts from 'typescript';

const require = createRequire(import.meta.url);
const { FOLDER, load } = require('../lib/load.js');
const { toSchema } = require('../lib/names.js');

const FILE = fileURLToPath(new URL('../lib/index.d.ts', import.meta.url));
const program = ts.createProgram([FILE], { skipLibCheck: true, types: ['node'], lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'] });
const checker = program.getTypeChecker();
const declared = new Map(
  checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(FILE))).map((symbol) => [symbol.name, symbol]),
);
const schema = JSON.parse(load().schema()).$defs;

const isClass = (symbol) => (symbol.flags & ts.SymbolFlags.Class) !== 0;
const isValue = (symbol) => (symbol.flags & ts.SymbolFlags.Value) !== 0;
const properties = (name) =>
  checker.getDeclaredTypeOfSymbol(declared.get(name)).getProperties().map((property) => property.name.replace(/^__@(\w+)@\d+$/, '[$1]'));

test('exports are those that are declared, from both kinds of modules', () => {
  const values = [...declared.values()].filter(isValue).map((symbol) => symbol.name);
  assert.deepEqual(Object.keys(kubetether).sort(), values.sort());
  assert.deepEqual({ ...require('kubetether') }, { ...kubetether });
  assert.equal(kubetether.version, require('../package.json').version);
});

test('classes have the members that are declared', () => {
  const own = (prototype) =>
    Reflect.ownKeys(prototype).map((key) => (typeof key === 'symbol' ? `[${key.description.replace(/^(Symbol|nodejs)\./, '')}]` : key));
  for (const symbol of [...declared.values()].filter(isClass)) {
    if (symbol.name === 'KubetetherError') continue; // its fields are made: see errors.test.mjs
    let { prototype } = kubetether[symbol.name];
    const members = new Set();
    for (; prototype !== Object.prototype; prototype = Object.getPrototypeOf(prototype)) own(prototype).forEach((name) => members.add(name));
    if (symbol.name === 'Exchange' || symbol.name === 'Forward') members.add('session');
    // `closed` gives other things with each kind of handle.
    if (symbol.name === 'Handle') members.delete('closed');
    const there = [...members].filter((name) => name !== 'constructor' && !name.startsWith('_'));
    assert.deepEqual(there.sort(), properties(symbol.name).sort(), symbol.name);
  }
});

test('settings have the keys of the schema', () => {
  const reach = ['kubeconfig', 'context', 'namespace'];
  const pairs = [
    ['SessionOptions', 'SessionOptions', []],
    ['ExchangeOptions', 'ExchangeCall', ['target']],
    ['ForwardOptions', 'ForwardCall', ['destination']],
    ['CloseOptions', 'CloseCall', []],
    ['StatusOptions', 'StatusCall', []],
    ['CleanOptions', 'CleanCall', []],
    ['RecoverOptions', 'RecoverCall', ['service']],
  ];
  for (const [ours, theirs, arguments_] of pairs) {
    let keys = properties(ours).filter((name) => name !== 'signal');
    if (ours !== 'SessionOptions') keys = keys.filter((name) => !reach.includes(name));
    const told = Object.keys(toSchema(Object.fromEntries(keys.map((key) => [key, 1]))));
    assert.deepEqual([...told, ...arguments_].sort(), Object.keys(schema[theirs].properties).sort(), ours);
  }
});

test('answers have the fields of the schema', () => {
  const { fromSchema } = require('../lib/names.js');
  const pairs = [['State'], ['Stats'], ['Safety'], ['Port'], ['HandleInfo', 'Handle'], ['Unseen'], ['Status'], ['SessionStatus'],
    ['ServiceStatus'], ['Cleaned'], ['ErrorInfo', 'Error'], ['Recovered'], ['Flows'], ['Flow'], ['FlowEnd']];
  for (const [ours, theirs = ours] of pairs) {
    assert.deepEqual(properties(ours).sort(), Object.keys(fromSchema(schema[theirs].properties)).sort(), ours);
  }
  const union = checker.getDeclaredTypeOfSymbol(declared.get('Event')).types;
  const types = union.map((type) => checker.getTypeOfSymbol(type.getProperty('type')).value);
  assert.deepEqual(types.sort(), schema.Event.oneOf.map((shape) => shape.properties.type.const).sort());
});

test('error codes are those of the table', () => {
  const codes = JSON.parse(load().errorCodes()).map(({ code }) => code);
  const union = checker.getDeclaredTypeOfSymbol(declared.get('ErrorCode')).types.map((type) => type.value);
  assert.deepEqual(union.sort(), codes.sort());
});

test('the native module is found in the package', () => {
  assert.equal(FOLDER, fileURLToPath(new URL('../native', import.meta.url)));
});
