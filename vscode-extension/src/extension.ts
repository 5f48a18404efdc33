// Wiring, and nothing else.

import * as vscode from 'vscode';

import { apiOf, type KubetetherApi } from './api.js';
import { COMMANDS } from './commands.js';
import { Ctx } from './ctx.js';
import { registerCompletion } from './debug/completion.js';
import { registerDebugging } from './debug/provider.js';
import { registerStatusBar } from './views/statusBar.js';

let ctx: Ctx | undefined;

export function activate(context: vscode.ExtensionContext): KubetetherApi {
  const made = new Ctx(context.extensionUri, context.workspaceState);
  ctx = made;
  context.subscriptions.push(
    registerStatusBar(made.sessions),
    registerDebugging(made.runs, (folder, block) => made.placeFor(folder, block), made.notices),
    registerCompletion(made.reader, (uri, own) => made.seenFrom(uri, own)),
    ...Object.entries(COMMANDS).map(([id, run]) => vscode.commands.registerCommand(id, (node) => run(made, node))),
  );
  return apiOf(made.sessions);
}

/** The editor waits for it when a window closes or reloads, some seconds. */
export async function deactivate(): Promise<void> {
  await ctx?.close();
  ctx = undefined;
}
