import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';

import { parse } from 'yaml';

import { Api } from '../src/cluster/api.js';
import { credentialsOf } from '../src/cluster/credentials.js';
import { Holders } from '../src/cluster/holders.js';
import { Kubeconfig, kubeconfigFiles, readKubeconfig } from '../src/cluster/kubeconfig.js';
import { KubernetesReader } from '../src/cluster/kubernetes.js';
import { configurationApi, fileOf } from '../src/cluster/kubernetesApi.js';
import { isBehind, serviceOf } from '../src/cluster/objects.js';
import type { Services } from '../src/cluster/reader.js';
import { FakeEngine, settle } from './fakeEngine.js';

const config = (server: string, user = '{token: secret}') => `
current-context: kind
contexts: [{name: kind, context: {cluster: c, user: u, namespace: shop}}, {name: bare, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "${server}"}}]
users: [{name: u, user: ${user}}]
`;

test('kubeconfigs are merged: the first to name something wins', () => {
  const merged = new Kubeconfig(parse).add('current-context: ""\ncontexts: null', '/a/one').add(config('https://a'), '/b/two').add(config('https://z'), '/c/three');
  assert.equal(merged.contexts().current, 'kind');
  assert.deepEqual(merged.contexts().all, [
    { name: 'kind', cluster: 'c', namespace: 'shop' },
    { name: 'bare', cluster: 'c', namespace: 'default' },
  ]);
  assert.equal(merged.access('kind').server, 'https://a');
  assert.throws(() => merged.access('other'), { code: 'no_such_context' });
});

test('files are found as kubectl does', () => {
  assert.deepEqual(kubeconfigFiles('/one', { KUBECONFIG: '/two' }), ['/one']);
  assert.deepEqual(kubeconfigFiles(undefined, { KUBECONFIG: '/two::/three' }), ['/two', '/three']);
  assert.deepEqual(kubeconfigFiles(undefined, {}), [path.join(os.homedir(), '.kube/config')]);
});

test("the Kubernetes extension's file is taken by its contract, or not at all", () => {
  const api = { getKubeconfigPath: () => ({ pathType: 'host', hostPath: '/x' }) };
  const broker = (available: boolean) => ({ get: (component: string, version: string) => ({ available: available && component === 'configuration' && version === 'v1_1', api }) });
  assert.equal(configurationApi(broker(true)), api);
  assert.equal(configurationApi(broker(false)), undefined);
  assert.equal(configurationApi(undefined), undefined);
  assert.equal(fileOf({ pathType: 'host', hostPath: '/x' }), '/x');
  assert.equal(fileOf({ pathType: 'host', hostPath: '/x:/y' }), undefined);
  assert.equal(fileOf({ pathType: 'wsl', wslPath: '/x' }), undefined);
});

test('a missing file is passed over, but not all of them', async (t) => {
  const file = write(t, config('https://a'));
  assert.equal((await readKubeconfig(['/nowhere', file])).contexts().current, 'kind');
  await assert.rejects(readKubeconfig(['/nowhere']), { code: 'kubeconfig', message: /No kubeconfig at \/nowhere/ });
  await assert.rejects(readKubeconfig([write(t, 'a: [')]), { code: 'kubeconfig', message: /not valid YAML/ });
});

test('a program gives credentials', async (t) => {
  const answer = JSON.stringify({ status: { token: 'from the program' } });
  const user = `{exec: {apiVersion: client.authentication.k8s.io/v1, command: node, args: [-e, 'console.log(process.env.ANSWER)'], env: [{name: ANSWER, value: '${answer}'}]}}`;
  const kubeconfig = await readKubeconfig([write(t, config('https://a', user))]);
  const { headers } = await credentialsOf(kubeconfig.access('kind'));
  assert.equal(headers['authorization'], 'Bearer from the program');
});

