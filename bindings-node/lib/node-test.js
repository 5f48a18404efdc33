'use strict';

const { after, afterEach, before, beforeEach } = require('node:test');

const shared = require('./use-session.js');

const hook = (register) => (work, limit) => register(work, { timeout: limit * 1000 });

function useSession(options) {
  const hooks = { afterAll: hook(after), afterEach: hook(afterEach), beforeAll: hook(before), beforeEach: hook(beforeEach) };
  return shared.useSession(hooks, options);
}

module.exports = { useSession };
