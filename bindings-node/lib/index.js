'use strict';

const { KubetetherError } = require('./errors.js');
const { Events } = require('./events.js');
const { Handle } = require('./handle.js');
const { onLog } = require('./log.js');
const { Exchange, Forward, Session, clean, connect, recover, status } = require('./session.js');
const { version } = require('../package.json');

module.exports = { Events, Exchange, Forward, Handle, KubetetherError, Session, clean, connect, onLog, recover, status, version };
