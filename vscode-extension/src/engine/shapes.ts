// What the engine answers, in the engine's own types.

import type { Safety } from 'kubetether';

export type { Cleaned, Event, Flow, FlowEnd, Flows, LogLevel, LogLine, Recovered, State, Stats, Status } from 'kubetether';

/** What holds callers should somebody die, for people. */
export type SafetyText = Pick<Safety, 'text'>;
