// The ways to start a program: Python, several folders with a compound and a task before the launch, without debugging, a
// crash, a mistake in the block.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { freePort, listening, openEditor, TOOLS } from './editor.mjs';

const launch = (configurations, compounds = []) => JSON.stringify({ version: '0.2.0', configurations, compounds });

/** A configuration for a program that listens at `port` and answers `answer`. */
const node = (name, port, answer, more) => ({
  ...{ type: 'node', request: 'launch', name, program: '${workspaceFolder}/program.js' },
  ...{ args: [String(port), answer], kubetether: { exchange: name, port }, ...more },
});
const PROGRAM = `
const [, , port, answer] = process.argv;
require('node:http').createServer((request, response) => {
  response.end(answer, () => request.url === '/crash' && process.exit(3));
}).listen(Number(port), '127.0.0.1');
`;

test('Python: a breakpoint is hit from inside the cluster', { timeout: 600_000 }, async (t) => {
  const python = path.join(TOOLS, 'python/bin/python');
  if (!fs.existsSync(python)) return t.skip('debugpy is not installed');
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const port = await freePort();
  const configuration = {
    ...{ type: 'debugpy', request: 'launch', name: 'orders', program: '${workspaceFolder}/orders.py', console: 'internalConsole' },
    python: [python],
    env: { LISTEN: String(port) },
    kubetether: { exchange: 'orders', port, forwards: { STOCK: 'stock:8080' } },
  };
  const window = await openEditor({
    name: 'python',
    env: { KUBECONFIG: cluster.kubeconfig, KUBETETHER_TEST_PYTHON: python },
    extensions: [fileURLToPath(new URL('debugpy', import.meta.url))],
    files: { 'orders.py': PYTHON, '.vscode/launch.json': launch([configuration]) },
  });
  t.after(() => window.close());
  await window.step('F5 exchanges the Service', async () => {
    await window.f5('orders');
    await window.status('orders: active').waitFor();
    await listening(port);
  });
  await window.step('the breakpoint is hit', async (page) => {
    const answer = cluster.ask('orders');
    await page.locator('.debug-toolbar .codicon-debug-continue').waitFor();
    await window.picture('hit');
    await page.keyboard.press('F5');
    assert.match(await answer, /^from Python, with cluster/);
  });
  await window.step('stop', async (page) => {
    await page.keyboard.press('Shift+F5');
    await window.status('orders').waitFor({ state: 'detached' });
  });
  await until('the cluster is as it was', () => cluster.isClean());
  assert.equal(await cluster.ask('orders'), 'cluster');
});

const PYTHON = `
import http.server, os, urllib.request

class Orders(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        stock = urllib.request.urlopen("http://" + os.environ["STOCK_ADDRESS"]).read().decode()
        breakpoint()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("from Python, with " + stock.split("name=")[1]).encode())

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["LISTEN"])), Orders).serve_forever()
`;

test('several folders, a compound, a task before the launch, without debugging, a crash', { timeout: 600_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const [a, b] = [await freePort(), await freePort()];
  const window = await openEditor({
    name: 'ways',
    env: { KUBECONFIG: cluster.kubeconfig },
    files: {
      'all.code-workspace': JSON.stringify({
        folders: [{ path: 'one' }, { path: 'two' }],
        launch: { version: '0.2.0', configurations: [], compounds: [{ name: 'both', stopAll: true, configurations: ['orders', 'stock'] }] },
      }),
      'one/program.js': PROGRAM,
      'one/.vscode/launch.json': launch([
        node('orders', a, 'from one', { preLaunchTask: 'prepare' }),
        { ...node('wrong', a, 'never'), kubetether: { exchange: 'orders', prot: 1 } },
      ]),
      'one/.vscode/tasks.json': JSON.stringify({
        version: '2.0.0',
        tasks: [{ label: 'prepare', type: 'process', command: 'touch', args: ['${workspaceFolder}/prepared'], presentation: { reveal: 'never' } }],
      }),
      'two/program.js': PROGRAM,
      // Its debugger may not know the key: by the setting.
      'two/.vscode/launch.json': launch([{ ...node('stock', b, 'from two'), kubetether: undefined }]),
      'two/.vscode/settings.json': JSON.stringify({ 'kubetether.launch': { stock: { exchange: 'stock', port: b } } }),
    },
  });
  t.after(() => window.close());
  const answers = (name, text) => until(`${name} answers ${text}`, async () => (await cluster.ask(name)) === text);

  await window.step('a mistake in a block says which key, and nothing runs', async () => {
    await window.f5('wrong (one)');
    await window.notification('kubetether.prot is not known');
    assert.equal(await window.page.locator('.debug-toolbar').count(), 0);
  });

  await window.step('a compound of two folders exchanges both', async () => {
    await window.f5('both (workspace)');
    await window.status('2 Services: active').waitFor();
    await Promise.all([listening(a), listening(b)]);
  });
  await window.picture('compound');
  assert.ok(fs.existsSync(path.join(window.workspace, 'one/prepared')), 'the task has run');
  await answers('orders', 'from one');
  await answers('stock', 'from two');
  await window.step('stop ends both', async (page) => {
    await page.keyboard.press('Shift+F5');
    await window.status('active').waitFor({ state: 'detached' });
  });
  await until('the cluster is as it was', () => cluster.isClean());

  await window.step('without debugging it is exchanged, too', async (page) => {
    await window.choose('orders (one)');
    await page.keyboard.press('Control+F5');
    await window.status('orders: active').waitFor();
    await listening(a);
  });
  await answers('orders', 'from one');
  await window.step('a crash puts back', async () => {
    assert.equal(await cluster.ask('orders', { path: '/crash' }), 'from one');
    await window.status('orders').waitFor({ state: 'detached' });
  });
  await answers('orders', 'cluster');
  await until('the cluster is as it was', () => cluster.isClean());
});
