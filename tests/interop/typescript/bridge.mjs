// A conversation between the official TypeScript client and a third-party stdio server, through the bridge.

import { check, connected, equal, hold, options, soon, text } from './common.mjs';

/** Each of many concurrent calls gets its own answer. */
async function alike({ call }, wanted) {
  const words = Array.from({ length: 16 }, (_, n) => `number ${n}`);
  const answers = await Promise.all(words.map(async (message) => text(await call('echo', { message }))));
  equal('16 calls at once', answers, words.map(wanted));
}

/** Each of two concurrent calls receives its own progress. */
async function progress({ call }, tool, args, steps) {
  const seen = [[], []];
  const work = (mine) => call(tool, args, { onprogress: (each) => mine.push([each.progress, each.total]) });
  await Promise.all(seen.map(work));
  const wanted = Array.from({ length: steps }, (_, n) => [n + 1, steps]);
  equal('progress of two calls at once', seen, [wanted, wanted]);
}

async function everything(peer) {
  const { client, call, asked, forms, logged } = peer;
  equal("the server's own name", client.getServerVersion().name, 'mcp-servers/everything');
  equal('and its title', client.getServerVersion().title, 'Everything Reference Server');
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const able = ['get-roots-list', 'trigger-sampling-request', 'trigger-elicitation-request'];
  check('the server heard what the client can be asked for', able.every((tool) => tools.includes(tool)), tools);
  equal('echo', text(await call('echo', { message: 'grüße \u2028 🦀' })), 'Echo: grüße \u2028 🦀');
  equal('a sum', text(await call('get-sum', { a: 1, b: 2 })), 'The sum of 1 and 2 is 3.');
  await alike(peer, (word) => `Echo: ${word}`);
  await progress(peer, 'trigger-long-running-operation', { duration: 0.6, steps: 3 }, 3);

  const sampled = text(await call('trigger-sampling-request', { prompt: 'six times seven' }));
  check('sampling', sampled.includes('forty-two'), sampled);
  const form = (await call('trigger-elicitation-request')).content.map((item) => item.text).join('');
  check('elicitation', form.includes('- Name: ada'), form);
  check('elicitation showed the whole form', forms[0].includes('titledMultipleSelectEnum'), forms);
  const roots = text(await call('get-roots-list'));
  check('roots', roots.includes('file:///home/ada/trains'), roots);
  // The server sends its requests when the client has connected: in a call, or on the standalone
  // stream.
  equal('each client request came once', asked.filter((each) => each === 'roots').length, 1);

  const [resource] = (await client.listResources()).resources;
  check('resources are listed', Boolean(resource));
  check('prompts are listed', (await client.listPrompts()).prompts.some(({ name }) => name === 'simple-prompt'));

  const updated = [];
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => void updated.push(params.uri));
  await client.subscribeResource({ uri: resource.uri });
  await call('toggle-subscriber-updates');
  await soon('an update of a resource', async () => updated[0], resource.uri);

  await client.setLoggingLevel('debug');
  const before = logged.length;
  await call('toggle-simulated-logging');
  await soon('a log message', async () => logged.length > before, true);
}

async function python(peer) {
  const { client, call, asked, logged } = peer;
  equal("the server's own name", client.getServerVersion().name, 'python-behind-the-bridge');
  equal('its instructions', client.getInstructions(), 'Say what you want.');
  await alike(peer, (word) => word);
  await progress(peer, 'steps', { count: 5 }, 5);
  equal('elicitation', text(await call('whoami')), 'ada');
  equal('one client request', asked, ['Who are you?']);
  equal('a call that logs', text(await call('chat')), 'said');
  equal('a log message', logged, [['info', 'a word']]);
  equal('a resource', (await client.readResource({ uri: 'note://one' })).contents[0].text, 'a note');

  const slept = async () => JSON.stringify((await call('slept')).structuredContent.result);
  const woken = async () => JSON.stringify((await call('woken')).structuredContent.result);
  const stop = new AbortController();
  const slow = call('sleep', { name: 'one' }, { signal: stop.signal }).then(
    () => 'awake',
    () => 'cancelled',
  );
  await soon('the server sleeps', slept, '["one"]');
  equal('no process was woken', await woken(), '[]');
  stop.abort('enough');
  equal('a call that the client cancelled', await slow, 'cancelled');
  await soon('the server heard of it', woken, '["one"]');
}

async function conversation(url) {
  const peer = await connected(url, options.stateless ? 'auto' : 'legacy');
  if (options.stateless) {
    equal('the newest revision', peer.client.getNegotiatedProtocolVersion(), '2026-07-28');
    equal("the server's own name", peer.client.getServerVersion().name, 'python-behind-the-bridge');
    await alike(peer, (word) => word);
    await progress(peer, 'steps', { count: 5 }, 5);
    await peer.client.close();
    return;
  }
  equal('protocol version', peer.client.getNegotiatedProtocolVersion(), '2025-11-25');
  await peer.client.ping();
  await (options.behind === 'everything' ? everything : python)(peer);
  await peer.transport.terminateSession();
  await peer.client.close();
  equal('the session ended by DELETE', peer.wire.statuses('DELETE'), [200]);

  const second = await connected(url, 'auto');
  const version = second.client.getNegotiatedProtocolVersion();
  equal('a client that looks for the newest revision first finds one with sessions', version, '2025-11-25');
  await second.transport.terminateSession();
  await second.client.close();
}

await hold(conversation);
