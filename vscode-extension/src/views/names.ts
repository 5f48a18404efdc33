// Names of variables for forwards that were begun without one. Pure.

/** `db:5432` is DB; a second `db` is DB_3306, by its port. */
export function namesOf<T extends { readonly target: string }>(forwards: readonly T[]): Map<string, T> {
  const named = new Map<string, T>();
  for (const forward of forwards) {
    const [, host = '', port = ''] = /^(?:[a-z]+\/)?([^:/]+):(\d+)/i.exec(forward.target) ?? [];
    const word = host.replace(/[^A-Za-z0-9]+/g, '_').toUpperCase();
    // A variable begins with no digit.
    const name = /^[A-Z_]/.test(word) ? word : `_${word}`;
    named.set(named.has(name) ? `${name}_${port}` : name, forward);
  }
  return named;
}
