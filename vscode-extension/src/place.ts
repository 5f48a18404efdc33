// Which cluster and namespace a folder's launch blocks and commands mean.

import * as vscode from 'vscode';

import { followKubernetesExtension } from './cluster/kubernetesExtension.js';
import type { Place } from './engine/engine.js';
import { Signal, type Disposable } from './signal.js';

export class Places implements Disposable {
  /** The kubeconfig is another one. */
  readonly changed = new Signal();
  readonly #warn: (error: unknown) => void;
  readonly #settings: vscode.Disposable;
  /** What the Kubernetes extension has chosen; the setting comes before it. */
  #chosen: string | undefined;
  #following: Promise<vscode.Disposable | undefined> | undefined;

  constructor(warn: (error: unknown) => void) {
    this.#warn = warn;
    this.#settings = vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('kubetether.kubeconfig')) this.changed.tell();
    });
  }

  dispose(): void {
    this.#settings.dispose();
    void this.#following?.then((following) => following?.dispose());
  }

  /** `own` is what a launch block says, or a row of the view. */
  async of(scope: vscode.ConfigurationScope | undefined, own: { readonly context?: string; readonly namespace?: string } = {}): Promise<Place> {
    // Not before it is needed: it wakes the other extension.
    this.#following ??= this.#follow();
    await this.#following;
    const settings = vscode.workspace.getConfiguration('kubetether', scope ?? null);
    return {
      kubeconfig: settings.get('kubeconfig', '') || this.#chosen,
      context: own.context ?? (settings.get('context', '') || undefined),
      namespace: own.namespace ?? (settings.get('namespace', '') || undefined),
    };
  }

  async #follow(): Promise<vscode.Disposable | undefined> {
    try {
      return await followKubernetesExtension((file) => {
        const other = file !== this.#chosen;
        this.#chosen = file;
        if (other) this.changed.tell();
      });
    } catch (error) {
      this.#warn(error);
      return undefined;
    }
  }
}
