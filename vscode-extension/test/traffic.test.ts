import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';

import { Sessions } from '../src/sessions/sessions.js';
import { EVERY_MS, TrafficFeed } from '../src/traffic/feed.js';
import type { ToPage } from '../src/traffic/messages.js';
import { FlowTable, MOST_ROWS, type FlowRow } from '../src/traffic/table.js';
import { duration, FlowView, inSight } from '../src/traffic/view.js';
import { FakeEngine, type FakeTraffic, settle } from './fakeEngine.js';

const SHOP = { namespace: 'shop' };

/** An exchange with its traffic, and what a page makes of what it is told. The clock stands until it is moved. */
async function made(t: TestContext) {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => mock.timers.reset());
  const engine = new FakeEngine();
  const sessions = new Sessions(() => Promise.resolve(engine));
  const warnings: unknown[] = [];
  // What a reading takes.
  const slow = { ms: 0 };
  let now = 0;
  const feed = new TrafficFeed(sessions, (error) => warnings.push(error), () => (now += slow.ms));
  const exchange = await sessions.exchange(SHOP, 'orders', 8080);
  const traffic = engine.sessions[0]?.traffic as FakeTraffic;
  const view = new FlowView();
  const messages: ToPage[] = [];
  const reads = () => engine.calls.filter((call) => call.startsWith('flows')).length;
  const post = (message: ToPage) => {
    messages.push(message);
    if (message.type !== 'only') view.take(message);
  };
  /** The page draws, and so long passes. */
  const tick = (times = 1) => {
    for (let time = 0; time < times; time++) {
      feed.taken();
      mock.timers.tick(EVERY_MS);
    }
  };
  return { engine, sessions, slow, feed, exchange, traffic, view, messages, post, reads, tick, warnings };
}

const lines = (view: FlowView) => view.rows.map((row) => view.cells(row, row.began + 2_000).slice(1).join(' '));

test('a flow is seen while it is open, and how it ended', async (t) => {
  const { feed, traffic, view, post, tick } = await made(t);
  feed.shown(post);
  assert.match(view.empty, /^Nothing has come or gone yet/);
  const one = traffic.begin();
  tick();
  assert.deepEqual(lines(view), ['orders 10.1.0.7:1 127.0.0.1:8080 0 B 0 B 2.0 s open']);
  assert.equal(view.summary, '1 open, 0 ended');
  traffic.more(one, { received: 2048, sent: 10 });
  tick();
  traffic.end(one, { how: 'reset_there' }, 1.5);
  traffic.end(traffic.begin({ from: '10.1.0.8:1' }), { how: 'refused', reason: 'nothing listens' }, 0);
  tick();
  assert.deepEqual(lines(view), [
    'orders 10.1.0.7:1 127.0.0.1:8080 2.0 KiB 10 B 1.5 s reset in the cluster',
    'orders 10.1.0.8:1 127.0.0.1:8080 0 B 0 B 0 ms refused: nothing listens',
  ]);
  assert.equal(view.summary, '0 open, 2 ended');
});

test('only what is different is told, and nothing while nothing is', async (t) => {
  const { feed, traffic, messages, post, tick } = await made(t);
  feed.shown(post);
  const [one] = [traffic.begin(), traffic.begin()];
  tick();
  tick(4);
  assert.equal(messages.length, 2);
  traffic.more(one, { sent: 1 });
  tick();
  const last = messages.at(-1);
  assert.ok(last?.type === 'some');
  assert.deepEqual(last.rows.map(({ id }) => id), ['1.1']);
  assert.equal(last.names, undefined);
});

test('nothing is read while nobody looks, and nothing is lost by it', async (t) => {
  const { feed, traffic, view, post, reads, tick } = await made(t);
  traffic.end(traffic.begin());
  mock.timers.tick(10_000);
  assert.equal(reads(), 0);
  feed.shown(post);
  assert.equal(view.rows.length, 1);
  feed.hidden();
  const before = reads();
  traffic.end(traffic.begin());
  tick(10);
  assert.equal(reads(), before);
  feed.shown(post);
  assert.equal(view.rows.length, 2);
});

