// The debug types whose launch configurations may have a block. VS Code marks unknown keys of a type that nobody
// contributed them to; other types take their block from the setting `kubetether.launch`.

export const DEBUG_TYPES = [
  'node',
  'pwa-node',
  'node-terminal',
  'bun',
  'deno',
  'python',
  'debugpy',
  'go',
  'java',
  'kotlin',
  'scala',
  'coreclr',
  'clr',
  'dotnet',
  'cppdbg',
  'cppvsdbg',
  'lldb',
  'lldb-dap',
  'codelldb',
  'gdb',
  'php',
  'ruby_lsp',
  'rdbg',
  'dart',
  'mix_task',
] as const;

/** What a block may have, as JSON schema: completion, hover and marks in launch.json come from it. */
export const BLOCK_SCHEMA = {
  type: 'object',
  description: 'While this is debugged, the cluster and this program are connected.',
  additionalProperties: false,
  dependencies: { exchange: ['port'] },
  defaultSnippets: [{ label: 'Exchange a Service', body: { exchange: '${1:service}', port: '^${2:8080}' } }],
  properties: {
    exchange: {
      type: 'string',
      minLength: 1,
      description: 'The Service whose traffic comes to this program until it is stopped.',
    },
    port: {
      type: 'integer',
      minimum: 1,
      maximum: 65535,
      description: 'The local port where the program listens.',
    },
    namespace: {
      type: 'string',
      description: "The namespace. Left out: the setting kubetether.namespace, else the context's own.",
    },
    context: {
      type: 'string',
      description: "The kubeconfig's context. Left out: the setting kubetether.context, else the current one.",
    },
    forwards: {
      type: 'object',
      description:
        'What the program needs of the cluster, by name. "DB": "db:5432" gives it DB_HOST, DB_PORT and DB_ADDRESS, and ${kubetether:DB} in env and args.',
      propertyNames: { pattern: '^[A-Za-z_][A-Za-z0-9_]*$' },
      additionalProperties: {
        type: 'string',
        pattern: ':[0-9]+(/(tcp|udp))?$',
        description: 'Host and port as seen in the cluster: db:5432, pod/db-0:5432, queue.other:5672.',
      },
      defaultSnippets: [{ label: 'A forward', body: { '${1:DB}': '${2:db:5432}' } }],
    },
  },
} as const;
