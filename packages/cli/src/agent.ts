import type { AgentClient } from './client.js';

export const defaultSocket = '/run/rbdferry/agent.sock';

/** A command with the option `--socket`. */
interface WithSocket {
  opts(): { readonly socket: string };
}

/** Path of the agent's socket, once the command line is parsed. An empty one in the environment means the default. */
export const socketOf = (program: WithSocket): string => {
  const { socket } = program.opts();
  return socket === '' ? defaultSocket : socket;
};

/**
 * Runs something with a connection to the agent, and closes it. gRPC is loaded here and not before.
 *
 * @returns what it returns
 */
export const withAgent = async <T>(program: WithSocket, use: (agent: AgentClient) => Promise<T>): Promise<T> => {
  const { AgentClient } = await import('./client.js');
  const agent = new AgentClient(socketOf(program));
  try {
    return await use(agent);
  } finally {
    agent.close();
  }
};
