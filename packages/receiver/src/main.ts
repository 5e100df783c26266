import { parseArgs } from 'node:util';
import { runDaemon } from '@rbdferry/core/lifecycle/daemon.js';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { startReceiver } from './daemon.js';

const usage = `usage: rbdferry-receiver [--config FILE]

Receives backups into this cluster. Runs in the foreground and logs JSON to stdout.

  -c, --config FILE  configuration (default /etc/rbdferry/receiver.yaml)
      --version      print the version
  -h, --help         this text
`;

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      config: { type: 'string', short: 'c', default: '/etc/rbdferry/receiver.yaml' },
      version: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) process.stdout.write(usage);
  else if (values.version) process.stdout.write(`${software}\n`);
  else await runDaemon(() => startReceiver(values.config));
};

try {
  await main();
} catch (thrown) {
  process.stderr.write(`rbdferry-receiver: ${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${usage}`);
  process.exitCode = 2;
}
