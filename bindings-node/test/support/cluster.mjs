// A cluster of its own for a test file: the embedded one, with a Deployment and a Service for each name.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const IMAGE = 'kubetether.test/workload:1';
export const PORT = 8080;

/** Whose answers tell that they are the cluster's. */
export const manifest = (name) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}}
spec:
  replicas: 1
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: ${name}
          image: ${IMAGE}
          imagePullPolicy: Never
          args: [serve, --name, cluster, --http, "${PORT}"]
          readinessProbe: {tcpSocket: {port: ${PORT}}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: ${name}}
spec:
  selector: {app: ${name}}
  ports: [{name: http, port: ${PORT}, targetPort: ${PORT}}]
`;

/** Started with these Services, or what a file of manifests has. */
export async function startCluster({ services = [], apply } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kubetether-node-'));
  const args = ['--folder', folder, '--image', `${IMAGE}=${path.join(ROOT, 'target/workload/workload')}`];
  if (services.length > 0) {
    const file = path.join(folder, 'services.yaml');
    fs.writeFileSync(file, services.map(manifest).join('---\n'));
    args.push('--apply', file);
  }
  if (apply !== undefined) args.push('--apply', apply);
  const sim = spawn(process.env.SIM ?? path.join(ROOT, 'target/debug/sim'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await Promise.race([
    once(createInterface({ input: sim.stdout }), 'line'),
    once(sim, 'exit').then(([code]) => Promise.reject(new Error(`the embedded cluster ended with ${code}`))),
  ]);
  process.once('exit', () => sim.kill('SIGKILL'));
  const cluster = new Cluster(sim, folder);
  try {
    await Promise.all(services.map((name) => cluster.ready(name)));
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class Cluster {
  #sim;
  #folder;
  #api;

  constructor(sim, folder) {
    this.#sim = sim;
    this.#folder = folder;
    this.kubeconfig = path.join(folder, 'kubeconfig');
    // It writes JSON, which is YAML.
    const { clusters, users } = JSON.parse(fs.readFileSync(this.kubeconfig, 'utf8'));
    this.#api = { server: clusters[0].cluster.server, token: users[0].user.token };
  }

  /** Asks the API server. */
  async api(method, resource, body) {
    const { server, token } = this.#api;
    const request = https.request(new URL(resource, server), {
      method,
      // Its certificate stands for itself, which Node's TLS takes for no authority; it is on loopback.
      rejectUnauthorized: false,
      // A connection for each: a cut of the cluster's does not meet the next one.
      agent: false,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = await once(request, 'response');
    const text = (await response.toArray()).join('');
    if (response.statusCode >= 400) throw new Error(`${method} ${resource}: ${response.statusCode} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }

  service(name, namespace = 'default') {
    return this.api('GET', `/api/v1/namespaces/${namespace}/services/${name}`);
  }

  /** Until its pod answers. */
  async ready(name) {
    await until(`svc/${name} has a ready pod`, async () => {
      // Listed, since Kubernetes makes it a moment after the Service.
      const { items } = await this.api('GET', '/api/v1/namespaces/default/endpoints');
      const endpoints = items.find(({ metadata }) => metadata.name === name);
      return endpoints?.subsets?.some((subset) => subset.addresses?.length > 0);
    });
  }

  /** Whose answer a caller inside the cluster gets: `cluster`, or what the local handler says. */
  async ask(name, { path: at = '/', ...init } = {}) {
    const { spec } = await this.service(name);
    const response = await fetch(`http://${spec.clusterIP}:${PORT}${at}`, {
      signal: AbortSignal.timeout(60_000),
      ...init,
      headers: { connection: 'close', ...init.headers },
    });
    const text = await response.text();
    return /name=(\S+)/.exec(text)?.[1] ?? text;
  }

  /** Nothing of ours is in the namespace, and its Services are as they were. */
  async isClean(namespace = 'default') {
    const lists = [
      `/api/v1/namespaces/${namespace}/services`,
      `/api/v1/namespaces/${namespace}/configmaps`,
      `/api/v1/namespaces/${namespace}/pods`,
      `/apis/apps/v1/namespaces/${namespace}/deployments`,
      `/apis/batch/v1/namespaces/${namespace}/jobs`,
      `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`,
    ];
    for (const list of lists) {
      const { items } = await this.api('GET', list);
      for (const { metadata } of items) {
        if (metadata.labels?.['app.kubernetes.io/managed-by'] === 'kubetether') return false;
        if (metadata.annotations?.['kubetether.dev/exchange'] !== undefined) return false;
      }
    }
    return true;
  }

  /** Orders it to misbehave: see tests/sim/README.md. */
  fault(fault) {
    return this.api('POST', '/sim/faults', fault);
  }

  async stop() {
    this.#sim.kill('SIGTERM');
    if (this.#sim.exitCode === null) await once(this.#sim, 'exit');
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Waits for a condition; the limit is for a machine that does much else. */
export async function until(what, condition, { limit = 120_000, every = 50 } = {}) {
  const end = Date.now() + limit;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not so within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
