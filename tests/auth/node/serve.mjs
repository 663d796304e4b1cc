// Runs the authorization server for a client in another language. Each line of input is a command;
// each is answered by one line.

import { createInterface } from 'node:readline';

import { AuthorizationServer } from './authorization_server.mjs';

const server = new AuthorizationServer(Number(process.argv[2]), 'mcp files:write');
const commands = {
  start: () => server.start(),
  stop: () => server.stop(),
  rotate: () => server.rotate(),
  count: (path) => server.asked[path] ?? 0,
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ');
  console.log(`done ${(await commands[command](argument)) ?? ''}`);
}
process.exit(0);