test('a page that does not draw is told nothing more', async (t) => {
  const { feed, traffic, messages, post, reads } = await made(t);
  feed.shown(post);
  const before = reads();
  traffic.end(traffic.begin());
  mock.timers.tick(10_000);
  assert.deepEqual([messages.length, reads()], [1, before]);
});

test('the longer a reading takes, the later comes the next one', async (t) => {
  const { feed, slow, messages, post, reads, tick } = await made(t);
  feed.shown(post);
  slow.ms = 50;
  tick();
  const before = reads();
  tick(3);
  assert.equal(reads(), before);
  tick();
  assert.equal(reads(), before + 1);
  assert.equal(messages.length, 1);
});

test('paused, what is shown stands still, also when it is shown anew', async (t) => {
  const { feed, traffic, view, messages, post, tick } = await made(t);
  feed.shown(post);
  traffic.begin();
  tick();
  feed.pause();
  assert.equal(view.summary, '1 open, 0 ended · paused');
  assert.deepEqual(view.rows.map((row) => view.cells(row, Date.now() + 60_000)[6]), view.rows.map((row) => view.cells(row, 0)[6]));
  traffic.end(1);
  traffic.begin();
  const before = messages.length;
  tick(4);
  assert.equal(messages.length, before);
  feed.hidden();
  feed.shown(post);
  assert.equal(view.summary, '1 open, 0 ended · paused');
  feed.resume();
  assert.equal(view.summary, '1 open, 1 ended');
});

test('cleared, only what is open stays', async (t) => {
  const { feed, traffic, view, post, tick } = await made(t);
  feed.shown(post);
  traffic.begin();
  traffic.end(traffic.begin());
  tick();
  assert.equal(view.summary, '1 open, 1 ended');
  feed.clear();
  assert.equal(view.summary, '1 open, 0 ended');
  tick(2);
  assert.equal(view.summary, '1 open, 0 ended');
});

test('the filter finds words, and one exchange', async (t) => {
  const { sessions, exchange, feed, traffic, view, post } = await made(t);
  const forward = await sessions.forward(SHOP, 'db:5432');
  traffic.end(traffic.begin(), { how: 'refused', reason: 'nothing listens' });
  traffic.begin({ from: '10.1.0.9:5' });
  traffic.begin({ handle: 2, mode: 'forward', from: '127.0.0.1:5', to: 'db:5432' });
  feed.shown(post);
  const shown = () => view.rows.map(({ id }) => id);
  assert.deepEqual(view.names.map(({ label }) => label), ['orders', '→ db:5432']);
  view.filter = 'REFUSED';
  assert.deepEqual(shown(), ['1.1']);
  view.filter = 'orders 10.1.0.9';
  assert.deepEqual(shown(), ['1.2']);
  assert.equal(view.summary, '2 open, 1 ended · 1 shown');
  view.filter = 'nowhere';
  assert.equal(view.empty, 'Nothing matches the filter.');
  view.filter = '';
  view.only = feed.keyOf(forward.key) ?? '';
  assert.deepEqual(shown(), ['1.3']);
  view.only = feed.keyOf(exchange.key) ?? '';
  assert.deepEqual(shown(), ['1.1', '1.2']);
  view.only = feed.keyOf(exchange.session.key) ?? '';
  assert.deepEqual(shown(), ['1.1', '1.2', '1.3']);
});

test('what a session saw stays when it is over, and the next one has numbers of its own', async (t) => {
  const { engine, sessions, exchange, feed, traffic, view, post } = await made(t);
  traffic.end(traffic.begin());
  traffic.begin();
  await sessions.stop(exchange.key);
  feed.shown(post);
  assert.deepEqual(view.rows.map(({ end }) => end?.text), ['finished', 'ended with the session']);
  await sessions.exchange(SHOP, 'orders', 8080);
  engine.sessions[1]?.traffic.begin();
  feed.shown(post);
  assert.deepEqual(view.rows.map(({ id }) => id), ['1.1', '1.2', '2.1']);
});

test('a session that is lost is read once more, too', async (t) => {
  const { engine, feed, traffic, view, post } = await made(t);
  feed.shown(post);
  traffic.end(traffic.begin());
  engine.sessions[0]?.end('the namespace is gone');
  await settle();
  assert.equal(view.summary, '0 open, 1 ended');
});

