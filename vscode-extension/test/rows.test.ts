import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { ServiceInfo } from '../src/cluster/reader.js';
import { contextRows, detailRows, namespaceRows, PAGE, serviceRow, serviceRows, type ServicesView } from '../src/views/clusterRows.js';
import { itemRow, sessionRow, statusText } from '../src/views/sessionRows.js';
import { bytes, moment } from '../src/views/words.js';
import type { HeldExchange, HeldForward, HeldSession } from '../src/sessions/sessions.js';

const PLACE = { context: 'kind', namespace: 'shop' };
const ALL: ServicesView = { filter: '', shown: PAGE, ours: () => undefined, holder: () => undefined };
const BEGIN = new Date(2026, 0, 1, 9, 5);
const NOW = new Date(2026, 0, 1, 10, 0);

function service(name: string, more: Partial<ServiceInfo> = {}): ServiceInfo {
  return { name, type: 'ClusterIP', ports: [{ port: 80, protocol: 'TCP', target: '8080', name: 'http' }], selector: { app: name }, noted: false, ...more };
}

function exchange(more: Partial<HeldExchange> = {}): HeldExchange {
  return {
    key: 's#1',
    handle: 1,
    session: undefined as unknown as HeldSession,
    kind: 'exchange',
    target: 'orders',
    local: '127.0.0.1:8080',
    since: BEGIN,
    forDebugging: false,
    state: { state: 'active' },
    stats: { connections: 7, open: 1, refused: 0, sent: 2048, received: 10 },
    safety: 'When this program dies, callers have the original again',
    ...more,
  };
}

function session(items: (HeldExchange | HeldForward)[], more: Partial<HeldSession> = {}): HeldSession {
  return { key: 's', place: {}, context: 'kind', namespace: 'shop', since: BEGIN, state: { state: 'ready' }, items, flows: () => ({ open: [], ended: [], missed: 0, next: 0 }), ...more };
}

test('the current context comes first and is open', () => {
  const all = ['prod', 'kind'].map((name) => ({ name, cluster: name, namespace: 'default' }));
  const rows = contextRows({ current: 'kind', all });
  assert.deepEqual(rows.map(({ label, expand }) => [label, expand]), [['kind', 'expanded'], ['prod', 'collapsed']]);
  assert.equal(contextRows({ current: undefined, all: [] })[0]?.label, 'The kubeconfig has no contexts');
});

test("the context's namespace comes first and is open", () => {
  const rows = namespaceRows('kind', 'shop', ['default', 'shop', 'zoo']);
  assert.deepEqual(rows.map(({ label, expand }) => [label, expand]), [['shop', 'expanded'], ['default', 'collapsed'], ['zoo', 'collapsed']]);
});

test('a Service tells its ports', () => {
  const row = serviceRow(PLACE, service('dns', { ports: [{ port: 53, protocol: 'UDP', target: '53' }, { port: 80, protocol: 'TCP', target: '80' }] }), ALL);
  assert.deepEqual([row.label, row.description, row.kind], ['dns', '53/UDP, 80', 'service']);
  assert.equal(row.spoken, 'Service dns, ports 53/UDP, 80');
});

test('a Service that comes here says where', () => {
  const row = serviceRow(PLACE, service('orders', { noted: true }), { ...ALL, ours: () => exchange() });
  assert.deepEqual([row.kind, row.description], ['service-ours', '80 → :8080']);
  assert.match(row.spoken, /comes to 127\.0\.0\.1:8080, active/);
});

test('a Service of somebody else says whose, and whether they are gone', () => {
  const held = (holder: ReturnType<ServicesView['holder']>) => serviceRow(PLACE, service('orders', { noted: true }), { ...ALL, holder: () => holder });
  assert.equal(held(undefined).description, '80 · exchanged');
  assert.equal(held({ who: 'ann@mars', life: 'lives' }).description, '80 · held by ann@mars');
  assert.equal(held({ who: 'ann@mars', life: 'dead' }).description, '80 · left by ann@mars, who is gone');
  assert.equal(held(undefined).kind, 'service-held');
});

