// The page of the traffic panel. Of its rows only those in sight are elements; each is used again for another row. Drawn once in a
// frame: first all that is measured, then all that is written.

import type { FromPage, ToPage } from '../messages.js';
import type { FlowRow } from '../table.js';
import { COLUMNS, FlowView, inSight } from '../view.js';

interface Kept {
  readonly filter?: string;
  readonly only?: string;
  /** The extension host that `only` is of. */
  readonly host?: string;
}

declare function acquireVsCodeApi(): { postMessage(message: FromPage): void; getState(): Kept | undefined; setState(state: Kept): void };

/** As in traffic.css. */
const ROW_HEIGHT = 22;

const vscode = acquireVsCodeApi();
const view = new FlowView();
const filter = find<HTMLInputElement>('filter');
const only = find<HTMLSelectElement>('only');
const summary = find('summary');
const said = find('said');
const empty = find('empty');
const grid = find('grid');
const space = find('space');
const head = find('head');
const elements: { readonly row: HTMLElement; readonly cells: readonly HTMLElement[] }[] = [];

/** What is chosen: a row's id. */
let chosen: string | undefined;
/** Whether the newest row stays in sight. */
let atEnd = true;
/** Set when what is chosen has to be brought into sight. */
let show = false;
let scrolled = 0;
let height = 0;
/** The extension host's clock less ours. */
let ahead = 0;
let drawing = false;
/** Told once it is drawn. */
let taken = 0;

for (const title of COLUMNS) head.append(cellOf('columnheader', title));
const { filter: text = '', only: key = '', host: formerly } = vscode.getState() ?? {};
let host = formerly;
filter.value = text;
view.filter = text;
choose(key);

window.addEventListener('message', ({ data }: MessageEvent<ToPage>) => {
  if (data.type === 'only') {
    choose(data.key);
    keep();
  } else {
    const before = view.paused;
    view.take(data);
    if (data.type === 'all' && data.host !== host) {
      // After a reload of the window keys mean others.
      host = data.host;
      choose('');
      keep();
    }
    ahead = data.now - Date.now();
    taken++;
    if (data.names !== undefined) offer();
    if (view.paused !== before) said.textContent = view.paused ? 'Paused' : 'Goes on';
  }
  draw();
});
filter.addEventListener('input', () => {
  view.filter = filter.value;
  keep();
  draw();
  said.textContent = `${view.rows.length} shown`;
});
only.addEventListener('change', () => {
  view.only = only.value;
  keep();
  draw();
});
grid.addEventListener(
  'scroll',
  () => {
    scrolled = grid.scrollTop;
    atEnd = scrolled + height >= space.clientHeight - ROW_HEIGHT;
    draw();
  },
  { passive: true },
);
new ResizeObserver(() => {
  height = grid.clientHeight - ROW_HEIGHT;
  draw();
}).observe(grid);
space.addEventListener('click', ({ target }) => {
  const row = (target as HTMLElement).closest<HTMLElement>('.row');
  chosen = row?.dataset['id'];
  draw();
});
grid.addEventListener('keydown', (event) => {
  const page = Math.max(1, Math.floor(height / ROW_HEIGHT) - 1);
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
  if (step !== undefined) move(step);
  else if (event.key === 'Escape') leave();
  else if (event.key === 'c' && (event.ctrlKey || event.metaKey)) copy();
  else return;
  event.preventDefault();
});
// Open flows grow older.
setInterval(draw, 1_000);
vscode.postMessage({ type: 'ready' });

function draw(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawNow();
    for (; taken > 0; taken--) vscode.postMessage({ type: 'taken' });
  });
}

