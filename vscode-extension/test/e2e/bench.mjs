// The figures of the extension in a real editor, on the embedded cluster: a table, each with its target, and
// target/bench/code.json. `make code-bench`, on a machine that has nothing else to do; `test/e2e/setup` has been run, and the package
// was made. ONLY names one of the measures below. Fails when a figure of the release build is not what it should be.

import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

import { Figures } from '../../../bindings-node/bench/figures.mjs';
import { PORT, startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { freePort, openEditor } from './editor.mjs';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MIB = 1024 * 1024;
const SERVICES = 500;
const RUNS = 5;
const FLOWS = 500;

const { profile } = createRequire(import.meta.url)('../../../bindings-node/lib/load.js').load();
const figures = new Figures(profile());
const tell = (...figure) => console.log(figures.add(...figure));
if (profile() !== 'release') console.log(`A ${profile()} build of the native module: these are not its figures.`);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kc-'));
const many = path.join(folder, 'many.yaml');
const service = (_, at) => `
apiVersion: v1
kind: Service
metadata: {name: service-${String(at).padStart(3, '0')}, namespace: many}
spec: {selector: {app: none}, ports: [{port: 80}]}
`;
fs.writeFileSync(many, ['\napiVersion: v1\nkind: Namespace\nmetadata: {name: many}\n', ...Array.from({ length: SERVICES }, service)].join('---'));
try {
  const measures = {
    vsix,
    inside: () => on({ services: ['orders', 'stock'] }, inside),
    f5: () => on({ services: ['orders', 'stock'] }, f5),
    tree: () => on({ apply: many }, tree),
    stall: () => on({ services: ['orders'] }, (cluster) => on({ apply: many }, (other) => stall(cluster, other))),
  };
  const { ONLY: only } = process.env;
  for (const [name, measure] of Object.entries(measures)) if (only === undefined || only === name) await measure();
} finally {
  fs.rmSync(folder, { recursive: true });
}

const out = path.join(ROOT, 'target/bench/code.json');
fs.mkdirSync(path.dirname(out), { recursive: true });
fs.writeFileSync(out, `${JSON.stringify(figures, undefined, 2)}\n`);
if (figures.missed.length > 0) {
  console.error(`missed: ${figures.missed.join(', ')}`);
  process.exitCode = 1;
}

async function on(options, measure) {
  const cluster = await startCluster(options);
  try {
    await measure(cluster);
  } finally {
    await cluster.stop();
  }
}

/** What is downloaded. */
function vsix() {
  const { size } = fs.statSync(path.join(ROOT, `target/code/kubetether-${process.platform}-${process.arch}.vsix`));
  tell('code.vsix', 'MiB', [size / MIB], 20);
}

/** In a fresh extension host each time: its activation, and what it adds while it holds an exchange and a forward. */
async function inside(cluster) {
  const activation = [];
  const rss = [];
  for (let run = 0; run < RUNS; run++) {
    const result = path.join(folder, `probe-${run}`);
    const window = await openEditor({
      name: 'bench-probe',
      env: { KUBECONFIG: cluster.kubeconfig, KUBETETHER_PROBE: result, KUBETETHER_PROBE_PORT: String(await freePort()) },
      extensions: [fileURLToPath(new URL('probe', import.meta.url))],
    });
    try {
      await until('the probe is done', () => fs.existsSync(result));
      await until('the cluster is as it was', () => cluster.isClean());
    } finally {
      await window.close();
    }
    const { error, ...found } = JSON.parse(fs.readFileSync(result, 'utf8'));
    if (error !== undefined) throw new Error(error);
    activation.push(found.activation);
    rss.push(found.rss / MIB);
  }
  tell('code.activation', 'ms', activation, 100);
  tell('code.host.rss', 'MiB', rss, 60);
}

/** From the click on the namespace until its Services are there, the first page of them and how many more there are. */
async function tree(cluster) {
  const window = await openEditor({ name: 'bench-tree', env: { KUBECONFIG: cluster.kubeconfig } });
  const took = [];
  try {
    await window.showViews();
    const namespace = window.row('Namespace many');
    await namespace.waitFor();
    for (let run = 0; run <= RUNS; run++) {
      const start = performance.now();
      await namespace.click();
      await window.row('Service service-000').waitFor();
      // The first one connects.
      if (run > 0) took.push((performance.now() - start) / 1000);
      await namespace.click();
      await window.row('Service service-000').waitFor({ state: 'detached' });
    }
  } finally {
    await window.close();
  }
  tell(`code.tree.${SERVICES}`, 's', took, 1);
}

/** From F5 to the breakpoint hit by a request from inside the cluster, with a session that is there already. */
async function f5(cluster) {
  const port = await freePort();
  const program = `require('node:http').createServer((request, response) => {
  response.end('debugged');
}).listen(${port}, '127.0.0.1');\n`;
  const configuration = {
    ...{ type: 'node', request: 'launch', name: 'orders', program: '${workspaceFolder}/orders.js' },
    kubetether: { exchange: 'orders', port },
  };
  const window = await openEditor({
    name: 'bench-f5',
    env: { KUBECONFIG: cluster.kubeconfig },
    files: { 'orders.js': program, '.vscode/launch.json': JSON.stringify({ version: '0.2.0', configurations: [configuration] }) },
  });
  const took = [];
  try {
    const { page } = window;
    await window.showViews();
    await window.row('Service stock, ports').waitFor();
    await window.action('Service stock', 'Forward Port');
    await window.row('127.0.0.1:').waitFor();
    await window.breakpoint('orders.js', 2);
    for (let run = 0; run <= RUNS; run++) {
      let asking = true;
      const answers = [];
      const start = performance.now();
      await window.f5('orders', { chosen: run > 0 });
      const asker = (async () => {
        while (asking) answers.push(await cluster.ask('orders').catch(() => undefined));
      })();
      await page.locator('.codicon-debug-stackframe').first().waitFor();
      // The first one starts the interceptor, and loads the debugger.
      if (run > 0) took.push((performance.now() - start) / 1000);
      asking = false;
      await page.keyboard.press('F5');
      await asker;
      if (answers.at(-1) !== 'debugged') throw new Error(`the request that hit the breakpoint was answered ${answers.at(-1)}`);
      await page.keyboard.press('Shift+F5');
      await page.locator('.debug-toolbar').waitFor({ state: 'hidden' });
      await window.row('orders comes to').waitFor({ state: 'detached' });
      await until('the cluster answers', async () => (await cluster.ask('orders')) === 'cluster');
    }
  } finally {
    await window.close();
  }
  tell('code.f5', 's', took, 3);
}

/**
 * The longest time for which the extension host does nothing but ours: at first use, during an exchange, while 500 Services are shown,
 * at 500 flows a second in the traffic panel. Of each run the longest of all that.
 */
async function stall(cluster, other) {
  // In a cluster of their own: 500 Services are much work for the embedded one.
  const [config, second] = [cluster, other].map(({ kubeconfig }) => JSON.parse(fs.readFileSync(kubeconfig, 'utf8')));
  for (const [list, kind] of Object.entries({ clusters: 'cluster', users: 'user' })) config[list].push({ name: 'many', [kind]: second[list][0][kind] });
  config.contexts.push({ name: 'many', context: { cluster: 'many', user: 'many', namespace: 'many' } });
  const kubeconfig = path.join(folder, 'two');
  fs.writeFileSync(kubeconfig, JSON.stringify(config));
  const took = [];
  for (let run = 0; run < 3; run++) {
    const control = path.join(folder, `stall-${run}`);
    const server = http.createServer((_, response) => response.end('mine')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const window = await openEditor({
      name: 'bench-stall',
      env: { KUBECONFIG: kubeconfig, KUBETETHER_STALL: control },
      extensions: [fileURLToPath(new URL('stall', import.meta.url))],
    });
    const phases = {
      first: async () => {
        await window.showViews();
        await window.row('Service orders, ports').waitFor();
      },
      exchange: () => window.exchange('orders', server.address().port),
      [`tree.${SERVICES}`]: async () => {
        await window.row('Context many').click();
        await window.row('Service service-000').waitFor();
      },
      [`flows.${FLOWS}`]: async () => {
        await window.showTraffic();
        await load(cluster);
        await window.traffic.locator('#summary', { hasText: 'older not kept' }).waitFor();
      },
      stop: async () => {
        await window.command('Stop All');
        await window.row('orders comes to').waitFor({ state: 'detached' });
      },
    };
    let longest = 0;
    try {
      let before;
      for (const [phase, task] of [...Object.entries(phases), ['end', () => {}]]) {
        fs.writeFileSync(`${control}.new`, phase);
        fs.renameSync(`${control}.new`, control);
        if (before !== undefined) {
          const result = `${control}.${before}`;
          await until(`${before} is measured`, () => fs.existsSync(result));
          const { ms, in: entered, at } = JSON.parse(fs.readFileSync(result, 'utf8'));
          console.log(`  code.stall ${before}: ${ms.toFixed(1)} ms in ${entered}: ${at.join(', ')}`);
          longest = Math.max(longest, ms);
        }
        if (phase !== 'end') await until(`${phase} begins`, () => fs.existsSync(`${control}.${phase}.begun`));
        await window.step(phase, task);
        before = phase;
      }
    } finally {
      await window.close();
      server.close();
    }
    took.push(longest);
  }
  tell('code.stall', 'ms', took, 10);
}

/** So many requests a second from inside the cluster for 6 s, each on a connection of its own. */
async function load(cluster) {
  const { spec } = await cluster.service('orders');
  const ask = async () => {
    const request = http.get({ host: spec.clusterIP, port: PORT, agent: false });
    const [response] = await once(request, 'response');
    response.resume();
    await once(response, 'close');
    answered++;
  };
  let answered = 0;
  let waiting = 0;
  const asked = [];
  const start = performance.now();
  while (asked.length < FLOWS * 6) {
    const due = Math.min(FLOWS * 6, Math.floor(((performance.now() - start) / 1000) * FLOWS));
    // Behind a machine that cannot, they would pile up as open flows.
    for (; asked.length < due && waiting < 50; waiting++) asked.push(ask().catch(() => {}).finally(() => waiting--));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await Promise.all(asked);
  const seconds = (performance.now() - start) / 1000;
  console.log(`  ${(answered / seconds).toFixed(0)} flows a second for ${seconds.toFixed(0)} s`);
}
