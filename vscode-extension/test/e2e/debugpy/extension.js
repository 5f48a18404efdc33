const vscode = require('vscode');

exports.activate = (context) => {
  const adapter = {
    createDebugAdapterDescriptor: () => new vscode.DebugAdapterExecutable(process.env.KUBETETHER_TEST_PYTHON, ['-m', 'debugpy.adapter']),
  };
  context.subscriptions.push(vscode.debug.registerDebugAdapterDescriptorFactory('debugpy', adapter));
};