test('many Services come in pages, and are filtered', () => {
  const services = Array.from({ length: 500 }, (_, index) => service(`svc-${String(index).padStart(3, '0')}`));
  const rows = serviceRows(PLACE, { services }, ALL);
  assert.equal(rows.length, PAGE + 1);
  assert.deepEqual([rows.at(-1)?.kind, rows.at(-1)?.label], ['more', 'Show 200 more of 300']);
  assert.equal(serviceRows(PLACE, { services }, { ...ALL, shown: 600 }).length, 500);
  assert.deepEqual(serviceRows(PLACE, { services }, { ...ALL, filter: 'SVC-49' }).length, 10);
  assert.equal(serviceRows(PLACE, { services }, { ...ALL, filter: 'none' })[0]?.label, 'No Service has “none” in its name');
  assert.equal(serviceRows(PLACE, { services: [] }, ALL)[0]?.label, 'There are no Services');
});

test('a problem stands above the rows that were read before it', () => {
  const rows = serviceRows(PLACE, { services: [service('orders')], problem: { code: 'unreachable', message: 'It does not answer', hint: 'Check VPN', details: [] } }, ALL);
  assert.deepEqual(rows.map(({ kind, label }) => [kind, label]), [['problem', 'It does not answer'], ['problem', 'Check VPN'], ['service', 'orders']]);
  assert.equal(rows[0]?.command?.id, 'kubetether.refresh');
});

test('a Service has its ports and what is behind them', () => {
  const rows = detailRows(PLACE, service('orders'), [{ kind: 'Deployment', name: 'orders', ready: 1, wanted: 2 }]);
  assert.deepEqual(rows.map(({ kind, label, description }) => [kind, label, description]), [
    ['port', '80 → 8080', 'http'],
    ['workload', 'orders', 'Deployment · 1 of 2 ready'],
  ]);
  assert.equal(detailRows(PLACE, service('orders'), []).at(-1)?.label, 'No workload is behind it');
});

test('ids are different for different things', () => {
  const rows = [
    ...detailRows(PLACE, service('a', { ports: [{ port: 53, protocol: 'UDP', target: '53' }, { port: 53, protocol: 'TCP', target: '53' }] }), []),
    serviceRow(PLACE, service('a'), ALL),
    serviceRow({ ...PLACE, namespace: 'zoo' }, service('a'), ALL),
  ];
  assert.equal(new Set(rows.map(({ id }) => id)).size, rows.length);
});

test('what is held tells its traffic while it is well, and its state when not', () => {
  const row = itemRow(exchange(), NOW);
  assert.deepEqual([row.label, row.description], ['orders → :8080', '1 flow · 10 B in, 2.0 KiB out']);
  assert.match(row.tooltip ?? '', /7 connections since 9:05[^]*callers have the original again/);
  const away = itemRow(exchange({ state: { state: 'pass_through', reason: 'the link is lost' } }), NOW);
  assert.equal(away.description, 'passing through to the original: the link is lost');
  assert.equal(sessionRow(session([]), NOW).description, 'kind · since 9:05');
});

test('the status bar says what is held, in words and colour', () => {
  assert.equal(statusText([]), undefined);
  assert.deepEqual(statusText([session([exchange()])])?.text, '$(arrow-swap) orders: active');
  assert.equal(statusText([session([exchange(), exchange({ target: 'stock' })])])?.text, '$(arrow-swap) 2 Services: active');
  const away = statusText([session([exchange({ state: { state: 'pass_through' } })], { state: { state: 'degraded' } })]);
  assert.deepEqual([away?.severity, away?.text], ['warning', '$(warning) orders: passing through to the original']);
  assert.equal(statusText([session([], { state: { state: 'lost' } })])?.severity, 'error');
});

test('amounts and times', () => {
  assert.deepEqual([0, 1023, 1024, 15_000, 5 << 20].map(bytes), ['0 B', '1023 B', '1.0 KiB', '15 KiB', '5.0 MiB']);
  assert.deepEqual([NOW, new Date(2026, 0, 2)].map((now) => moment(BEGIN, now)), ['9:05', 'Jan 1, 9:05']);
});
