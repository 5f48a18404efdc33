// An error, as the user reads it: what failed, why, and what to do. The engine's errors say all three.

/** What went wrong, for people. */
export interface Problem {
  /** The engine's code, as `forbidden`, or `cancelled`, or `internal`. */
  readonly code: string;
  /** One sentence. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
  /** The chain of causes and what the cluster says, for the log. */
  readonly details: readonly string[];
}

/** Thrown by the extension's own parts, with a hint. */
export class Mistake extends Error {
  override readonly name = 'Mistake';

  constructor(
    readonly code: string,
    message: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function problemOf(error: unknown): Problem {
  if (isAbort(error)) return { code: 'cancelled', message: 'Cancelled', details: [] };
  if (!(error instanceof Error)) return { code: 'internal', message: String(error), details: [] };
  const { code, hint, evidence } = error as { code?: unknown; hint?: unknown; evidence?: unknown };
  return {
    code: typeof code === 'string' ? code : 'internal',
    message: sentence(error.message),
    ...(typeof hint === 'string' ? { hint: sentence(hint) } : {}),
    details: [...causes(error), ...(Array.isArray(evidence) ? evidence.map(String) : [])],
  };
}

/** Given up by the user: nothing to tell. */
export function isCancelled(problem: Problem): boolean {
  return problem.code === 'cancelled';
}

/** Message and hint in one line, as a notification has it. */
export function oneLine({ message, hint }: Problem): string {
  return hint === undefined ? message : `${message}. ${hint}`;
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'Canceled');
}

function causes(error: Error): string[] {
  const found: string[] = [];
  // Bounded: a cause may be its own.
  for (let at = error.cause, depth = 0; at instanceof Error && depth < 16; at = at.cause, depth++) found.push(at.message);
  return found;
}

/** A name, as `kubetether.port` or `services/orders`, stays as it is. */
function sentence(text: string): string {
  const trimmed = text.trim().replace(/\.$/, '');
  return /^[\w-]+[./:]\w/.test(trimmed) ? trimmed : trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
}