test('a program that fails says why', async (t) => {
  const user = `{exec: {command: node, args: [-e, 'console.error("log in first"); process.exit(1)'], installHint: Run login}}`;
  const kubeconfig = await readKubeconfig([write(t, config('https://a', user))]);
  await assert.rejects(credentialsOf(kubeconfig.access('kind')), { code: 'unauthorized', message: 'node gave no credentials: log in first', hint: 'Run login' });
});

test('a Service is read, with its original selector and targets while it is held', () => {
  const note = JSON.stringify({ v: 1, original: { selector: { app: 'orders' }, targetPorts: { '80/TCP': 'web' } }, holders: [] });
  const object = {
    metadata: { name: 'orders', annotations: { 'kubetether.dev/exchange': note } },
    spec: { type: 'ClusterIP', selector: { app: 'kt-123' }, ports: [{ name: 'http', port: 80, targetPort: 47200, protocol: 'TCP' }] },
  };
  const service = serviceOf(object);
  assert.deepEqual(service, {
    name: 'orders',
    type: 'ClusterIP',
    ports: [{ name: 'http', port: 80, protocol: 'TCP', target: 'web' }],
    selector: { app: 'orders' },
    noted: true,
  });
  const workload = { metadata: { name: 'orders' }, spec: { template: { metadata: { labels: { app: 'orders', tier: 'web' } } } } };
  assert.equal(isBehind(workload, service.selector), true);
  assert.equal(isBehind(workload, { app: 'stock' }), false);
  assert.equal(isBehind(workload, {}), false);
});

test('lists come in pages, with the token', async (t) => {
  const asked: string[] = [];
  const api = await server(t, (request, response) => {
    asked.push(`${request.headers.authorization} ${request.url}`);
    const next = request.url?.includes('continue=') === true ? '' : 'more';
    response.end(JSON.stringify({ metadata: { continue: next, resourceVersion: '7' }, items: [{ metadata: { name: `after-${next}` } }] }));
  });
  const { items, version } = await api.list('/api/v1/namespaces');
  assert.deepEqual(items.map(({ metadata }) => metadata.name), ['after-more', 'after-']);
  assert.equal(version, '7');
  assert.deepEqual(asked, ['Bearer secret /api/v1/namespaces?limit=100', 'Bearer secret /api/v1/namespaces?limit=100&continue=more']);
});

test('a refusal says what the cluster said', async (t) => {
  const api = await server(t, (_, response) => {
    response.statusCode = 403;
    response.end(JSON.stringify({ message: 'services is forbidden: User "ann" cannot list' }));
  });
  await assert.rejects(api.list('/api/v1/services'), { code: 'forbidden', message: /User "ann" cannot list/ });
});

test('a cluster that is not there is told', async () => {
  const api = new Api(new Kubeconfig(parse).add(config('http://127.0.0.1:1'), '/a/b').access('kind'));
  await assert.rejects(api.list('/api'), { code: 'unreachable', message: /127\.0\.0\.1:1 does not answer/ });
});

