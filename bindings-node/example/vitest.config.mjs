// A cluster takes its time: more than the runner's own limits allow on a busy machine.
export default { test: { hookTimeout: 60_000, testTimeout: 60_000 }, cacheDir: '../node_modules/.vite' };
