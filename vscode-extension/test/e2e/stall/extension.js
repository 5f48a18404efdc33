// Profiles the extension host in phases. The file KUBETETHER_STALL holds the name of the phase; when it changes, the one before is
// over, and what it came to is written into the file with its name at the end: { ms, in }.

const fs = require('node:fs');
const inspector = require('node:inspector');

const { longestBlock } = require('./blocks.js');

const SCRIPT = '/dist/extension.js';

exports.activate = async () => {
  const { KUBETETHER_STALL: file } = process.env;
  const session = new inspector.Session();
  session.connect();
  const post = (method, parameters) =>
    new Promise((resolve, reject) => session.post(method, parameters, (error, result) => (error ? reject(error) : resolve(result))));
  await post('Profiler.enable');
  await post('Profiler.setSamplingInterval', { interval: 200 });
  let phase = '';
  for (;;) {
    const now = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
    if (now !== phase) {
      if (phase !== '') write(`${file}.${phase}`, longestBlock((await post('Profiler.stop')).profile, SCRIPT));
      phase = now;
      if (phase === 'end') break;
      await post('Profiler.start');
      write(`${file}.${phase}.begun`, {});
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  session.disconnect();
};

function write(file, result) {
  fs.writeFileSync(`${file}.new`, JSON.stringify(result));
  fs.renameSync(`${file}.new`, file);
}
