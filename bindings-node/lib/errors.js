'use strict';

/**
 * Why something failed: what was tried, on which object, the causes (`cause`), the cluster's own words (`evidence`) and
 * what to do (`hint`).
 */
class KubetetherError extends Error {
  /** @param {{code: string, number: number, class: string, message: string, object?: string, hint?: string, causes?: string[], evidence?: string[]}} told */
  constructor(told) {
    super(told.message, causes(told.causes ?? []));
    this.code = told.code;
    this.number = told.number;
    this.class = told.class;
    if (told.object !== undefined && told.object !== null) this.object = told.object;
    if (told.hint !== undefined && told.hint !== null) this.hint = told.hint;
    this.evidence = Object.freeze([...(told.evidence ?? [])]);
  }

  static {
    Object.defineProperty(this.prototype, 'name', { value: 'KubetetherError', configurable: true, writable: true });
  }
}

/** The chain, the nearest cause outermost. */
function causes([nearest, ...further]) {
  return nearest === undefined ? undefined : { cause: new Error(nearest, causes(further)) };
}

module.exports = { KubetetherError };
