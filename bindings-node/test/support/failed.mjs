// A reporter: each test that failed, as a line of its file and its name, for tests/rungs/38-node.

import path from 'node:path';

export default async function* failed(source) {
  for await (const { type, data } of source) {
    // Those above it fail with it.
    if (type !== 'test:fail' || data.details.error?.failureType === 'subtestsFailed') continue;
    yield `${path.relative('', data.file ?? '')}: ${data.name}\n`;
  }
}
