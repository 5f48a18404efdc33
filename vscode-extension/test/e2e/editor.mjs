// A VS Code in a browser, with the extension from this folder. KUBETETHER_CODE_TOOLS is the folder that `setup` filled, where it is not the
// one of the test rung.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const EXTENSION = fileURLToPath(new URL('../..', import.meta.url));
export const TOOLS = process.env.KUBETETHER_CODE_TOOLS ?? path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'kubetether/code');
const ARTEFACTS = path.join(EXTENSION, '../target/code-e2e');
/** For one step of the user interface, on a machine that does much else. */
const STEP_MS = 120_000;

const SETTINGS = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'telemetry.telemetryLevel': 'off',
  'git.enabled': false,
  'debug.openDebug': 'neverOpen',
  'debug.internalConsoleOptions': 'neverOpen',
  // Listening programs of the tests are none of the editor's.
  'remote.autoForwardPorts': false,
};

/** Themes, and what the page has for them. */
const THEMES = { 'Dark Modern': 'vs-dark', 'Light Modern': 'vs', 'Dark High Contrast': 'hc-black', 'Light High Contrast': 'hc-light' };

/**
 * An editor with one window, which is returned; its `close` ends the editor. `name` is the folder of its artefacts, `files` by their
 * paths in the workspace, `env` of the extension host, `extensions` folders
 * of others to install, `inHost` tests to run in there, `vsix` our own package, to be installed instead of loaded from its folder.
 */
export async function openEditor({ name, files = {}, env = {}, settings = {}, extensions = [], inHost, vsix }) {
  // Short: sockets lie below it.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kc-'));
  const at = (part) => path.join(folder, part);
  for (const part of ['home', 'data/User', 'extensions', 'browser', 't']) fs.mkdirSync(at(part), { recursive: true });
  for (const extension of extensions) fs.cpSync(extension, path.join(at('extensions'), path.basename(extension)), { recursive: true });
  write(at('data/User/settings.json'), JSON.stringify({ ...SETTINGS, ...settings }));
  write(at('config.yaml'), 'auth: none\n');
  const artefacts = path.join(ARTEFACTS, name);
  fs.rmSync(artefacts, { recursive: true, force: true });
  fs.mkdirSync(artefacts, { recursive: true });

  const port = await freePort();
  const log = fs.openSync(path.join(artefacts, 'server.log'), 'w');
  const program = path.join(TOOLS, 'node_modules/code-server/out/node/entry.js');
  const folders = ['--config', at('config.yaml'), '--user-data-dir', at('data'), '--extensions-dir', at('extensions')];
  if (vsix !== undefined) {
    await promisify(execFile)(process.execPath, [program, ...folders, '--install-extension', vsix], { env: hostEnv(folder, env), cwd: folder, timeout: STEP_MS });
  }
  const server = spawn(
    process.execPath,
    [
      program,
      ...folders,
      ...['--auth', 'none', '--bind-addr', `127.0.0.1:${port}`, '--disable-telemetry', '--disable-update-check'],
      ...['--disable-workspace-trust', '--disable-getting-started-override', '--disable-proxy'],
    ],
    // A process group of its own: server, extension host and terminals end together.
    { env: hostEnv(folder, env), cwd: folder, stdio: ['ignore', log, log], detached: true },
  );
  fs.closeSync(log);
  const editor = new Editor(folder, artefacts, server, port, vsix === undefined);
  try {
    await editor.start();
    return await editor.window('ws', files, inHost);
  } catch (error) {
    await editor.close();
    throw error;
  }
}

/** code-server and the browser. */
class Editor {
  #folder;
  #artefacts;
  #server;
  #port;
  #fromFolder;
  #browser;

  constructor(folder, artefacts, server, port, fromFolder) {
    this.#folder = folder;
    this.#artefacts = artefacts;
    this.#server = server;
    this.#port = port;
    this.#fromFolder = fromFolder;
  }

  get group() {
    return this.#server.pid;
  }

