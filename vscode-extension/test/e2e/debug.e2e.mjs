// F5: the program is the one that the cluster talks to. A request made inside the cluster hits its breakpoint and has its
// answer; the program reaches the cluster by the addresses it was given; when it is stopped, the cluster is as it was.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { freePort, openEditor } from './editor.mjs';

/** Asks the other Service by the address in its environment, and stops in the debugger before it answers. */
const PROGRAM = `
require('node:http').createServer(async (request, response) => {
  const stock = await (await fetch('http://' + process.env.STOCK_ADDRESS + '/')).text();
  debugger;
  response.end('debugged, with ' + /name=(\\S+)/.exec(stock)[1] + ' as ' + process.argv[2]);
}).listen(Number(process.env.LISTEN), '127.0.0.1');
`;

test('F5, a breakpoint hit from inside the cluster, restart, stop', { timeout: 400_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const port = await freePort();
  const configuration = {
    type: 'node',
    request: 'launch',
    name: 'orders',
    program: '${workspaceFolder}/orders.js',
    args: ['${kubetether:STOCK}'],
    env: { LISTEN: String(port) },
    kubetether: { exchange: 'orders', port, forwards: { STOCK: 'stock:8080' } },
  };
  const editor = await openEditor({
    name: 'debug',
    env: { KUBECONFIG: cluster.kubeconfig },
    files: { 'orders.js': PROGRAM, '.vscode/launch.json': JSON.stringify({ version: '0.2.0', configurations: [configuration] }) },
  });
  t.after(() => editor.close());
  const toolbar = editor.page.locator('.debug-toolbar');
  const paused = editor.page.locator('.debug-toolbar .codicon-debug-continue');
  const exchanged = editor.page.locator('.statusbar-item', { hasText: 'orders: active' });

  await editor.step('F5 starts the program and exchanges the Service', async (page) => {
    await page.locator('.statusbar').waitFor();
    await page.keyboard.press('F5');
    await toolbar.waitFor();
    await exchanged.waitFor();
  });
  await hit('from inside the cluster', 'hit');

  await editor.step('a restart keeps the exchange', async (page) => {
    await page.keyboard.press('Control+Shift+F5');
    await toolbar.waitFor();
    await exchanged.waitFor();
  });
  await hit('after the restart', 'hit-again');

  await editor.step('stop', async (page) => {
    await page.keyboard.press('Shift+F5');
    await exchanged.waitFor({ state: 'detached' });
  });
  assert.equal(await cluster.ask('orders'), 'cluster');
  await until('the cluster is as it was', () => cluster.isClean());

  async function hit(when, picture) {
    await editor.step(`the breakpoint is hit ${when}`, async (page) => {
      await listening(port);
      const answer = cluster.ask('orders');
      await paused.waitFor();
      await editor.picture(picture);
      await page.keyboard.press('F5');
      assert.match(await answer, /^debugged, with cluster as 127\.0\.0\.1:\d+$/);
    });
  }
});

async function listening(port) {
  const { connect } = await import('node:net');
  await until(`something listens on ${port}`, () =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('connect', () => (socket.destroy(), resolve(true)));
      socket.on('error', () => resolve(false));
    }),
  );
}