test('a flow whose end was forgotten is not shown as open for ever', async (t) => {
  const { feed, traffic, view, post, tick } = await made(t);
  feed.shown(post);
  traffic.begin();
  tick();
  traffic.end(1);
  for (let flow = 0; flow < traffic.remembered + 9; flow++) traffic.end(traffic.begin());
  tick();
  assert.match(view.summary, /^0 open, 1,025 ended · 9 older not kept$/);
});

test('an engine that does not tell is said so, and asked again', async (t) => {
  const { engine, feed, view, post, tick, warnings, traffic } = await made(t);
  const [session] = engine.sessions;
  assert.ok(session);
  const { flows } = session;
  session.flows = () => {
    throw new Error('not now');
  };
  feed.shown(post);
  assert.equal(warnings.length, 1);
  session.flows = flows;
  traffic.begin();
  tick();
  assert.equal(view.rows.length, 1);
});

test('500 flows a second: so many rows and no more, here and in the page, and all are counted', async (t) => {
  const { feed, traffic, view, messages, post, tick } = await made(t);
  feed.shown(post);
  const [lasting] = [traffic.begin()];
  const seconds = 20;
  let most = 0;
  for (let at = 0; at < (seconds * 1000) / EVERY_MS; at++) {
    for (let flow = 0; flow < 125; flow++) traffic.end(traffic.begin());
    traffic.more(lasting, { sent: at + 1 });
    tick();
    const message = messages.at(-1);
    assert.ok(message?.type === 'some');
    most = Math.max(most, message.rows.length);
    messages.length = 0;
  }
  assert.equal(most, 126);
  assert.equal(view.rows.length, MOST_ROWS);
  // The lasting one is the oldest, and stays: it is open.
  assert.equal(view.rows[0]?.id, '1.1');
  assert.equal(view.summary, `1 open, 1,999 ended · ${(500 * seconds - 1_999).toLocaleString('en')} older not kept`);
  // The page has exactly what a fresh one would get.
  const fresh = new FlowView();
  feed.shown((message) => message.type !== 'only' && fresh.take(message));
  assert.deepEqual(fresh.rows, view.rows);
});

test('more open flows than rows: the oldest are left out, and come back when they end', async (t) => {
  const { feed, traffic, view, messages, post, tick } = await made(t);
  feed.shown(post);
  for (let flow = 0; flow < MOST_ROWS + 10; flow++) traffic.begin();
  tick();
  assert.equal(view.summary, '2,000 open, 0 ended · 10 older not kept');
  const before = messages.length;
  traffic.more(1, { sent: 5 });
  tick(3);
  assert.equal(messages.length, before);
  traffic.end(1);
  tick();
  assert.equal(view.rows.length, MOST_ROWS);
});

test('a table shrinks by those that are over first', () => {
  const row = (id: string, over: boolean): FlowRow => {
    const base = { id, handle: 'h', began: 0, from: '', to: '', received: 0, sent: 0 };
    return over ? { ...base, end: { text: 'finished', calm: true, took: 1 } } : base;
  };
  const table = new FlowTable(3);
  assert.equal(table.put([row('a', false), row('b', true), row('c', false)]), 0);
  assert.equal(table.put([row('d', false)]), 1);
  assert.deepEqual(table.rows.map(({ id }) => id), ['a', 'c', 'd']);
  assert.equal(table.put([row('e', false), row('f', false)]), 2);
  assert.deepEqual(table.rows.map(({ id }) => id), ['d', 'e', 'f']);
});

test('rows in sight, whatever the height', () => {
  assert.deepEqual(inSight(0, 220, 22, 1_000), [0, 14]);
  assert.deepEqual(inSight(22_000 - 220, 220, 22, 1_000), [986, 1_000]);
  assert.deepEqual(inSight(500, 220, 22, 3), [3, 3]);
  assert.deepEqual(inSight(0, 0, 22, 0), [0, 0]);
});

test('durations for people', () => {
  assert.deepEqual([0, 12.4, 999.4, 1_500, 59_940, 59_990, 200_000, 7_500_000].map(duration), ['0 ms', '12 ms', '999 ms', '1.5 s', '59.9 s', '1 min 0 s', '3 min 20 s', '2 h 5 min']);
});