function drawNow(): void {
  const { rows } = view;
  const whole = rows.length * ROW_HEIGHT;
  const at = chosen === undefined ? -1 : rows.findIndex(({ id }) => id === chosen);
  if (at < 0) chosen = undefined;
  // Where all is in sight nobody has left the end, unless for a row.
  if (at < 0 && whole <= height) atEnd = true;
  let wanted = atEnd ? Math.max(0, whole - height) : Math.min(scrolled, Math.max(0, whole - height));
  if (show && at >= 0) wanted = Math.max(Math.min(wanted, at * ROW_HEIGHT), (at + 1) * ROW_HEIGHT - height);
  show = false;

  space.style.height = `${whole}px`;
  if (wanted !== scrolled) {
    scrolled = wanted;
    grid.scrollTop = wanted;
  }
  const [first, end] = inSight(wanted, height, ROW_HEIGHT, rows.length);
  while (elements.length < end - first) elements.push(elementOf());
  const now = Date.now() + ahead;
  elements.forEach(({ row, cells }, index) => {
    const flow = rows[first + index];
    const hidden = first + index >= end || flow === undefined;
    if (row.hidden !== hidden) row.hidden = hidden;
    if (hidden) return;
    row.id = `flow-${flow.id}`;
    row.dataset['id'] = flow.id;
    row.style.transform = `translateY(${(first + index) * ROW_HEIGHT}px)`;
    row.ariaRowIndex = String(first + index + 2);
    row.ariaSelected = String(first + index === at);
    row.className = `row ${classOf(flow)}`;
    view.cells(flow, now).forEach((text, column) => {
      const cell = cells[column];
      if (cell !== undefined && cell.textContent !== text) {
        cell.textContent = text;
        cell.title = text;
      }
    });
  });
  grid.ariaRowCount = String(rows.length + 1);
  if (at >= 0) grid.setAttribute('aria-activedescendant', `flow-${chosen}`);
  else grid.removeAttribute('aria-activedescendant');
  set(summary, view.summary);
  set(empty, view.empty);
}

function classOf({ end }: FlowRow): string {
  return end === undefined ? 'open' : end.calm ? 'over' : 'broken';
}

function move(step: number): void {
  const { rows } = view;
  if (rows.length === 0) return;
  const at = rows.findIndex(({ id }) => id === chosen);
  const from = at >= 0 ? at : step > 0 ? -1 : rows.length;
  const next = Math.max(0, Math.min(rows.length - 1, from + step));
  chosen = rows[next]?.id;
  atEnd = next === rows.length - 1;
  show = true;
  draw();
}

/** Follows the newest again. */
function leave(): void {
  chosen = undefined;
  atEnd = true;
  draw();
}

function copy(): void {
  const row = view.rows.find(({ id }) => id === chosen);
  if (row === undefined) return;
  vscode.postMessage({ type: 'copy', text: view.cells(row, Date.now() + ahead).join('\t') });
  said.textContent = 'Copied';
}

/** Shows one exchange or forward only, or those of one session. */
function choose(key: string): void {
  view.only = key;
  offer(key);
}

/** The choices, with what is chosen among them. */
function offer(wanted = only.value): void {
  const choices: [string, string][] = [['', 'All'], ...view.names.map(({ key, label }): [string, string] => [key, label])];
  if (!choices.some(([key]) => key === wanted)) choices.push([wanted, wanted.endsWith('.') ? 'One session' : 'Not known any more']);
  only.replaceChildren(...choices.map(([key, label]) => new Option(label, key, false, key === wanted)));
}

/** Beyond the page, which is made anew when the panel is shown again. */
function keep(): void {
  vscode.setState({ filter: filter.value, only: only.value, ...(host === undefined ? {} : { host }) });
}

function elementOf(): (typeof elements)[number] {
  const row = document.createElement('div');
  row.role = 'row';
  const cells = COLUMNS.map(() => cellOf('gridcell', ''));
  row.append(...cells);
  space.append(row);
  return { row, cells };
}

function cellOf(role: string, text: string): HTMLElement {
  const cell = document.createElement('div');
  cell.role = role;
  cell.textContent = text;
  return cell;
}

function set(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function find<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no ${id}`);
  return element as T;
}
