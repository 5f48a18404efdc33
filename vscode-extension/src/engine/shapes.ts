// What the engine answers, in the engine's own types.

import type { Safety } from 'kubetether';

export type { Cleaned, Event, LogLevel, LogLine, Recovered, State, Stats, Status } from 'kubetether';

/** What holds callers should somebody die, for people. */
export type SafetyText = Pick<Safety, 'text'>;

// Until the package has them.
export interface Flows {
  readonly open: readonly Flow[];
  readonly ended: readonly Flow[];
  readonly missed: number;
  readonly next: number;
}

export interface Flow {
  readonly number: number;
  readonly handle: number;
  readonly mode: string;
  readonly protocol: string;
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly began: string;
  readonly duration: number;
  readonly sent: number;
  readonly received: number;
  readonly end?: FlowEnd;
}

export interface FlowEnd {
  readonly how: string;
  readonly reason?: string;
}
