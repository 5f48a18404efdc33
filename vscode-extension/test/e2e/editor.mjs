// A VS Code in a browser, with the extension from this folder. KUBETETHER_CODE_TOOLS is the folder that `setup` filled.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const EXTENSION = fileURLToPath(new URL('../..', import.meta.url));
const TOOLS = process.env.KUBETETHER_CODE_TOOLS ?? path.join(EXTENSION, '../target/code-tools');
const ARTEFACTS = path.join(EXTENSION, '../target/code-e2e');
/** For one step of the user interface, on a machine that does much else. */
const STEP_MS = 60_000;

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
};

/** `files` by their paths in the workspace; `env` of the extension host. */
export async function openEditor({ name, files = {}, env = {}, settings = {} }) {
  // Short: sockets lie below it.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kc-'));
  const at = (part) => path.join(folder, part);
  for (const part of ['home', 'data/User', 'extensions', 'browser', 'ws', 't']) fs.mkdirSync(at(part), { recursive: true });
  for (const [file, text] of Object.entries(files)) write(path.join(at('ws'), file), text);
  write(at('data/User/settings.json'), JSON.stringify({ ...SETTINGS, ...settings }));
  write(at('config.yaml'), 'auth: none\n');
  const artefacts = path.join(ARTEFACTS, name);
  fs.rmSync(artefacts, { recursive: true, force: true });
  fs.mkdirSync(artefacts, { recursive: true });

  const port = await freePort();
  const log = fs.openSync(path.join(artefacts, 'server.log'), 'w');
  const server = spawn(
    process.execPath,
    [
      path.join(TOOLS, 'node_modules/code-server/out/node/entry.js'),
      ...['--config', at('config.yaml'), '--user-data-dir', at('data'), '--extensions-dir', at('extensions')],
      ...['--auth', 'none', '--bind-addr', `127.0.0.1:${port}`, '--disable-telemetry', '--disable-update-check'],
      ...['--disable-workspace-trust', '--disable-getting-started-override', '--disable-proxy', at('ws')],
    ],
    // A process group of its own: server, extension host and terminals end together.
    { env: hostEnv(folder, env), cwd: at('ws'), stdio: ['ignore', log, log], detached: true },
  );
  const editor = new Editor(folder, artefacts, server);
  try {
    await editor.open(port);
    return editor;
  } catch (error) {
    await editor.close();
    throw error;
  }
}

class Editor {
  page;
  #folder;
  #artefacts;
  #server;
  #browser;
  #failed = Promise.withResolvers?.() ?? deferred();

  constructor(folder, artefacts, server) {
    this.#folder = folder;
    this.#artefacts = artefacts;
    this.#server = server;
    this.#failed.promise.catch(() => {});
  }

  get workspace() {
    return path.join(this.#folder, 'ws');
  }

  async open(port) {
    await answering(`http://127.0.0.1:${port}/healthz`, this.#server);
    const { chromium } = createRequire(path.join(TOOLS, 'x.js'))('playwright-core');
    const home = path.join(this.#folder, 'home');
    this.#browser = await chromium.launchPersistentContext(path.join(this.#folder, 'browser'), {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      headless: true,
      env: { ...process.env, HOME: home, TMPDIR: path.join(this.#folder, 't') },
      viewport: { width: 1280, height: 800 },
      args: [
        ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
        ...['--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
      ],
    });
    this.page = this.#browser.pages()[0] ?? (await this.#browser.newPage());
    this.page.setDefaultTimeout(STEP_MS);
    const console_ = fs.createWriteStream(path.join(this.#artefacts, 'console.log'));
    this.page.on('console', (message) => {
      console_.write(`${message.type()} ${message.text()}\n`);
      // It shows up nowhere else.
      if (/Activating extension '[^']+' failed/.test(message.text())) this.#failed.reject(new Error(message.text()));
    });
    const query = new URLSearchParams({
      folder: this.workspace,
      payload: JSON.stringify([['extensionDevelopmentPath', `vscode-remote://127.0.0.1:${port}${EXTENSION.replace(/\/$/, '')}`]]),
    });
    await this.page.goto(`http://127.0.0.1:${port}/?${query}`);
    await this.page.locator('.monaco-workbench').waitFor();
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

  /** A row of a view, by how it is read out. */
  row(spoken) {
    return this.page.locator(`.monaco-list-row[aria-label^="${spoken}"]`);
  }

  /** Clicks one of a row's actions. */
  async action(spoken, title) {
    const row = this.row(spoken).first();
    await row.hover();
    await row.locator(`.action-label[aria-label^="${title}"]`).click();
  }

  /** Answers the question that is open. */
  async answer(text) {
    const input = this.page.locator('.quick-input-widget input');
    await input.waitFor();
    await input.fill(text);
    await input.press('Enter');
  }

  async command(title) {
    await this.page.keyboard.press('F1');
    await this.page.locator('.quick-input-widget input').fill(`>${title}`);
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: title }).first().click();
  }

  async notification(text) {
    await this.page.locator('.notification-toast', { hasText: text }).first().waitFor();
  }

  /** Loads the window anew. */
  async reload() {
    await this.page.reload();
    await this.page.locator('.monaco-workbench').waitFor();
  }

  /** The extension host of the window that is open. */
  extensionHost() {
    const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const found = pids.filter((pid) => {
      try {
        const group = Number(fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[2]);
        return group === this.#server.pid && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=extensionHost');
      } catch {
        // It ended meanwhile.
        return false;
      }
    });
    if (found.length !== 1) throw new Error(`there are ${found.length} extension hosts`);
    return Number(found[0]);
  }

  async picture(name) {
    await this.page?.screenshot({ path: path.join(this.#artefacts, `${name}.png`) }).catch(() => {});
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

async function freePort() {
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

export { freePort };
