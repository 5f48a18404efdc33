// A namespace of its own on the real cluster that KUBETETHER_TEST_KUBECONFIG names, with the same face as the embedded one. Its nodes
// have the image of `make workload-image`.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { manifest, PORT } from '../../../bindings-node/test/support/cluster.mjs';

/** Why there is none; false when there is one. */
export const noReal = process.env.KUBETETHER_TEST_KUBECONFIG === undefined && 'KUBETETHER_TEST_KUBECONFIG names no real cluster';

export async function startReal({ services }) {
  const given = path.resolve(process.env.KUBETETHER_TEST_KUBECONFIG);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kc-'));
  const cluster = new Real(given, folder, `code-${randomBytes(4).toString('hex')}`);
  try {
    await cluster.start(services);
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class Real {
  #given;
  #folder;
  #namespace;
  #caller;

  constructor(given, folder, namespace) {
    this.#given = given;
    this.#folder = folder;
    this.#namespace = namespace;
    this.kubeconfig = path.join(folder, 'kubeconfig');
  }

  async start(services) {
    const config = JSON.parse(await this.#kubectl('config', 'view', '--raw', '--flatten', '--output=json'));
    for (const { name, context } of config.contexts) if (name === config['current-context']) context.namespace = this.#namespace;
    fs.writeFileSync(this.kubeconfig, JSON.stringify(config), { mode: 0o600 });
    await this.#kubectl('create', 'namespace', this.#namespace);
    const file = path.join(this.#folder, 'services.yaml');
    fs.writeFileSync(file, services.map(manifest).join('---\n'));
    await this.#kubectl('apply', `--filename=${file}`);
    for (const name of services) await this.#kubectl('rollout', 'status', `deployment/${name}`, '--timeout=180s');
    // The one that is not exchanged.
    this.#caller = `deployment/${services.at(-1)}`;
  }

  /** Whose answer a pod of the cluster gets. */
  async ask(name) {
    const text = await this.#kubectl('exec', this.#caller, '--', '/workload', 'get', `http://${name}:${PORT}/`, '--deadline-ms', '60000');
    return /name=(\S+)/.exec(text)?.[1] ?? text;
  }

  async isClean() {
    const kinds = 'services,configmaps,pods,deployments,jobs,leases';
    const { items } = JSON.parse(await this.#kubectl('get', kinds, '--output=json'));
    return items.every(({ metadata: { labels, annotations } }) => labels?.['app.kubernetes.io/managed-by'] !== 'kubetether' && annotations?.['kubetether.dev/exchange'] === undefined);
  }

  async stop() {
    await this.#kubectl('delete', 'namespace', this.#namespace, '--ignore-not-found', '--wait=false').catch(() => {});
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  async #kubectl(...args) {
    // A cluster of `make cluster` brings its own.
    const own = path.join(path.dirname(this.#given), 'bin/kubectl');
    const program = fs.existsSync(own) ? own : 'kubectl';
    const { stdout } = await promisify(execFile)(program, [`--kubeconfig=${this.#given}`, `--namespace=${this.#namespace}`, ...args], {
      timeout: 200_000,
      maxBuffer: 16 << 20,
    });
    return stdout;
  }
}
