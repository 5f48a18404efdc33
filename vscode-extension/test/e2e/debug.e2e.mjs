// F5: the program is the one that the cluster talks to. A request made inside the cluster hits its breakpoint and has its
// answer; the program reaches the cluster by the addresses it was given; when it is stopped, the cluster is as it was. On the embedded
// cluster, and on a real one where there is one.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { freePort, keep, openEditor } from './editor.mjs';
import { noReal, startReal } from './real.mjs';

/** Asks the other Service by the address in its environment; its breakpoint is where it has the answer. */
const PROGRAM = `const http = require('node:http');
const fs = require('node:fs');

const server = http.createServer(async (request, response) => {
  const stock = await fetch('http://' + process.env.STOCK_ADDRESS);
  const [, name] = /name=(\\S+)/.exec(await stock.text());
  response.end('debugged, with ' + name + ' as ' + process.argv[2]);
});

const started = () => fs.writeFileSync('started', String(process.pid));
server.listen(Number(process.env.PORT), '127.0.0.1', started);
`;
const LINE = 7;

test('F5, a breakpoint hit from inside the cluster, restart, stop', { timeout: 600_000 }, (t) => debug(t, 'debug', startCluster));

test('the same on a real cluster', { timeout: 600_000, skip: noReal }, (t) => debug(t, 'debug-real', startReal));

async function debug(t, name, start) {
  const cluster = await start({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const port = await freePort();
  const configuration = {
    type: 'node',
    request: 'launch',
    name: 'orders',
    program: '${workspaceFolder}/orders.js',
    args: ['${kubetether:STOCK}'],
    env: { PORT: String(port) },
    kubetether: { exchange: 'orders', port, forwards: { STOCK: 'stock:8080' } },
  };
  const editor = await openEditor({
    name,
    env: { KUBECONFIG: cluster.kubeconfig },
    files: { 'orders.js': PROGRAM, '.vscode/launch.json': JSON.stringify({ version: '0.2.0', configurations: [configuration] }) },
  });
  t.after(() => editor.close());
  const toolbar = editor.page.locator('.debug-toolbar');
  const paused = editor.page.locator('.codicon-debug-stackframe').first();
  const exchanged = editor.status('orders: active');

  await editor.step('a breakpoint is set', () => editor.breakpoint('orders.js', LINE));
  await editor.step('F5 starts the program and exchanges the Service', async () => {
    await editor.f5('orders');
    await toolbar.waitFor();
    await exchanged.waitFor();
  });
  await hit('from inside the cluster', 'hit');

  await editor.step('a restart keeps the exchange', async (page) => {
    const before = pid();
    await page.keyboard.press('Control+Shift+F5');
    await until('another program listens', () => !['', before].includes(pid()));
    await exchanged.waitFor();
  });
  await hit('after the restart', 'hit-again');

  await editor.step('stop', async (page) => {
    await page.keyboard.press('Shift+F5');
    await exchanged.waitFor({ state: 'detached' });
  });
  assert.equal(await cluster.ask('orders'), 'cluster');
  await until('the cluster is as it was', () => cluster.isClean());

  /** Of the program that listens. */
  function pid() {
    const file = path.join(editor.workspace, 'started');
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  }

  async function hit(when, picture) {
    await editor.step(`the breakpoint is hit ${when}`, async (page) => {
      await until('the program listens', () => pid() !== '');
      const answer = cluster.ask('orders');
      await paused.waitFor();
      // For the picture: what the program knows.
      await page.locator('.monaco-list-row[aria-label^="name, value"]').first().waitFor({ timeout: 20_000 }).catch(() => {});
      const file = await editor.picture(picture);
      if (name === 'debug' && picture === 'hit') keep(file, 'breakpoint.png');
      await page.keyboard.press('F5');
      assert.match(await answer, /^debugged, with cluster as 127\.0\.0\.1:\d+$/);
    });
  }
}
