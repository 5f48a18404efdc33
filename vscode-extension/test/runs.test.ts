import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readBlock } from '../src/debug/block.js';
import { Runs, type Timers } from '../src/debug/runs.js';
import { Sessions } from '../src/sessions/sessions.js';
import { deferred, FakeEngine, settle } from './fakeEngine.js';

const SHOP = { namespace: 'shop' };
const BLOCK = readBlock({ exchange: 'orders', port: 8080, forwards: { DB: 'db:5432' } });

class Clock implements Timers {
  readonly waiting = new Map<number, () => void>();
  #count = 0;

  after(_: number, call: () => void): () => void {
    const id = ++this.#count;
    this.waiting.set(id, call);
    return () => void this.waiting.delete(id);
  }

  /** All that waits is due. */
  async due(): Promise<void> {
    for (const [id, call] of [...this.waiting]) {
      this.waiting.delete(id);
      call();
    }
    await settle();
  }
}

function made() {
  const engine = new FakeEngine();
  const sessions = new Sessions(() => Promise.resolve(engine));
  const clock = new Clock();
  return { engine, sessions, clock, runs: new Runs(sessions, clock) };
}

test('forwards are there when the program is launched, the exchange comes meanwhile', async () => {
  const { engine, sessions, runs } = made();
  const gate = deferred<void>();
  engine.start = (what) => (what === 'exchange orders' ? gate.promise : undefined);
  const started = await runs.start('a', SHOP, BLOCK);
  assert.deepEqual([...started.addresses.keys()], ['DB']);
  assert.equal(sessions.list()[0]?.items.length, 1);
  gate.resolve();
  await started.exchanged;
  assert.equal(sessions.list()[0]?.items.length, 2);
});

test('the last debug session of a run puts back what it held, the exchange first', async () => {
  const { engine, sessions, runs } = made();
  const { id, exchanged } = await runs.start('a', SHOP, BLOCK);
  runs.attached(id, 'parent');
  runs.attached(id, 'child');
  await exchanged;
  await runs.detached(id, 'child');
  assert.equal(sessions.list().length, 1);
  await runs.detached(id, 'parent');
  assert.deepEqual(engine.calls.slice(-3), ['close exchange orders', 'close forward db:5432', 'close session']);
});

test('a restart keeps session, forwards and exchange', async () => {
  const { engine, clock, runs } = made();
  const first = await runs.start('a', SHOP, BLOCK);
  runs.attached(first.id, 'one');
  await first.exchanged;
  const before = engine.calls.length;
  runs.restarting(first.id);
  await runs.detached(first.id, 'one');
  const second = await runs.start('a', SHOP, BLOCK);
  assert.equal(second.id, first.id);
  assert.equal(second.kept, true);
  runs.attached(second.id, 'two');
  await clock.due();
  assert.equal(engine.calls.length, before);
  await runs.detached(second.id, 'two');
  assert.equal(engine.calls.at(-1), 'close session');
});

test('a restart whose configuration is not resolved again keeps them, too', async () => {
  const { engine, clock, runs } = made();
  const { id, exchanged } = await runs.start('a', SHOP, BLOCK);
  runs.attached(id, 'one');
  await exchanged;
  const before = engine.calls.length;
  runs.restarting(id);
  await runs.detached(id, 'one');
  runs.attached(id, 'one');
  await clock.due();
  assert.equal(engine.calls.length, before);
});

test('a restart that does not come is an end', async () => {
  const { engine, sessions, clock, runs } = made();
  const { id, exchanged } = await runs.start('a', SHOP, BLOCK);
  runs.attached(id, 'one');
  await exchanged;
  runs.restarting(id);
  await runs.detached(id, 'one');
  assert.equal(sessions.list().length, 1);
  await clock.due();
  assert.equal(engine.calls.at(-1), 'close session');
});

test('a launch that becomes no debug session is an end', async () => {
  const { engine, clock, runs } = made();
  const { exchanged } = await runs.start('a', SHOP, BLOCK);
  await exchanged;
  await clock.due();
  assert.equal(engine.calls.at(-1), 'close session');
});

test('a block that changed is made anew', async () => {
  const { engine, runs } = made();
  const first = await runs.start('a', SHOP, BLOCK);
  runs.attached(first.id, 'one');
  await first.exchanged;
  const second = await runs.start('a', SHOP, readBlock({ forwards: { QUEUE: 'queue:5672' } }));
  assert.notEqual(second.id, first.id);
  assert.ok(engine.calls.indexOf('close exchange orders') < engine.calls.indexOf('forward queue:5672'));
});

test('a forward that fails undoes the others, and the error is told', async () => {
  const { engine, sessions, runs } = made();
  engine.start = (what) => {
    if (what === 'forward nobody:1') throw new Error('nobody has no port 1');
  };
  await assert.rejects(runs.start('a', SHOP, readBlock({ forwards: { DB: 'db:5432', NO: 'nobody:1' } })), /nobody has no port/);
  await settle();
  assert.deepEqual(sessions.list(), []);
});

test('a run that ends while its exchange begins gives that up', async () => {
  const { engine, sessions, runs } = made();
  const gate = deferred<void>();
  engine.start = (what) => (what === 'exchange orders' ? gate.promise : undefined);
  const { id, exchanged } = await runs.start('a', SHOP, BLOCK);
  runs.attached(id, 'one');
  const ended = runs.detached(id, 'one');
  gate.resolve();
  await assert.rejects(exchanged, { name: 'AbortError' });
  await ended;
  assert.deepEqual(sessions.list(), []);
});

test('an exchange that was begun by hand, to the same port, is used and left', async () => {
  const { engine, sessions, runs } = made();
  await sessions.exchange(SHOP, 'orders', 8080);
  const { id, exchanged } = await runs.start('a', SHOP, BLOCK);
  runs.attached(id, 'one');
  await exchanged;
  await runs.detached(id, 'one');
  assert.deepEqual(sessions.list()[0]?.items.map(({ target }) => target), ['orders']);
  assert.equal(engine.calls.filter((call) => call === 'exchange orders').length, 1);
});

test('two configurations of a compound launch share a session', async () => {
  const { engine, sessions, runs } = made();
  const [one, two] = await Promise.all([runs.start('a', SHOP, BLOCK), runs.start('b', SHOP, readBlock({ exchange: 'stock', port: 9090 }))]);
  await Promise.all([one.exchanged, two.exchanged]);
  runs.attached(one.id, 'one');
  runs.attached(two.id, 'two');
  assert.equal(engine.sessions.length, 1);
  await runs.detached(one.id, 'one');
  assert.deepEqual(sessions.list()[0]?.items.map(({ target }) => target), ['stock']);
});
