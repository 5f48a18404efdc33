// The way through a cluster's `proxy-url`. Proxies of the environment and of the editor's settings are the editor's own work.

import type { Agent } from 'node:http';

import { HttpsProxyAgent } from 'https-proxy-agent';
import { SocksProxyAgent } from 'socks-proxy-agent';

import { Mistake } from '../engine/problem.js';
import { text, type Access } from './kubeconfig.js';

/** `undefined` where the cluster names none. The kinds are those that kubectl knows. */
export function proxyOf(cluster: Access['cluster']): Agent | undefined {
  const url = text(cluster.body['proxy-url']);
  if (url === undefined || url === '') return undefined;
  switch (URL.canParse(url) ? new URL(url).protocol : undefined) {
    case 'http:':
    case 'https:':
      return new HttpsProxyAgent(url);
    case 'socks5:':
    case 'socks5h:':
      // Names are the proxy's to resolve, as Go has it.
      return new SocksProxyAgent(url.replace(/^socks5:/, 'socks5h:'));
    default:
      // Not the URL itself: it may hold a password.
      throw new Mistake('kubeconfig', `The proxy-url of cluster ${cluster.name} is no http, https or socks5 URL`, 'Correct it in the kubeconfig');
  }
}
