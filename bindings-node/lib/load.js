'use strict';
// Finds the native module; the agent's files lie beside it.

const fs = require('node:fs');
const path = require('node:path');

const { KubetetherError } = require('./errors.js');

const FOLDER = path.join(__dirname, '..', 'native');

/** The native module of this machine's kind. */
function load() {
  const file = path.join(FOLDER, `kubetether.${process.platform}-${process.arch}.node`);
  if (!fs.existsSync(file)) {
    throw missing(`there is no native module for ${process.platform} on ${process.arch}: ${file} is missing`);
  }
  try {
    return require(file);
  } catch (error) {
    const failure = missing(`the native module ${file} cannot be loaded`);
    failure.cause = error;
    throw failure;
  }
}

function missing(message) {
  return new KubetetherError({
    code: 'internal',
    number: 900,
    class: 'internal',
    message,
    hint: 'kubetether has native modules for Linux on x64; in a checkout, `npm run build` in bindings-node makes it, or `make node` the whole package',
  });
}

module.exports = { FOLDER, load };
