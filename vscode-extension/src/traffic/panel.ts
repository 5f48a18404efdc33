// The traffic panel in the editor. A view and no editor tab: it stands beside the terminal and the debug console, where one looks
// while something is debugged, and the editor itself brings it back where it was. Its page is made anew each time it is shown; what
// it shows is kept by the feed.

import { randomBytes } from 'node:crypto';

import * as vscode from 'vscode';

import { problemOf } from '../engine/problem.js';
import type { Notices } from '../notices.js';
import type { TrafficFeed } from './feed.js';
import { fromPage, type ToPage } from './messages.js';

const VIEW = 'kubetether.traffic';

export class TrafficPanel implements vscode.WebviewViewProvider, vscode.Disposable {
  readonly #root: vscode.Uri;
  readonly #feed: TrafficFeed;
  readonly #notices: Notices;
  readonly #registered: vscode.Disposable;
  /** The latest: moved elsewhere, the panel is another view. */
  #view: vscode.WebviewView | undefined;
  /** The page that can be told. */
  #tell: ((message: ToPage) => void) | undefined;
  /** What the next page is to show. */
  #only: string | undefined;

  constructor(root: vscode.Uri, feed: TrafficFeed, notices: Notices) {
    this.#root = root;
    this.#feed = feed;
    this.#notices = notices;
    this.#registered = vscode.window.registerWebviewViewProvider(VIEW, this);
    // The window may have had another extension host before this one.
    this.#tellPaused();
  }

  dispose(): void {
    this.#registered.dispose();
  }

  /** Shows the panel: all of it, or one exchange, forward or session. */
  async show(key?: string): Promise<void> {
    // What is not known has no flows here: all are better than somebody else's.
    this.#only = (key === undefined ? undefined : this.#feed.keyOf(key)) ?? '';
    await vscode.commands.executeCommand(`${VIEW}.focus`);
    this.#choose();
  }

  /** Whether what is shown stands still. */
  pause(paused: boolean): void {
    if (paused) this.#feed.pause();
    else this.#feed.resume();
    this.#tellPaused();
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    const { webview } = view;
    this.#view = view;
    const dist = vscode.Uri.joinPath(this.#root, 'dist');
    const media = vscode.Uri.joinPath(this.#root, 'media');
    webview.options = { enableScripts: true, localResourceRoots: [dist, media] };
    webview.onDidReceiveMessage((message) => this.#view === view && this.#receive(webview, message));
    view.onDidChangeVisibility(() => this.#view === view && !view.visible && this.#hidden());
    view.onDidDispose(() => this.#view === view && this.#hidden());
    const uri = (folder: vscode.Uri, name: string) => webview.asWebviewUri(vscode.Uri.joinPath(folder, name)).toString();
    webview.html = html(webview.cspSource, uri(dist, 'traffic.js'), uri(media, 'traffic.css'));
  }

  /** To the menus. */
  #tellPaused(): void {
    void vscode.commands.executeCommand('setContext', 'kubetether.trafficPaused', this.#feed.paused);
  }

  #receive(webview: vscode.Webview, message: unknown): void {
    const said = fromPage(message);
    if (said?.type === 'ready') {
      this.#tell = (message) => {
        webview.postMessage(message).then(undefined, (error: unknown) => this.#notices.log.debug(`The traffic panel is not there: ${problemOf(error).message}`));
      };
      this.#feed.shown(this.#tell);
      this.#choose();
    } else if (said?.type === 'taken') {
      this.#feed.taken();
    } else if (said?.type === 'copy') {
      void vscode.env.clipboard.writeText(said.text);
    }
  }

  /** The next page says that it is ready. */
  #hidden(): void {
    this.#tell = undefined;
    this.#feed.hidden();
  }

  #choose(): void {
    if (this.#only === undefined || this.#tell === undefined) return;
    this.#tell({ type: 'only', key: this.#only });
    this.#only = undefined;
  }
}

/** No script but ours, nothing from anywhere else. */
function html(source: string, script: string, style: string): string {
  const nonce = randomBytes(16).toString('base64');
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src ${source}; script-src 'nonce-${nonce}'">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="stylesheet" href="${style}">
  <title>Traffic</title>
</head>
<body>
  <div id="tools">
    <input id="filter" type="search" placeholder="Filter, such as 10.1.0.7 refused" aria-label="Filter flows" spellcheck="false">
    <select id="only" aria-label="Exchange or forward"></select>
    <span id="summary"></span>
    <span id="said" role="status"></span>
  </div>
  <div id="grid" role="grid" aria-label="Flows" aria-readonly="true" aria-colcount="8" tabindex="0">
    <div id="head" role="row" aria-rowindex="1"></div>
    <div id="space" role="rowgroup"></div>
  </div>
  <p id="empty"></p>
  <script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}
