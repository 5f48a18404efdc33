// The traffic panel: what a client inside the cluster does is seen in it, open and over, by filter and by exchange; it can be paused
// and cleared, is there again after a reload, and stays small under load.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { keep, openEditor } from './editor.mjs';

/** Answers at once, but what is asked for /wait only when it is let go. */
async function program(t) {
  const waiting = [];
  const server = http.createServer((request, response) => {
    if (request.url === '/wait') waiting.push(response);
    else response.end('from my machine');
  });
  t.after(() => (server.closeAllConnections(), server.close()));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { port: server.address().port, waiting };
}

test('traffic of the cluster is seen, filtered, paused and cleared', { timeout: 600_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const { port, waiting } = await program(t);
  const window = await openEditor({ name: 'traffic', env: { KUBECONFIG: cluster.kubeconfig } });
  t.after(() => window.close());
  const page = () => window.traffic;
  const rows = (text) => page().locator('.row:visible', text === undefined ? {} : { hasText: text });
  const summary = (text) => page().locator('#summary', { hasText: text }).waitFor();
  const count = async (what, expected) => {
    let seen;
    await until(`${what}: ${expected} rows`, async () => (seen = await rows().count()) === expected).catch((error) => {
      throw new Error(`${error.message}, but ${seen}`);
    });
  };

  await window.step('it is empty and says what to do', async () => {
    await window.showViews();
    await window.row('Service orders, ports').waitFor();
    await window.showTraffic();
    await page().locator('#empty', { hasText: 'Exchange or forward a Service' }).waitFor();
  });
  await window.picture('empty');

  await window.step('a request from inside the cluster is a row', async () => {
    await window.exchange('orders', port);
    assert.equal(await cluster.ask('orders'), 'from my machine');
    // The proof of the exchange is none: the caller's is the only one.
    await rows('finished').first().waitFor();
    const cells = await rows('finished').first().locator('[role=gridcell]').allTextContents();
    assert.equal(cells[1], 'orders');
    assert.match(cells[2], /^\[?[\da-f.:]+\]?:\d+$/);
    assert.equal(cells[3], `127.0.0.1:${port}`);
    assert.match(cells[4], /^\d+ B$/);
    assert.notEqual(cells[4], '0 B');
    assert.notEqual(cells[5], '0 B');
    assert.match(cells[6], / m?s$/);
  });
  let answer;
  await window.step('one that is open is seen, too', async () => {
    answer = cluster.ask('orders', { path: '/wait', signal: t.signal });
    await rows('open').waitFor();
    await summary('1 open');
  });
  await window.step('so is one the other way', async () => {
    await window.action('Service stock', 'Forward Port');
    await window.row('127.0.0.1:').waitFor();
    const [, address] = /^(\S+) leads to stock:8080/.exec(await window.row('127.0.0.1:').getAttribute('aria-label'));
    await (await fetch(`http://${address}/`, { headers: { connection: 'close' } })).text();
    await rows('→ stock:8080').first().waitFor();
  });
  for (const theme of ['Light Modern', 'Light High Contrast', 'Dark High Contrast', 'Dark Modern']) {
    await window.step(`it is seen in ${theme}`, () => window.theme(theme));
    const file = await window.picture(theme.toLowerCase().replaceAll(' ', '-'));
    if (theme === 'Light Modern') keep(file, 'traffic.png');
  }

  await window.step('the filter finds words', async () => {
    await page().getByRole('searchbox', { name: 'Filter flows' }).fill('STOCK finished');
    await summary('shown');
    assert.deepEqual([...new Set(await rows().locator('[role=gridcell]:nth-child(2)').allTextContents())], ['→ stock:8080']);
    await page().getByRole('searchbox').fill('nothing like it');
    await page().locator('#empty', { hasText: 'Nothing matches the filter' }).waitFor();
    await page().getByRole('searchbox').fill('');
  });
  await window.step('the action of an exchange shows only its flows', async () => {
    await window.action('orders comes to', 'Show Traffic');
    await summary('shown');
    assert.deepEqual([...new Set(await rows().locator('[role=gridcell]:nth-child(2)').allTextContents())], ['orders']);
    await page().getByRole('combobox', { name: 'Exchange or forward' }).selectOption({ label: 'All' });
  });
  await window.step('by keyboard', async ({ keyboard }) => {
    const grid = page().getByRole('grid', { name: 'Flows' });
    await grid.focus();
    await keyboard.press('Home');
    await keyboard.press('ArrowDown');
    await page().locator('.row[aria-selected=true][aria-rowindex="3"]').waitFor();
    const id = await page().locator('.row[aria-selected=true]').getAttribute('id');
    assert.equal(await grid.getAttribute('aria-activedescendant'), id);
  });

  await window.step('paused, it stands still', async () => {
    const before = await rows().count();
    await window.panelAction('Pause Traffic');
    await summary('paused');
    waiting.pop().end('from my machine');
    assert.equal(await answer, 'from my machine');
    await cluster.ask('orders');
    // The other view has seen it by now.
    await window.row('orders comes to').filter({ hasText: '0 flows' }).waitFor();
    assert.deepEqual([await rows().count(), await rows('open').count()], [before, 1]);
    await window.picture('paused');
    await window.panelAction('Resume Traffic');
    await count('resumed', before + 1);
    await summary('0 open');
  });
  await window.step('cleared, it is empty', async () => {
    await window.panelAction('Clear Traffic');
    await count('cleared', 0);
  });

  await window.step('under load it stays small', async () => {
    const requests = 2_500;
    let left = requests;
    const worker = async () => {
      while (left-- > 0) await cluster.ask('orders');
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    await summary('0 open, 2,000 ended');
    await summary(`${requests - 2_000} older not kept`);
    const elements = await page().locator('.row').count();
    assert.ok(elements < 100, `${elements} rows are elements`);
    // The newest is in sight.
    await page().locator('.row[aria-rowindex="2001"]:visible').waitFor();
  });
  await window.picture('load');

  await window.step('after a reload it is there again, with its filter', async () => {
    await page().getByRole('searchbox').fill('stock');
    await summary('shown');
    // By the editor's own command: the browser's gives it no time to write down what it keeps.
    await window.page.evaluate(() => (globalThis.former = true));
    await window.command('Developer: Reload Window');
    await window.page.waitForFunction(() => globalThis.former === undefined);
    await page().getByRole('searchbox').waitFor();
    assert.equal(await page().getByRole('searchbox').inputValue(), 'stock');
  });
  await until('the cluster is as it was', () => cluster.isClean());
});
