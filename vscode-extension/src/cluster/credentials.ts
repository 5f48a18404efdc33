// What a kubeconfig says about proving who one is: certificates, tokens, programs. As TLS options and headers.

import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import type { Agent } from 'node:http';
import path from 'node:path';
import type { SecureContextOptions } from 'node:tls';

import { Mistake } from '../engine/problem.js';
import { isRecord, text, type Access } from './kubeconfig.js';

export interface Credentials {
  /** TLS, and the way through the cluster's `proxy-url`, as options of a request. */
  readonly tls: SecureContextOptions & { readonly rejectUnauthorized: boolean; readonly servername?: string; readonly agent?: Agent };
  readonly headers: Readonly<Record<string, string>>;
}

const PROGRAM_DEADLINE_MS = 60_000;

export async function credentialsOf(access: Access): Promise<Credentials> {
  const { cluster, user } = access;
  // Few clusters have one.
  const agent = cluster.body['proxy-url'] === undefined ? undefined : (await import('./proxy.js')).proxyOf(cluster);
  const ca = await bytes(cluster, 'certificate-authority');
  const name = text(cluster.body['tls-server-name']);
  const server = {
    // As Go does for kubectl: a certificate that is named here is trusted, whoever signed it.
    ...(ca === undefined ? {} : { ca, allowPartialTrustChain: true }),
    ...(name === undefined ? {} : { servername: name }),
    rejectUnauthorized: cluster.body['insecure-skip-tls-verify'] !== true,
    ...(agent === undefined ? {} : { agent }),
  };
  if (user === undefined) return { tls: server, headers: {} };
  const program = user.body['exec'];
  if (isRecord(program)) {
    const { token, cert, key } = await run(program, user.folder);
    return { tls: { ...server, ...pair(cert, key) }, headers: bearer(token) };
  }
  const [cert, key] = [await bytes(user, 'client-certificate'), await bytes(user, 'client-key')];
  const file = text(user.body['tokenFile']);
  const token = file === undefined ? text(user.body['token']) : (await fs.readFile(path.resolve(user.folder, file), 'utf8')).trim();
  const { username, password } = user.body;
  if (token === undefined && typeof username === 'string') {
    const basic = Buffer.from(`${username}:${text(password) ?? ''}`).toString('base64');
    return { tls: { ...server, ...pair(cert, key) }, headers: { authorization: `Basic ${basic}` } };
  }
  return { tls: { ...server, ...pair(cert, key) }, headers: bearer(token) };
}

/** `name-data` in base64, or the file `name`. */
async function bytes({ body, folder }: { body: Readonly<Record<string, unknown>>; folder: string }, name: string): Promise<Buffer | undefined> {
  const data = text(body[`${name}-data`]);
  if (data !== undefined && data !== '') return Buffer.from(data, 'base64');
  const file = text(body[name]);
  return file === undefined || file === '' ? undefined : fs.readFile(path.resolve(folder, file));
}

/** An exec plugin: its answer is an ExecCredential. */
async function run(program: Readonly<Record<string, unknown>>, folder: string): Promise<{ token?: string; cert?: Buffer; key?: Buffer }> {
  const command = text(program['command']) ?? '';
  // A path is relative to the kubeconfig, a bare name is looked for.
  const file = command.includes('/') ? path.resolve(folder, command) : command;
  const args = Array.isArray(program['args']) ? program['args'].map(String) : [];
  const variables = Array.isArray(program['env']) ? program['env'].filter(isRecord).map(({ name, value }) => [String(name), String(value)]) : [];
  const info = JSON.stringify({ apiVersion: program['apiVersion'], kind: 'ExecCredential', spec: { interactive: false } });
  const env = { ...process.env, KUBERNETES_EXEC_INFO: info, ...Object.fromEntries(variables) };
  const answer = await new Promise<string>((resolve, reject) => {
    execFile(file, args, { env, timeout: PROGRAM_DEADLINE_MS, maxBuffer: 1 << 20 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Mistake('unauthorized', `${command} gave no credentials: ${stderr.trim() || error.message}`, text(program['installHint'])));
    });
  });
  const status: unknown = (JSON.parse(answer) as { status?: unknown }).status;
  if (!isRecord(status)) throw new Mistake('unauthorized', `${command} gave no credentials`, 'Run it in a terminal');
  const [token, cert, key] = [text(status['token']), text(status['clientCertificateData']), text(status['clientKeyData'])];
  return {
    ...(token === undefined ? {} : { token }),
    ...(cert === undefined ? {} : { cert: Buffer.from(cert) }),
    ...(key === undefined ? {} : { key: Buffer.from(key) }),
  };
}

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined || token === '' ? {} : { authorization: `Bearer ${token}` };
}

function pair(cert: Buffer | undefined, key: Buffer | undefined): { cert?: Buffer; key?: Buffer } {
  return { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
}
