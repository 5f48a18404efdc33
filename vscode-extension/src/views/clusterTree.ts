// The view "Cluster": reads when something is opened, and watches what is open.

import * as vscode from 'vscode';

import type { Holders } from '../cluster/holders.js';
import type { NamespaceOf, Reader, ServiceInfo, Services } from '../cluster/reader.js';
import { problemOf } from '../engine/problem.js';
import type { Place } from '../engine/engine.js';
import type { Sessions } from '../sessions/sessions.js';
import type { Disposable } from '../signal.js';
import { contextId, contextRows, detailRows, namespaceId, namespaceRows, PAGE, serviceId, serviceRows } from './clusterRows.js';
import { treeItem } from './item.js';
import { noteRow, problemRows, type Row } from './row.js';

/** A row, and what it stands for. */
export interface ClusterNode {
  readonly row: Row;
  readonly context?: string;
  readonly namespace?: string;
  readonly service?: ServiceInfo;
  /** Of a row that is a port. */
  readonly port?: number;
}

interface Open {
  readonly node: ClusterNode;
  readonly watch: Disposable;
  /** Until the first answer. */
  readonly waiting: ((rows: ClusterNode[]) => void)[];
  services: Services | undefined;
  shown: number;
}

export class ClusterTree implements vscode.TreeDataProvider<ClusterNode>, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<ClusterNode | undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #open = new Map<string, Open>();
  readonly #subscriptions: Disposable[];
  #filter = '';
  /** Contexts' own namespaces. */
  #own = new Map<string, string>();

  constructor(
    private readonly reader: Reader,
    private readonly sessions: Sessions,
    private readonly holders: Holders,
    /** How the engine is told of a namespace that is seen here. */
    private readonly placeOf: (place: NamespaceOf) => Promise<Place>,
  ) {
    this.#subscriptions = [
      sessions.changed.listen(() => this.#redraw()),
      holders.changed.listen(() => this.#redraw()),
    ];
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
    this.#forget();
    this.#changed.dispose();
  }

  get filter(): string {
    return this.#filter;
  }

  set filter(text: string) {
    this.#filter = text;
    for (const open of this.#open.values()) open.shown = PAGE;
    this.#redraw();
  }

  /** Reads all anew. */
  refresh(): void {
    this.#forget();
    this.#changed.fire(undefined);
  }

  showMore({ context, namespace }: ClusterNode): void {
    if (context === undefined || namespace === undefined) return;
    const open = this.#open.get(namespaceId({ context, namespace }));
    if (open === undefined) return;
    open.shown += PAGE;
    this.#changed.fire(open.node);
  }

  /** What is not seen is not watched. */
  collapsed({ row }: ClusterNode): void {
    const { id } = row;
    for (const key of [...this.#open.keys()]) if (key === id || key.startsWith(`${id}/`)) this.#close(key);
  }

  getTreeItem(node: ClusterNode): vscode.TreeItem {
    const item = treeItem(node.row);
    const { command } = node.row;
    if (command !== undefined) item.command = { command: command.id, title: command.title, arguments: [node] };
    return item;
  }

  async getChildren(node?: ClusterNode): Promise<ClusterNode[]> {
    try {
      if (node === undefined) return await this.#contexts();
      if (node.context === undefined) return [];
      if (node.namespace === undefined) return await this.#namespaces(node.context);
      const place = { context: node.context, namespace: node.namespace };
      return await (node.service === undefined ? this.#services(place, node) : this.#details(place, node.service));
    } catch (error) {
      return problemRows(node?.row.id ?? 'contexts', problemOf(error)).map((row) => ({ row }));
    }
  }

  async #contexts(): Promise<ClusterNode[]> {
    const contexts = await this.reader.contexts();
    this.#own = new Map(contexts.all.map(({ name, namespace }) => [name, namespace]));
    const names = new Map(contexts.all.map(({ name }) => [contextId(name), name]));
    return contextRows(contexts).map((row) => ({ row, ...optional('context', names.get(row.id)) }));
  }

  async #namespaces(context: string): Promise<ClusterNode[]> {
    const own = this.#own.get(context) ?? 'default';
    const nodes = (names: readonly string[]) =>
      namespaceRows(context, own, names).map((row) => ({ row, context, namespace: row.label }));
    try {
      return nodes(await this.reader.namespaces(context));
    } catch (error) {
      const problem = problemOf(error);
      // Who may not list namespaces has at least one.
      if (problem.code !== 'forbidden') throw error;
      const note = noteRow(contextId(context), 'Other namespaces may not be listed');
      return [...nodes([own]), { row: { ...note, tooltip: problem.message } }];
    }
  }

  /** The rows wait for the first answer; the editor shows meanwhile that it is reading. */
  #services(place: NamespaceOf, node: ClusterNode): Promise<ClusterNode[]> | ClusterNode[] {
    const id = namespaceId(place);
    let open = this.#open.get(id);
    if (open === undefined) {
      const watch = this.reader.watchServices(place, (services) => this.#read(id, place, services));
      open = { node, watch, waiting: [], services: undefined, shown: PAGE };
      this.#open.set(id, open);
    }
    const { services, waiting } = open;
    if (services !== undefined) return this.#drawn(place, services, open.shown);
    return new Promise((resolve) => void waiting.push(resolve));
  }

  #read(id: string, place: NamespaceOf, services: Services): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    open.services = services;
    const held = services.services.filter(({ noted }) => noted).map(({ name }) => name);
    this.holders.look(id, () => this.placeOf(place), held);
    const waiting = open.waiting.splice(0);
    if (waiting.length === 0) this.#changed.fire(open.node);
    else for (const resolve of waiting) resolve(this.#drawn(place, services, open.shown));
  }

  #drawn(place: NamespaceOf, services: Services, shown: number): ClusterNode[] {
    const found = new Map(services.services.map((service) => [serviceId(place, service.name), service]));
    const rows = serviceRows(place, services, {
      filter: this.#filter,
      shown,
      ours: (service) => this.sessions.exchangeOf(service, place),
      holder: (service) => this.holders.of(namespaceId(place), service),
    });
    return rows.map((row) => ({ row, ...place, ...optional('service', found.get(row.id)) }));
  }

  async #details(place: NamespaceOf, service: ServiceInfo): Promise<ClusterNode[]> {
    const node = (row: Row) => ({ row, ...place });
    let rows: Row[];
    try {
      rows = detailRows(place, service, await this.reader.workloads(place, service.selector));
    } catch (error) {
      rows = [...detailRows(place, service, []).filter(({ kind }) => kind === 'port'), ...problemRows(serviceId(place, service.name), problemOf(error))];
    }
    return rows.map((row) => {
      const port = row.kind === 'port' ? Number.parseInt(row.label, 10) : undefined;
      return port === undefined ? node(row) : { ...node(row), service, port };
    });
  }

  #redraw(): void {
    for (const { node } of this.#open.values()) this.#changed.fire(node);
  }

  #forget(): void {
    for (const key of [...this.#open.keys()]) this.#close(key);
  }

  #close(key: string): void {
    const open = this.#open.get(key);
    this.#open.delete(key);
    open?.watch.dispose();
    for (const resolve of open?.waiting ?? []) resolve([]);
  }
}

function optional<K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [key in K]?: V };
}
