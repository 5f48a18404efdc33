// Launch configurations with a block, when they are started: what the block asks for is made, and the configuration is
// launched with its addresses. Without a block nothing is touched, and nothing is loaded.

import * as vscode from 'vscode';

import { Mistake, problemOf, isCancelled } from '../engine/problem.js';
import type { Place } from '../engine/engine.js';
import type { Notices } from '../notices.js';
import { withAddresses, type Configuration } from './addresses.js';
import { readBlock, type Block } from './block.js';
import type { Runs } from './runs.js';

/** In the launched configuration: the run that it belongs to. Sessions that a debugger makes of it may have it, too. */
const RUN = '__kubetetherRun';

/** Where a folder's block leads; `own` is what it says itself. */
type PlaceFor = (folder: vscode.WorkspaceFolder | undefined, own: Block) => Promise<Place>;

export function registerDebugging(runs: Runs, placeFor: PlaceFor, notices: Notices): vscode.Disposable {
  return vscode.Disposable.from(
    vscode.debug.registerDebugConfigurationProvider('*', new Provider(runs, placeFor, notices)),
    vscode.debug.registerDebugAdapterTrackerFactory('*', {
      createDebugAdapterTracker: (session) => tracker(runs, notices, session),
    }),
    // Beside the tracker: a debugger that never started has none.
    vscode.debug.onDidTerminateDebugSession((session) => detach(runs, notices, session)),
  );
}

class Provider implements vscode.DebugConfigurationProvider {
  readonly #runs: Runs;
  readonly #placeFor: PlaceFor;
  readonly #notices: Notices;

  constructor(runs: Runs, placeFor: PlaceFor, notices: Notices) {
    this.#runs = runs;
    this.#placeFor = placeFor;
    this.#notices = notices;
  }

  /** Comes last: variables are filled in, the task before the launch is done, other extensions have added theirs. */
  async resolveDebugConfigurationWithSubstitutedVariables(
    folder: vscode.WorkspaceFolder | undefined,
    configuration: vscode.DebugConfiguration,
    token?: vscode.CancellationToken,
  ): Promise<vscode.DebugConfiguration | undefined> {
    const value = blockOf(folder, configuration);
    // A session that a debugger made of one of ours has its run already.
    if (value === undefined || configuration[RUN] !== undefined) return configuration;
    try {
      if (!vscode.workspace.isTrusted) throw new Mistake('untrusted', 'This workspace is not trusted', 'Trust it to reach clusters');
      const block = readBlock(value);
      return await this.#start(folder, configuration, block, await this.#placeFor(folder, block), token);
    } catch (error) {
      const problem = problemOf(error);
      if (!isCancelled(problem)) void this.#notices.failed(`${configuration.name} was not started`, problem);
      // Nothing runs.
      return undefined;
    }
  }

  async #start(
    folder: vscode.WorkspaceFolder | undefined,
    configuration: vscode.DebugConfiguration,
    block: Block,
    place: Place,
    token: vscode.CancellationToken | undefined,
  ): Promise<vscode.DebugConfiguration> {
    const of = JSON.stringify([folder?.uri.toString() ?? null, configuration.name]);
    const started = await this.#notices.during(
      `Connecting ${configuration.name} to the cluster`,
      (signal, progress) => this.#runs.start(of, place, block, { signal, progress }),
      token,
    );
    if (block.exchange !== undefined && !started.kept) this.#follow(started.id, started.exchanged, block.exchange.service, place, block);
    const { kubetether: _, ...rest } = configuration;
    // The debugger is not told the block: some refuse what they do not know.
    return { ...withAddresses(rest as Configuration, started.addresses), [RUN]: started.id };
  }

  /** The program is launched meanwhile. */
  #follow(id: string, exchanged: Promise<void>, service: string, place: Place, block: Block): void {
    exchanged.catch(async (error: unknown) => {
      const problem = problemOf(error);
      if (isCancelled(problem)) return;
      const again = await this.#notices.failed(`${service} was not exchanged`, problem, 'Try Again');
      if (again !== 'Try Again') return;
      const retried = this.#notices.during(`Exchanging ${service}`, (signal, progress) =>
        this.#runs.exchangeAgain(id, place, block, { signal, progress }),
      );
      this.#follow(id, retried, service, place, block);
    });
  }
}

/** That of the configuration, else that of the setting. */
function blockOf(folder: vscode.WorkspaceFolder | undefined, configuration: vscode.DebugConfiguration): unknown {
  const own: unknown = configuration['kubetether'];
  if (own !== undefined) return own;
  const settings = vscode.workspace.getConfiguration('kubetether', folder ?? null);
  return settings.get<Record<string, unknown>>('launch', {})[configuration.name];
}

function tracker(runs: Runs, notices: Notices, session: vscode.DebugSession): vscode.DebugAdapterTracker | undefined {
  const id = runOf(session);
  if (id === undefined) return undefined;
  return {
    onWillStartSession: () => runs.attached(id, session.id),
    onWillReceiveMessage: (message: { command?: string; arguments?: { restart?: unknown } }) => {
      const ends = message.command === 'disconnect' || message.command === 'terminate';
      if (ends && message.arguments?.restart === true) runs.restarting(id);
    },
    onWillStopSession: () => detach(runs, notices, session),
    onExit: () => detach(runs, notices, session),
  };
}

function detach(runs: Runs, notices: Notices, session: vscode.DebugSession): void {
  const id = runOf(session);
  if (id === undefined) return;
  runs.detached(id, session.id).catch((error: unknown) => {
    void notices.failed(`What ${session.name} held was not put back`, problemOf(error));
  });
}

function runOf(session: vscode.DebugSession): string | undefined {
  const id: unknown = session.configuration[RUN];
  return typeof id === 'string' ? id : undefined;
}
