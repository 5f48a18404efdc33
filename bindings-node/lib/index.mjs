// One instance for both kinds of modules.
import kubetether from './index.js';

export const { Events, Exchange, Forward, Handle, KubetetherError, Session, clean, connect, recover, status, version } = kubetether;
