'use strict';

const { after, afterEach, before, beforeEach } = require('node:test');

const { withHooks } = require('./use-session.js');

const hook = (register) => (work, limit) => register(work, { timeout: limit * 1000 });

module.exports = withHooks({ afterAll: hook(after), afterEach: hook(afterEach), beforeAll: hook(before), beforeEach: hook(beforeEach) });
