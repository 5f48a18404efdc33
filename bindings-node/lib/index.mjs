// One instance for both kinds of modules.
import kubetether from './index.js';

export const { Events, Exchange, Forward, Handle, KubetetherError, Session, clean, connect, onLog, recover, status, version } = kubetether;
