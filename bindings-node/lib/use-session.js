'use strict';

const { connect } = require('./session.js');

/** Seconds beyond the engine's own deadlines, which tell more than a test runner's. */
const BEYOND = 5;
const START = 30;
const CLOSE = 30;

/**
 * A session for the tests of a file or suite. What a test starts by it is undone at the end of the test, the last first,
 * also when the test failed; what was started before the tests, at their end.
 *
 * `hooks` are the test runner's, each taking a function and a limit in seconds.
 */
function useSession({ beforeAll, afterAll, beforeEach, afterEach }, options = {}) {
  let session;
  // Waited for: node:test runs the hooks of a file at the same time.
  let starting;
  /** What the running test started, also what it did not wait for. */
  let started;

  const start = (work) => {
    const handle = (async () => work((await starting) ?? current()))();
    started?.push(handle);
    return handle;
  };
  const current = () => {
    if (session === undefined) throw new Error('the session of useSession() is there while tests and their hooks run');
    return session;
  };

  beforeAll(async () => {
    starting = connect(options);
    session = await starting;
  }, (options.startDeadline ?? START) + BEYOND);
  beforeEach(async () => {
    started = [];
  }, BEYOND);
  afterEach(async () => {
    const handles = started ?? [];
    started = undefined;
    const failures = [];
    // A start that failed was told to the test; one that a runner's limit cut off is waited for, so that it can be undone.
    const outcomes = await Promise.allSettled(handles);
    for (const handle of outcomes.reverse().flatMap(({ value }) => value ?? [])) {
      await handle.close({ deadline: CLOSE }).catch((error) => failures.push(error));
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, 'not everything of this test could be put back');
  }, 2 * CLOSE + BEYOND);
  afterAll(async () => {
    // None, when it could not be started.
    await session?.close({ deadline: CLOSE });
    starting = session = undefined;
  }, CLOSE + BEYOND);

  return {
    get session() {
      return current();
    },
    exchange: (target, given) => start((on) => on.exchange(target, given)),
    forward: (destination, given) => start((on) => on.forward(destination, given)),
  };
}

module.exports = { useSession };
