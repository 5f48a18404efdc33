// One row of a view, before the editor sees it.

export interface Row {
  /** The same for the same thing, so that what is open stays open. */
  readonly id: string;
  readonly label: string;
  readonly description?: string;
  readonly tooltip?: string;
  /** A codicon and, where it says something, a theme colour. */
  readonly icon?: { readonly name: string; readonly color?: string };
  /** Which actions it has: `viewItem` in package.json. */
  readonly kind:
    | 'context'
    | 'namespace'
    | 'service'
    | 'service-ours'
    | 'service-held'
    | 'port'
    | 'workload'
    | 'session'
    | 'exchange'
    | 'forward'
    | 'note'
    | 'problem'
    | 'more';
  readonly expand?: 'collapsed' | 'expanded';
  /** What a screen reader says. */
  readonly spoken: string;
  /** A click on it runs this. */
  readonly command?: { readonly id: string; readonly title: string };
}

/** Why nothing is shown here and, in a row of its own since rows are narrow, what to do. A click on either tries again. */
export function problemRows(id: string, { message, hint }: { readonly message: string; readonly hint?: string }): Row[] {
  const whole = hint === undefined ? message : `${message}.\n${hint}.`;
  const base = { tooltip: whole, kind: 'problem', command: { id: 'kubetether.refresh', title: 'Refresh' } } as const;
  const icon = { name: 'warning', color: 'problemsWarningIcon.foreground' };
  const problem = { ...base, id: `${id}/problem`, label: message, icon, spoken: message };
  return hint === undefined ? [problem] : [problem, { ...base, id: `${id}/hint`, label: hint, icon: { name: 'lightbulb' }, spoken: hint }];
}

/** Something that is so, and no row to act on. */
export function noteRow(id: string, label: string): Row {
  return { id: `${id}/note`, label, kind: 'note', spoken: label };
}
