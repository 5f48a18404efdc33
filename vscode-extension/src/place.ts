// Which cluster and namespace a folder's launch blocks and commands mean.

import * as vscode from 'vscode';

import type { Place } from './engine/engine.js';

export function placeOf(folder: vscode.ConfigurationScope | undefined, own: { context?: string; namespace?: string } = {}): Place {
  const settings = vscode.workspace.getConfiguration('kubetether', folder ?? null);
  const [kubeconfig, context, namespace] = [settings.get('kubeconfig', ''), settings.get('context', ''), settings.get('namespace', '')];
  return {
    kubeconfig: kubeconfig || undefined,
    context: own.context ?? (context || undefined),
    namespace: own.namespace ?? (namespace || undefined),
  };
}
