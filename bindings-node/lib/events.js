'use strict';

const { Alive, Referable } = require('./alive.js');
const { ask, call, release } = require('./native.js');
const unclosed = require('./unclosed.js');

const CLOSED = new Error('the subscription was closed');
const END = { done: true, value: undefined };

/**
 * One subscription to what happens in a session. The engine holds 256 happenings for it; the oldest give way, and an
 * event `dropped` tells how many. It does not keep the process alive, unless told to by `ref()`.
 */
class Events extends Referable {
  #handle;
  #signal;
  #stop = new AbortController();
  #last = Promise.resolve();
  #dropped = 0;
  /** The session is over: what is left to tell comes at once, and is waited for. */
  #ending = false;
  #waiting = false;
  #toTheEnd;

  constructor(handle, signal) {
    super();
    this.#handle = handle;
    this.#signal = signal === undefined ? this.#stop.signal : AbortSignal.any([this.#stop.signal, signal]);
    unclosed.watch(this, handle).closed = true;
  }

  /** How many happenings this subscription has lost by being slow. */
  get dropped() {
    return this.#stop.signal.aborted ? this.#dropped : ask('dropped', this.#handle);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** One after the other, however many ask at once. */
  next() {
    const next = this.#last.then(() => this.#next());
    this.#last = next.catch(() => {});
    return next;
  }

  async #next() {
    if (this.#stop.signal.aborted) return END;
    try {
      this.#signal.throwIfAborted();
      const there = ask('take', this.#handle);
      if (there !== null) return { done: false, value: there };
      // Waiting takes nothing: a wait that is given up loses no event.
      this.#waiting = true;
      const more = await call('ready', this.#handle, {}, { signal: this.#signal, waits: !this.#ending });
      if (!more || this.#stop.signal.aborted) return this.#end();
      return { done: false, value: ask('take', this.#handle) };
    } catch (error) {
      if (this.#stop.signal.aborted) return END;
      this.#end();
      throw error;
    } finally {
      this.#waiting = false;
      this.#toTheEnd?.release();
    }
  }

  /** @protected */
  _ending() {
    this.#ending = true;
    if (this.#waiting) this.#toTheEnd = new Alive();
  }

  async return() {
    return this.#end();
  }

  async [Symbol.asyncDispose]() {
    this.#end();
  }

  #end() {
    if (!this.#stop.signal.aborted) {
      const { dropped } = this;
      this.#stop.abort(CLOSED);
      this._over();
      unclosed.forget(this);
      this.#dropped = dropped;
      release(this.#handle);
    }
    return END;
  }
}

module.exports = { Events };
