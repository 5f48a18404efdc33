// How a flow ended, in words. Pure.

import type { FlowEnd } from '../engine/engine.js';

const WORDS: Readonly<Record<string, string>> = {
  finished: 'finished',
  closed: 'closed by stopping',
  reset_here: 'reset on this machine',
  reset_there: 'reset in the cluster',
  refused: 'refused',
  given_up: 'given up by its caller',
  idle: 'ended, being idle',
  lost: 'lost',
};
/** Nobody has to look. */
const CALM = new Set(['finished', 'closed', 'idle']);

export function endOf({ how, reason }: FlowEnd): { text: string; calm: boolean } {
  const word = WORDS[how] ?? how.replaceAll('_', ' ');
  return { text: reason === undefined ? word : `${word}: ${reason}`, calm: CALM.has(how) };
}
