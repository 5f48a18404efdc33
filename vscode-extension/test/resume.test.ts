import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Resume, type Wanted } from '../src/sessions/resume.js';
import { Sessions } from '../src/sessions/sessions.js';
import { namesOf } from '../src/views/names.js';
import { FakeEngine } from './fakeEngine.js';

const SHOP = { namespace: 'shop' };

function made(before: readonly Wanted[] = []) {
  const engine = new FakeEngine();
  const sessions = new Sessions(() => Promise.resolve(engine));
  const stored = { wanted: before };
  const store = { get: () => stored.wanted, set: (wanted: readonly Wanted[]) => void (stored.wanted = wanted) };
  return { engine, sessions, stored, resume: new Resume(store, sessions) };
}

test('what a window held when it went is begun again by the next one', async () => {
  const first = made();
  await first.sessions.exchange(SHOP, 'orders', 8080);
  const { port } = await first.sessions.forward(SHOP, 'db:5432');
  first.resume.dispose();
  await first.sessions.close();

  const second = made(first.stored.wanted);
  assert.equal(second.resume.question, 'Closing the window ended the exchange of orders and 1 more. Start again?');
  await second.resume.again();
  assert.deepEqual(
    second.sessions.list()[0]?.items.map(({ kind, target, local }) => [kind, target, local]),
    [['exchange', 'orders', '127.0.0.1:8080'], ['forward', 'db:5432', `127.0.0.1:${port}`]],
  );
});

test('what was stopped is not asked for', async () => {
  const { sessions, stored, resume } = made();
  const { key } = await sessions.exchange(SHOP, 'orders', 8080);
  assert.equal(stored.wanted.length, 1);
  await sessions.stop(key);
  assert.deepEqual(stored.wanted, []);
  assert.equal(resume.question, undefined);
});

test('what debugging holds is not asked for', async () => {
  const { sessions, stored } = made();
  await sessions.exchange(SHOP, 'orders', 8080, { forDebugging: true });
  assert.deepEqual(stored.wanted, []);
});

test('it is asked once', () => {
  const wanted: Wanted = { kind: 'forward', place: SHOP, target: 'db:5432', port: 1 };
  const { stored, resume } = made([wanted]);
  assert.match(resume.question ?? '', /ended the forward to db:5432\. Start/);
  assert.deepEqual(stored.wanted, []);
});

test('forwards without a name get one', () => {
  const names = namesOf(['db:5432', 'pod/db-0:5432', 'db:3306', 'queue.other:5672', '10.0.0.1:80'].map((target) => ({ target })));
  assert.deepEqual([...names.keys()], ['DB', 'DB_0', 'DB_3306', 'QUEUE_OTHER', '_10_0_0_1']);
});