test('a proxy-url leads to the cluster, and is told without its password where it cannot', async (t) => {
  const through: string[] = [];
  const proxy = http.createServer();
  proxy.on('connect', (request, socket) => {
    through.push(`${request.url} ${request.headers['proxy-authorization']}`);
    // It takes the cluster's place.
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"items":[]}'));
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.after(() => proxy.close());
  const { port } = proxy.address() as AddressInfo;
  // As the editor does, which has its own in their place that know other proxies.
  for (const module of [http, https]) t.mock.method(module, 'get', () => assert.fail('the editor would lead it elsewhere'));
  const access = (url: string) => new Kubeconfig(parse).add(config('http://cluster.invalid:6443').replace('{server:', `{proxy-url: "${url}", server:`), '/a/b').access('kind');
  assert.deepEqual((await new Api(access(`http://ann:secret@127.0.0.1:${port}`)).list('/api')).items, []);
  assert.deepEqual(through, [`cluster.invalid:6443 Basic ${Buffer.from('ann:secret').toString('base64')}`]);
  for (const url of ['ftp://ann:secret@a', 'secret', 'socks4://secret']) {
    await assert.rejects(new Api(access(url)).list('/api'), (error: Error) => error.message.includes('proxy-url') && !error.message.includes('secret'));
  }
});

test('Services are watched, and read again after the watch has failed', async (t) => {
  let [lists, watches] = [0, 0];
  const object = (name: string) => ({ metadata: { name }, spec: { ports: [] } });
  const url = await serve(t, (request, response) => {
    if (request.url?.includes('watch=true') === true) {
      watches++;
      response.write(`${JSON.stringify({ type: 'ADDED', object: object('new') })}\n{"type":"DELE`);
      response.write(`TED","object":${JSON.stringify(object('old'))}}\n`);
      if (watches === 1) response.end(`${JSON.stringify({ type: 'ERROR', object: { code: 410 } })}\n`);
      return;
    }
    lists++;
    const ours = { metadata: { name: 'kt-orig', labels: { 'app.kubernetes.io/managed-by': 'kubetether' } } };
    response.end(JSON.stringify({ metadata: { resourceVersion: '1' }, items: [object('old'), ours, object(`kept-${lists}`)] }));
  });
  const reader = new KubernetesReader(() => Promise.resolve([write(t, config(url))]));
  t.after(() => reader.dispose());
  const told: string[] = [];
  const enough = new Promise<void>((resolve) => {
    const watch = reader.watchServices({ context: 'kind', namespace: 'shop' }, ({ services, problem }: Services) => {
      assert.equal(problem, undefined);
      told.push(services.map(({ name }) => name).join(' '));
      if (told.at(-1) !== 'kept-2 new') return;
      watch.dispose();
      resolve();
    });
  });
  await enough;
  assert.deepEqual(told, ['kept-1 old', 'kept-1 new', 'kept-2 old', 'kept-2 new']);
});

test('who holds is asked when somebody does, and again until it is known whether they live', async () => {
  const engine = new FakeEngine();
  const row = (life: 'unknown' | 'dead') => ({
    sessions: [],
    leftovers: [],
    unseen: [],
    services: [
      { namespace: 'shop', service: 'orders', mode: 'exchange', ports: [80], lease: 'l', who: 'ann@mars', since: null, life, condition: 'active' as const },
    ],
  });
  engine.statuses = [row('unknown'), row('dead')];
  const holders = new Holders(() => Promise.resolve(engine), (error) => assert.fail(String(error)));
  const lives: (string | undefined)[] = [];
  holders.changed.listen(() => lives.push(holders.of('shop', 'orders')?.life));
  holders.look('shop', () => Promise.resolve({ namespace: 'shop' }), []);
  assert.deepEqual(engine.calls, []);
  holders.look('shop', () => Promise.resolve({ namespace: 'shop' }), ['orders']);
  holders.look('shop', () => Promise.resolve({ namespace: 'shop' }), ['orders']);
  await settle();
  assert.deepEqual(engine.calls, ['status 0', 'status 35']);
  assert.deepEqual(lives, ['unknown', 'dead']);
  holders.look('shop', () => Promise.resolve({ namespace: 'shop' }), []);
  assert.equal(holders.of('shop', 'orders'), undefined);
});

function write(t: TestContext, text: string): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kubetether-code-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'config');
  fs.writeFileSync(file, text);
  return file;
}

async function serve(t: TestContext, answer: http.RequestListener): Promise<string> {
  const listening = http.createServer(answer).listen(0, '127.0.0.1');
  await once(listening, 'listening');
  t.after(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

async function server(t: TestContext, answer: http.RequestListener): Promise<Api> {
  return new Api(new Kubeconfig(parse).add(config(await serve(t, answer)), '/a/b').access('kind'));
}
