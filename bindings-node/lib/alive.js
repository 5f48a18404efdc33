'use strict';
// Who asks that the process stays alive: calls under way, and handles that were told to `ref()`.

// Taken now: test runners replace the global ones to control time.
const { setInterval } = require('node:timers');

const LONGEST = 0x7fffffff;

let timer;
let count = 0;

/** Keeps the process alive until its `release()`. */
class Alive {
  #held = true;

  constructor() {
    count += 1;
    if (count === 1) {
      timer ??= setInterval(() => {}, LONGEST);
      timer.ref();
    }
  }

  release() {
    if (!this.#held) return;
    this.#held = false;
    count -= 1;
    if (count === 0) timer.unref();
  }
}

/** Something that keeps the process alive when it is told to, until it is over. */
class Referable {
  #alive;
  #over = false;

  /** Keeps the process alive until it is over. */
  ref() {
    if (!this.#over) this.#alive ??= new Alive();
    return this;
  }

  /** Lets the process end: the default. */
  unref() {
    this.#alive?.release();
    this.#alive = undefined;
    return this;
  }

  /** @protected */
  _over() {
    this.#over = true;
    this.unref();
  }
}

module.exports = { Alive, Referable };
