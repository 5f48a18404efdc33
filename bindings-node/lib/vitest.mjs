import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';

import shared from './use-session.js';

const hook = (register) => (work, limit) => register(work, limit * 1000);

export function useSession(options) {
  const hooks = { afterAll: hook(afterAll), afterEach: hook(afterEach), beforeAll: hook(beforeAll), beforeEach: hook(beforeEach) };
  return shared.useSession(hooks, options);
}
