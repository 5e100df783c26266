import { FerryError } from '@rbdferry/core/errors/ferry-error.js';
import type { GetAgentInfoResponse } from '@rbdferry/core/gen/rbdferry/v1/control.js';
import { software } from '@rbdferry/core/rpc/protocol.js';
import { socketOf, withAgent } from '../agent.js';
import { examples } from '../examples.js';
import { note, printLine } from '../output.js';
import type { AddVerb, Program } from '../verb.js';

/** Somebody who asks for a version does not wait for an agent that hangs. */
const timeoutMs = 2_000;

export const addVersion: AddVerb = (program) => {
  program
    .command('version')
    .description('Prints the version of this command and, if it can be reached, of the agent. The same as --version.')
    .option('--json', 'print them as JSON, with the receivers that the agent knows')
    .addHelpText('after', examples('version', "version --json | jq -r '.agent.receivers[].name'"))
    .action(async ({ json = false }) => {
      const agent = await askAgent(program);
      if (json) await printLine((await import('../render/json.js')).toJson(versionView(program, agent)));
      else await printText(agent);
    });
};

const askAgent = async (program: Program): Promise<GetAgentInfoResponse | FerryError> => {
  try {
    return await withAgent(program, (agent) => agent.agentInfo({ timeoutMs }));
  } catch (thrown) {
    if (thrown instanceof FerryError) return thrown;
    throw thrown;
  }
};

const printText = async (agent: GetAgentInfoResponse | FerryError): Promise<void> => {
  await printLine(`command ${software}`);
  if (agent instanceof FerryError) note(`agent: ${agent.message}`);
  else await printLine(`agent   ${agent.software}`);
};

const versionView = (program: Program, agent: GetAgentInfoResponse | FerryError) => ({
  command: software,
  socket: socketOf(program),
  agent: agent instanceof FerryError ? null : agent,
});
