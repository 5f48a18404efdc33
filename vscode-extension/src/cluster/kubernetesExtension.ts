// The kubeconfig that the Kubernetes extension has chosen, where that extension is installed: by its versioned API, which is
// frozen. Without it, or without that version, nothing is different.

import * as vscode from 'vscode';

import { configurationApi, fileOf } from './kubernetesApi.js';

const EXTENSION = 'ms-kubernetes-tools.vscode-kubernetes-tools';

/** Tells its file now, and at each change; undefined when it has none of its own. */
export async function followKubernetesExtension(told: (file: string | undefined) => void): Promise<vscode.Disposable | undefined> {
  const extension = vscode.extensions.getExtension(EXTENSION);
  if (extension === undefined) return undefined;
  const api = configurationApi(await extension.activate());
  if (api === undefined) return undefined;
  told(fileOf(api.getKubeconfigPath()));
  // A change of context is a change of the file, which is watched.
  return api.onDidChangeKubeconfigPath((path) => told(fileOf(path)));
}
