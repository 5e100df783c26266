import { parseArgs } from 'node:util';
import { runDaemon } from '@rbdferry/core/lifecycle/daemon.js';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { startAgent } from './daemon.js';

const usage = `usage: rbdferry-agent [--config FILE]

Backs images of this cluster up to receivers, and restores them. Runs in the foreground and logs JSON to stdout.

  -c, --config FILE  configuration (default /etc/rbdferry/agent.yaml)
      --version      print the version
  -h, --help         this text
`;

const main = async (): Promise<void> => {
  const { values } = parseArgs({
    options: {
      config: { type: 'string', short: 'c', default: '/etc/rbdferry/agent.yaml' },
      version: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) process.stdout.write(usage);
  else if (values.version) process.stdout.write(`${software}\n`);
  else await runDaemon(() => startAgent(values.config));
};

try {
  await main();
} catch (thrown) {
  process.stderr.write(`rbdferry-agent: ${thrown instanceof Error ? thrown.message : String(thrown)}\n\n${usage}`);
  process.exitCode = 2;
}
