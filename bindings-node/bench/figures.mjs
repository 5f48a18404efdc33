// Figures with their targets, as a table and as tests/src/bin/bench writes them.

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

export class Figures {
  #build;
  #all = [];

  /** `build` is that of the native module: a debug build has no figures to speak of. */
  constructor(build) {
    this.#build = build;
  }

  /** Adds one, of which `of` makes the value of the runs, and gives its row. */
  add(id, unit, runs, target, of = median) {
    const [value, least, most] = [of(runs), Math.min(...runs), Math.max(...runs)];
    const reached = value <= target;
    const compared = { ratio: value / target, of: 'target', beside: null };
    this.#all.push({ id, value, unit, ...compared, least, most, aim: 'at most', target, reached, build: this.#build });
    const spread = `${least.toFixed(2)}..${most.toFixed(2)}`;
    return `${id.padEnd(20)} ${`${value.toFixed(2)} ${unit}`.padEnd(12)} ${spread.padEnd(16)} <= ${target} ${reached ? 'reached' : 'MISSED'}`;
  }

  /** Those that count and are not what they should be. */
  get missed() {
    return this.#build === 'release' ? this.#all.filter(({ reached }) => !reached).map(({ id }) => id) : [];
  }

  toJSON() {
    return this.#all;
  }
}

export { median };
