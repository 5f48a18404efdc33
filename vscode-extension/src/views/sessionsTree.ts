// The view "Sessions": what this window holds.

import * as vscode from 'vscode';

import type { HeldExchange, HeldForward, HeldSession, Sessions } from '../sessions/sessions.js';
import type { Disposable } from '../signal.js';
import { treeItem } from './item.js';
import { itemRow, sessionRow } from './sessionRows.js';

/** Counters are read this often while the view is seen. */
const EVERY_MS = 1_000;

export type SessionNode = HeldSession | HeldExchange | HeldForward;

export class SessionsTree implements vscode.TreeDataProvider<SessionNode>, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<SessionNode | undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #subscription: Disposable;
  /** What each item's row says, so that only those are drawn anew that say something else: a row that is drawn can't be clicked. */
  readonly #said = new WeakMap<SessionNode, string | undefined>();
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly sessions: Sessions) {
    this.#subscription = sessions.changed.listen(() => this.#changed.fire(undefined));
  }

  dispose(): void {
    this.seen(false);
    this.#subscription.dispose();
    this.#changed.dispose();
  }

  seen(visible: boolean): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (!visible) return;
    this.#timer = setInterval(() => this.#redrawCounters(), EVERY_MS);
  }

  getTreeItem(node: SessionNode): vscode.TreeItem {
    if ('items' in node) return treeItem(sessionRow(node, new Date()));
    const row = itemRow(node, new Date());
    this.#said.set(node, row.description);
    return treeItem(row);
  }

  getChildren(node?: SessionNode): SessionNode[] {
    if (node === undefined) return [...this.sessions.list()];
    return 'items' in node ? [...node.items] : [];
  }

  #redrawCounters(): void {
    for (const item of this.sessions.list().flatMap(({ items }) => items)) {
      if (this.#said.has(item) && this.#said.get(item) !== itemRow(item, new Date()).description) this.#changed.fire(item);
    }
  }
}
