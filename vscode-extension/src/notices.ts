// What the user is told beside the views: problems, progress that can be given up, the log.

import * as vscode from 'vscode';

import { isCancelled, oneLine, problemOf, type Problem } from './engine/problem.js';

export class Notices implements vscode.Disposable {
  readonly log = vscode.window.createOutputChannel('kubetether', { log: true });

  dispose(): void {
    this.log.dispose();
  }

  /** Tells of it, with the log a click away. Resolves with the action that was taken. */
  async failed(what: string, problem: Problem, ...actions: string[]): Promise<string | undefined> {
    this.log.error(`${what}: ${oneLine(problem)} [${problem.code}]`);
    for (const detail of problem.details) this.log.error(`  ${detail}`);
    const taken = await vscode.window.showErrorMessage(`${what}: ${oneLine(problem)}.`, ...actions, 'Show Log');
    if (taken === 'Show Log') this.log.show(true);
    return taken;
  }

  /** Shows progress with Cancel while it lasts; `token` cancels, too. */
  during<T>(title: string, task: (signal: AbortSignal, progress: (what: string) => void) => Promise<T>, token?: vscode.CancellationToken): Promise<T> {
    const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
    return Promise.resolve(
      vscode.window.withProgress(options, async (progress, button) => {
        const giveUp = new AbortController();
        const listeners = [button, token].map((each) => each?.onCancellationRequested(() => giveUp.abort()));
        if (token?.isCancellationRequested === true) giveUp.abort();
        try {
          return await task(giveUp.signal, (message) => progress.report({ message }));
        } finally {
          for (const listener of listeners) listener?.dispose();
        }
      }),
    );
  }

  /** Runs what the user asked for; its failure is told, and giving it up is none. */
  async attempt<T>(what: string, task: () => Promise<T>): Promise<T | undefined> {
    try {
      return await task();
    } catch (error) {
      const problem = problemOf(error);
      if (!isCancelled(problem)) void this.failed(what, problem);
      return undefined;
    }
  }
}