  async start() {
    await answering(`http://127.0.0.1:${this.#port}/healthz`, this.#server);
    const { chromium } = createRequire(path.join(TOOLS, 'x.js'))('playwright-core');
    const home = path.join(this.#folder, 'home');
    this.#browser = await chromium.launchPersistentContext(path.join(this.#folder, 'browser'), {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      timeout: STEP_MS,
      env: { ...process.env, HOME: home, TMPDIR: path.join(this.#folder, 't') },
      viewport: { width: 1280, height: 800 },
      args: [
        ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
        ...['--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
        // A page that is not in front goes on as one that is.
        ...['--disable-dev-shm-usage', '--disable-renderer-backgrounding', '--disable-background-timer-throttling', '--disable-backgrounding-occluded-windows'],
      ],
    });
  }

  /** Opens a window on the folder `name`, with these files in it, or on the workspace file in it. */
  async window(name, files = {}, inHost = undefined) {
    const workspace = path.join(this.#folder, name);
    fs.mkdirSync(workspace, { recursive: true });
    for (const [file, text] of Object.entries(files)) write(path.join(workspace, file), text);
    const workspaceFile = Object.keys(files).find((file) => file.endsWith('.code-workspace'));
    const fresh = this.#browser.pages().find((page) => page.url() === 'about:blank');
    const window = new Window(this, workspace, this.#artefacts, fresh ?? (await this.#browser.newPage()));
    const remote = (file) => `vscode-remote://127.0.0.1:${this.#port}${file}`;
    const payload = this.#fromFolder ? [['extensionDevelopmentPath', remote(EXTENSION.replace(/\/$/, ''))]] : [];
    if (inHost !== undefined) {
      payload.push(['extensionTestsPath', remote(inHost)]);
      await window.expectTests();
    }
    const query = new URLSearchParams({
      ...(workspaceFile === undefined ? { folder: workspace } : { workspace: path.join(workspace, workspaceFile) }),
      payload: JSON.stringify(payload),
    });
    await window.open(`http://127.0.0.1:${this.#port}/?${query}`);
    return window;
  }

  async close() {
    await this.#browser?.close().catch(() => {});
    const ended = this.#server.exitCode === null && this.#server.signalCode === null ? once(this.#server, 'exit') : undefined;
    try {
      process.kill(-this.#server.pid, 'SIGTERM');
    } catch {
      // It is gone.
    }
    await ended;
    fs.rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

class Window {
  page;
  workspace;
  /** What the tests in its extension host came to: { code, lines }. */
  inHost;
  #editor;
  #artefacts;
  #failed = deferred();

  constructor(editor, workspace, artefacts, page) {
    this.#editor = editor;
    this.workspace = workspace;
    this.#artefacts = artefacts;
    this.page = page;
    this.#failed.promise.catch(() => {});
    page.setDefaultTimeout(STEP_MS);
    const log = path.join(artefacts, 'console.log');
    page.on('console', (message) => {
      fs.appendFileSync(log, `${message.type()} ${message.text()}\n`);
      // It shows up nowhere else.
      if (/Activating extension '[^']+' failed/.test(message.text())) this.#failed.reject(new Error(message.text()));
    });
  }

  async open(url) {
    await this.page.goto(url);
    await this.page.locator('.monaco-workbench').waitFor();
  }

  /** The editor's page calls these two when tests in its extension host say something and when they end. */
  async expectTests() {
    const lines = [];
    const ended = deferred();
    this.inHost = ended.promise;
    await this.page.exposeFunction('codeAutomationLog', (type, args) => /^(not )?ok /.test(String(args[0])) && void lines.push(String(args[0])));
    await this.page.exposeFunction('codeAutomationExit', (code) => ended.resolve({ code, lines }));
  }

  /** Another window of the same editor. */
  another(name, files) {
    return this.#editor.window(name, files);
  }

  /** Does the step, unless the extension could not be activated. A failure leaves a picture. */
  async step(what, task) {
    try {
      return await Promise.race([task(this.page), this.#failed.promise]);
    } catch (error) {
      await this.picture(`failed-${what.replace(/\W+/g, '-')}`);
      const rows = await this.page.locator('.pane-body .monaco-list-row').evaluateAll((found) => found.map((row) => row.ariaLabel)).catch(() => []);
      throw new Error(`${what}: ${error.message}\nrows: ${rows.join('\n      ')}`, { cause: error });
    }
  }

  /** Shows the extension's views. */
  async showViews() {
    await this.page.locator('.activitybar .action-label[aria-label="kubetether"]').click();
  }

  async theme(name) {
    await this.command('Preferences: Color Theme');
    const input = this.page.locator('.quick-input-widget input[placeholder^="Select Color Theme"]');
    await input.fill(name);
    await this.page.locator('.quick-input-list .monaco-list-row.focused', { hasText: name }).waitFor();
    await input.press('Enter');
    await this.page.locator(`.monaco-workbench.${THEMES[name]}`).waitFor();
    await this.page.locator('.quick-input-widget').waitFor({ state: 'hidden' });
  }

  /** A row of a view, by how it is read out. */
  row(spoken) {
    return this.page.locator(`.monaco-list-row[aria-label^="${spoken.replaceAll('"', '\\"')}"]`);
  }

  /** Clicks one of a row's actions. */
  async action(spoken, title) {
    const row = this.row(spoken).first();
    await row.hover();
    await row.locator(`.action-label[aria-label^="${title}"]`).click();
  }

  /** Exchanges a Service from its row, for this local port. */
  async exchange(service, port) {
    await this.row(`Service ${service}, ports`).waitFor();
    await this.action(`Service ${service}`, 'Exchange Service');
    await this.answer(`Exchange Service · ${service}`, String(port));
    await this.row(`${service} comes to 127.0.0.1:${port}, active`).waitFor();
  }

  /** The page of the traffic panel: it lies two frames deep. */
  get traffic() {
    return this.page.frameLocator('iframe.webview.ready').frameLocator('iframe[title="Traffic"]');
  }

  async showTraffic() {
    await this.command('kubetether: Show Traffic');
    await this.traffic.locator('#grid').waitFor();
  }

  /** One of the actions in the panel's title. */
  async panelAction(title) {
    await this.page.locator(`.part.panel .title-actions .action-label[aria-label^="${title}"]`).click();
  }

  /** Opens a file, and sets a breakpoint at a line. */
  async breakpoint(file, line) {
    await this.page.keyboard.press('Control+P');
    const input = this.page.locator('.quick-input-widget input');
    await input.fill(`${file}:${line}`);
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: file }).first().waitFor();
    await input.press('Enter');
    await this.page.locator('.monaco-editor.focused .view-lines').waitFor();
    await this.page.locator('.statusbar-item', { hasText: `Ln ${line},` }).waitFor();
    await this.page.keyboard.press('F9');
    await this.page.locator('.codicon-debug-breakpoint, .codicon-debug-breakpoint-unverified').first().waitFor();
  }

  /** Presses F5, for this launch configuration; it may be chosen already. */
  async f5(name, { chosen = false } = {}) {
    if (!chosen) await this.choose(name);
    const sign = this.page.locator('.debug-toolbar, .notification-toast').first();
    // An editor that does not know its debuggers yet does nothing; one that starts already does nothing a second time.
    for (const end = Date.now() + STEP_MS; Date.now() < end; ) {
      await this.page.keyboard.press('F5');
      if (await sign.waitFor({ timeout: 5_000 }).then(() => true, () => false)) return;
    }
    throw new Error(`F5 does not start ${name}`);
  }

  /** Chooses a launch configuration. Until the editor has read all of them it may choose another one itself. */
  async choose(name) {
    const choice = this.page.locator('.start-debug-action-item select');
    if (!(await choice.isVisible())) await this.page.locator('.activitybar .action-label[aria-label^="Run and Debug"]').click();
    for (const end = Date.now() + STEP_MS; Date.now() < end; ) {
      await choice.selectOption({ label: name });
      await this.page.waitForTimeout(500);
      if ((await choice.evaluate((select) => select.selectedOptions[0]?.label)) === name) return;
    }
    throw new Error(`${name} cannot be chosen`);
  }

  /** Answers the question with this title. */
  async answer(title, text) {
    await this.#question(title);
    const input = this.page.locator('.quick-input-widget input');
    await input.fill(text);
    await input.press('Enter');
  }

  /** Answers it with one of its choices. */
  async pick(title, text) {
    await this.#question(title);
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: text }).first().click();
  }

  #question(title) {
    return this.page.locator('.quick-input-widget .quick-input-title', { hasText: title }).waitFor();
  }

  async command(title) {
    await this.page.keyboard.press('F1');
    await this.page.locator('.quick-input-widget input').fill(`>${title}`);
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: title }).first().click();
  }

  /** The extension's item in the status bar, with this text. */
  status(text) {
    return this.page.locator('[id="kubetether.kubetether.kubetether.status"]', { hasText: text });
  }

  async notification(text) {
    await this.page.locator('.notification-toast', { hasText: text }).first().waitFor();
  }

  /** Loads the window anew. */
  async reload() {
    await this.page.reload();
    await this.page.locator('.monaco-workbench').waitFor();
  }

  /** The extension host, of an editor with one window. */
  extensionHost() {
    const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const found = pids.filter((pid) => {
      try {
        const group = Number(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[2]);
        return group === this.#editor.group && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=extensionHost');
      } catch {
        // It ended meanwhile.
        return false;
      }
    });
    if (found.length !== 1) throw new Error(`there are ${found.length} extension hosts`);
    return Number(found[0]);
  }

  async picture(name) {
    await this.page.mouse.move(900, 600).catch(() => {});
    await this.page.locator('.monaco-hover:visible').first().waitFor({ state: 'hidden', timeout: 3_000 }).catch(() => {});
    const file = path.join(this.#artefacts, `${name}.png`);
    await this.page.screenshot({ path: file }).catch(() => {});
    return file;
  }

  /** Ends the editor with all its windows. */
  close() {
    return this.#editor.close();
  }
}

/** This process's, without what it has of an editor around it, and with homes of its own. */
function hostEnv(folder, env) {
  const own = Object.entries(process.env).filter(([name]) => !/^(XDG_|VSCODE_|CODE_SERVER_|PORT$|PASSWORD$|NODE_TEST_CONTEXT$|KUBECONFIG$)/.test(name));
  return {
    ...Object.fromEntries(own),
    HOME: path.join(folder, 'home'),
    TMPDIR: path.join(folder, 't'),
    EXTENSIONS_GALLERY: '{"serviceUrl":""}',
    ...env,
  };
}

async function answering(url, server) {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`code-server ended with ${server.exitCode}`);
    const response = await fetch(url).catch(() => undefined);
    if (response?.ok === true) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Makes a picture one of README's, where those are wanted: KUBETETHER_PICTURES is their folder. */
export function keep(file, name) {
  const folder = process.env.KUBETETHER_PICTURES;
  if (folder !== undefined) fs.copyFileSync(file, path.join(folder, name));
}

/** A program of the user's, which answers with this; its port. */
export async function serve(t, answer) {
  const server = http.createServer((_, response) => response.end(answer)).listen(0, '127.0.0.1');
  t.after(() => (server.closeAllConnections(), server.close()));
  await once(server, 'listening');
  return server.address().port;
}

/** Until a program does, at this local port. */
export async function listening(port) {
  const dial = () =>
    new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('connect', () => (socket.destroy(), resolve(true)));
      socket.on('error', () => resolve(false));
    });
  const end = Date.now() + STEP_MS;
  while (!(await dial())) {
    if (Date.now() > end) throw new Error(`nothing listens at ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

function write(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}
