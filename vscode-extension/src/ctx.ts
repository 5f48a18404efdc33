// What there is once in a window, made and ended together.

import { setImmediate } from 'node:timers/promises';

import * as vscode from 'vscode';

import { Holders } from './cluster/holders.js';
import { kubeconfigFiles } from './cluster/kubeconfig.js';
import { KubernetesReader } from './cluster/kubernetes.js';
import type { NamespaceOf } from './cluster/reader.js';
import { Runs } from './debug/runs.js';
import { loadEngine, type Engine, type Place } from './engine/engine.js';
import { oneLine, problemOf } from './engine/problem.js';
import { forwardLog } from './log.js';
import { Notices } from './notices.js';
import { Places } from './place.js';
import { Resume, type Wanted } from './sessions/resume.js';
import type { Disposable } from './signal.js';
import { Sessions } from './sessions/sessions.js';
import { TrafficFeed } from './traffic/feed.js';
import { TrafficPanel } from './traffic/panel.js';
import { ClusterTree } from './views/clusterTree.js';
import { SessionsTree } from './views/sessionsTree.js';

/** Under this, the workspace remembers what is held. */
const HELD = 'kubetether.held';

export class Ctx {
  readonly notices = new Notices();
  readonly places = new Places((error) => this.notices.log.warn(`The Kubernetes extension tells no kubeconfig: ${problemOf(error).message}`));
  readonly sessions = new Sessions(() => this.engine());
  readonly runs = new Runs(this.sessions);
  readonly reader = new KubernetesReader(async () => kubeconfigFiles((await this.places.of(undefined)).kubeconfig));
  readonly holders = new Holders(
    () => this.engine(),
    (error) => this.notices.log.warn(`Who holds Services is not known: ${oneLine(problemOf(error))}`),
  );
  readonly tree = new ClusterTree(this.reader, this.sessions, this.holders, (place) => this.placeOf(place));
  readonly sessionsTree = new SessionsTree(this.sessions);
  readonly traffic = new TrafficFeed(this.sessions, (error) => this.notices.log.warn(`Flows are not told: ${oneLine(problemOf(error))}`));
  readonly trafficPanel: TrafficPanel;
  readonly #resume: Resume;
  readonly #clusterView: vscode.TreeView<unknown>;
  readonly #subscriptions: Disposable[];
  #engine: Promise<Engine> | undefined;

  constructor(root: vscode.Uri, memory: vscode.Memento) {
    this.trafficPanel = new TrafficPanel(root, this.traffic, this.notices);
    const clusterView = vscode.window.createTreeView('kubetether.cluster', { treeDataProvider: this.tree, showCollapseAll: true });
    const sessionsView = vscode.window.createTreeView('kubetether.sessions', { treeDataProvider: this.sessionsTree });
    this.#clusterView = clusterView;
    this.#subscriptions = [
      clusterView,
      sessionsView,
      clusterView.onDidCollapseElement(({ element }) => this.tree.collapsed(element)),
      sessionsView.onDidChangeVisibility(({ visible }) => this.sessionsTree.seen(visible)),
      this.places.changed.listen(() => this.refresh()),
      this.reader.changed.listen(() => this.refresh()),
      this.sessions.ended.listen(({ what, why }) => {
        void this.notices.failed(what, { code: 'ended', message: `Ended: ${why}`, details: [] });
      }),
    ];
    this.sessionsTree.seen(sessionsView.visible);
    const store = {
      get: () => memory.get<readonly Wanted[]>(HELD, []),
      set: (wanted: readonly Wanted[]) => void memory.update(HELD, wanted),
    };
    this.#resume = new Resume(store, this.sessions);
    void this.#offer();
  }

  /** Loaded when it is first needed. */
  engine(): Promise<Engine> {
    this.#engine ??= loadEngine().then(async (engine) => {
      this.#subscriptions.push(forwardLog(engine, this.notices.log));
      // That has loaded the native module: enough for one turn of the event loop.
      await setImmediate();
      return engine;
    });
    return this.#engine;
  }

  /** How the engine is told of a namespace that the view shows. */
  placeOf({ context, namespace }: NamespaceOf): Promise<Place> {
    return this.places.of(undefined, { context, namespace });
  }

  /** What commands mean that were not started from a row. Throws when there is no kubeconfig to read. */
  async defaultPlace(): Promise<NamespaceOf | undefined> {
    await this.reader.contexts();
    return this.seenFrom(vscode.window.activeTextEditor?.document.uri);
  }

  /** What a launch block in this file means; `own` is what it says itself. */
  async seenFrom(scope: vscode.ConfigurationScope | undefined, own: { context?: string; namespace?: string } = {}): Promise<NamespaceOf | undefined> {
    const { context, namespace } = await this.placeFor(scope, own);
    return context === undefined || namespace === undefined ? undefined : { context, namespace };
  }

  /** The same for the engine. Context and namespace are named where the kubeconfig does, so that one place has one session. */
  async placeFor(scope: vscode.ConfigurationScope | undefined, own: { context?: string; namespace?: string } = {}): Promise<Place> {
    const settings = await this.places.of(scope, own);
    // The engine says what is wrong with a kubeconfig, and knows clusters that have none.
    const { current, all } = await this.reader.contexts().catch(() => ({ current: undefined, all: [] }));
    const context = settings.context ?? current;
    return { ...settings, context, namespace: settings.namespace ?? all.find(({ name }) => name === context)?.namespace };
  }

  refresh(): void {
    this.reader.dispose();
    this.tree.refresh();
  }

  setFilter(text: string): void {
    this.tree.filter = text;
    this.#clusterView.message = text === '' ? '' : `Services with “${text}”`;
  }

  /** Puts back all that this window holds. The editor gives it some seconds; what is not done by then, the cluster does. */
  async close(): Promise<void> {
    this.#resume.dispose();
    try {
      await this.sessions.close();
    } finally {
      this.holders.close();
      this.reader.dispose();
      this.places.dispose();
      for (const subscription of this.#subscriptions) subscription.dispose();
      this.trafficPanel.dispose();
      this.traffic.dispose();
      this.tree.dispose();
      this.sessionsTree.dispose();
      this.notices.dispose();
    }
  }

  /** What the window before this one held is begun again, if the user likes. */
  async #offer(): Promise<void> {
    const { question } = this.#resume;
    if (question === undefined) return;
    if ((await vscode.window.showInformationMessage(question, 'Start Again', 'No')) !== 'Start Again') return;
    await this.notices.attempt('Not all was started again', () =>
      this.notices.during('Starting again', (signal, progress) => this.#resume.again(signal, progress)),
    );
  }
}
