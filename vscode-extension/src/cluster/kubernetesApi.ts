// The Kubernetes extension's contract `configuration/v1_1`, as much of it as is used. Pure.

import path from 'node:path';

import { isRecord } from './kubeconfig.js';

type KubeconfigPath = { readonly pathType: 'host'; readonly hostPath: string } | { readonly pathType: 'wsl'; readonly wslPath: string };

interface Configuration {
  getKubeconfigPath(): KubeconfigPath;
  onDidChangeKubeconfigPath(listener: (path: KubeconfigPath) => void): { dispose(): void };
}

/** Undefined when what the extension gave knows no such version. */
export function configurationApi(broker: unknown): Configuration | undefined {
  if (!isRecord(broker) || typeof broker['get'] !== 'function') return undefined;
  const answer: unknown = broker['get']('configuration', 'v1_1');
  return isRecord(answer) && answer['available'] === true ? (answer['api'] as Configuration) : undefined;
}

/** One file on this machine. A list of several is what KUBECONFIG says, and is found without help. */
export function fileOf(at: KubeconfigPath): string | undefined {
  if (at.pathType !== 'host' || at.hostPath === '' || at.hostPath.includes(path.delimiter)) return undefined;
  return at.hostPath;
}
