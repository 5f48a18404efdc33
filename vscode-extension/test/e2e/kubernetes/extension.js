// KUBETETHER_TEST_KUBECONFIGS are two files: the one that is chosen, and the one that its command chooses.

const vscode = require('vscode');

exports.activate = (context) => {
  const [first, other] = process.env.KUBETETHER_TEST_KUBECONFIGS.split(':');
  let chosen = first;
  const changed = new vscode.EventEmitter();
  const pathNow = () => ({ pathType: 'host', hostPath: chosen });
  const choose = () => {
    chosen = other;
    changed.fire(pathNow());
  };
  context.subscriptions.push(changed, vscode.commands.registerCommand('kubernetesForTests.other', choose));
  const configuration = { getKubeconfigPath: pathNow, onDidChangeKubeconfigPath: changed.event };
  return {
    get: (component, version) =>
      component === 'configuration' && version === 'v1_1' ? { available: true, api: configuration } : { available: false, reason: 'version-unknown' },
  };
};
