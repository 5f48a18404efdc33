import assert from 'node:assert/strict';
import { test } from 'node:test';

import { variablesOf, withAddresses } from '../src/debug/addresses.js';
import { readBlock } from '../src/debug/block.js';

const ADDRESSES = new Map([['DB', { host: '127.0.0.1', port: 40001 }]]);
const NODE = { type: 'node', name: 'orders', request: 'launch' };

test('a block is read', () => {
  const block = readBlock({ exchange: 'orders', port: 8080, namespace: 'shop', context: 'kind', forwards: { DB: 'db:5432' } });
  assert.deepEqual(block.exchange, { service: 'orders', port: 8080 });
  assert.deepEqual([block.namespace, block.context], ['shop', 'kind']);
  assert.deepEqual([...block.forwards], [['DB', 'db:5432']]);
});

const WRONG: [why: string, block: unknown, message: RegExp][] = [
  ['not an object', 'orders', /kubetether is not an object/],
  ['nothing asked for', {}, /neither exchange nor forwards/],
  ['a key that is not known', { exchnage: 'orders' }, /kubetether\.exchnage is not known/],
  ['no port', { exchange: 'orders' }, /kubetether\.port is missing/],
  ['a port that is none', { exchange: 'orders', port: 70000 }, /kubetether\.port is not a port/],
  ['a port in quotes', { exchange: 'orders', port: '8080' }, /kubetether\.port is not a port/],
  ['a port of nobody', { port: 8080, forwards: { DB: 'db:1' } }, /kubetether\.exchange is missing/],
  ['an empty name', { exchange: ' ', port: 1 }, /kubetether\.exchange is not a name/],
  ['a name that names no variable', { forwards: { 'my-db': 'db:5432' } }, /my-db cannot name variables/],
  ['a destination without port', { forwards: { DB: 'db' } }, /kubetether\.forwards\.DB names no host and port/],
  ['forwards as a list', { forwards: ['db:5432'] }, /kubetether\.forwards is not an object/],
];
for (const [why, block, message] of WRONG) {
  test(`a block is refused: ${why}`, () => assert.throws(() => readBlock(block), { message, code: 'config' }));
}

test('each forward gives three variables', () => {
  assert.deepEqual(variablesOf(ADDRESSES), { DB_HOST: '127.0.0.1', DB_PORT: '40001', DB_ADDRESS: '127.0.0.1:40001' });
  assert.equal(variablesOf(new Map([['DB', { host: '::1', port: 1 }]]))['DB_ADDRESS'], '[::1]:1');
});

test('placeholders are filled in env and args, and nowhere else', () => {
  const configuration = {
    ...NODE,
    env: { URL: 'postgres://${kubetether:DB}/shop', PLAIN: 'x' },
    args: ['--db', '${kubetether:DB}'],
    program: '${kubetether:DB}',
  };
  const result = withAddresses(configuration, ADDRESSES);
  assert.equal(result.env.URL, 'postgres://127.0.0.1:40001/shop');
  assert.equal(result.env.PLAIN, 'x');
  assert.deepEqual(result.args, ['--db', '127.0.0.1:40001']);
  assert.equal(result.program, '${kubetether:DB}');
  assert.equal(configuration.env.URL, 'postgres://${kubetether:DB}/shop');
});

test('arguments in one text are filled, too', () => {
  assert.equal(withAddresses({ ...NODE, args: '--db ${kubetether:DB} -v' }, ADDRESSES).args, '--db 127.0.0.1:40001 -v');
});

test('what the configuration says of a variable stays', () => {
  const { env } = withAddresses({ ...NODE, env: { DB_HOST: 'mine' } }, ADDRESSES) as unknown as { env: Record<string, string> };
  assert.deepEqual(env, { DB_HOST: 'mine', DB_PORT: '40001', DB_ADDRESS: '127.0.0.1:40001' });
});

test('a debugger with a list of variables gets a list', () => {
  const result = withAddresses({ ...NODE, type: 'cppdbg', environment: [{ name: 'DB_PORT', value: '1' }] }, ADDRESSES);
  assert.deepEqual(result.environment, [
    { name: 'DB_HOST', value: '127.0.0.1' },
    { name: 'DB_ADDRESS', value: '127.0.0.1:40001' },
    { name: 'DB_PORT', value: '1' },
  ]);
  const lldb = withAddresses({ ...NODE, type: 'lldb-dap', env: ['A=${kubetether:DB}'] }, ADDRESSES);
  assert.deepEqual(lldb.env, ['DB_HOST=127.0.0.1', 'DB_PORT=40001', 'DB_ADDRESS=127.0.0.1:40001', 'A=127.0.0.1:40001']);
});

test('a placeholder without forward is refused, with those that there are', () => {
  assert.throws(() => withAddresses({ ...NODE, env: { A: '${kubetether:CACHE}' } }, ADDRESSES), {
    message: '${kubetether:CACHE} has no forward',
    hint: 'Add it to kubetether.forwards, which has DB',
  });
});
