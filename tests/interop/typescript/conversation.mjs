// A whole conversation between the official TypeScript client and a running server.
//
// The client resumes a cut call by itself, with Last-Event-ID. A fetch wrapper records what the
// client does not expose (status codes, the session id), and a small proxy cuts the connections.

import net from 'node:net';

import { basics, cancelled, check, connected, equal, hold, options, progress, soon, text } from './common.mjs';

/** Relays TCP to the server and, once armed, cuts the connection on which the n-th progress event passes. */
class CuttingProxy {
  cuts = 0;
  #armed;
  #server;
  #sockets = new Set();

  /** Arms one cut: after the `at`-th progress event, or inside it, so that the client receives half an event. */
  arm(at, inside) {
    this.#armed = { at, inside };
  }

  async start(url) {
    const { hostname, port } = new URL(url);
    this.#server = net.createServer((client) => this.#relay(client, net.connect(Number(port), hostname)));
    await new Promise((ready) => this.#server.listen(0, '127.0.0.1', ready));
    const through = new URL(url);
    through.port = String(this.#server.address().port);
    return through;
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #relay(client, server) {
    const end = () => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay();
      socket.on('error', end).on('close', end);
    }
    let all = ''; // the bytes of the answer to the last request
    client.on('data', (data) => {
      all = '';
      server.write(data);
    });
    server.on('data', (data) => {
      const before = all.length;
      all += data.toString('latin1'); // one character for each byte
      const cut = this.#cut(all);
      if (cut === undefined) return client.write(data);
      this.#armed = undefined;
      this.cuts += 1;
      client.write(data.subarray(0, Math.max(0, cut - before)), end);
    });
  }

  /** Returns the position at which to cut the server's output on one connection, if the cut is here. */
  #cut(all) {
    if (!this.#armed) return undefined;
    const mark = [...all.matchAll(/notifications\/progress/g)][this.#armed.at - 1];
    if (!mark) return undefined;
    if (this.#armed.inside) return mark.index + mark[0].length;
    const end = /\r?\n\r?\n/.exec(all.slice(mark.index));
    return end ? mark.index + end.index + end[0].length : undefined;
  }
}

async function logging({ client, call, logged }) {
  const lines = ['Tool execution started', 'Tool processing data', 'Tool execution completed'];
  await client.setLoggingLevel('debug');
  await call('test_tool_with_logging');
  equal('log messages', logged, lines.map((line) => ['info', line]));
  await client.setLoggingLevel('error');
  await call('test_tool_with_logging');
  equal('no log messages below the level', logged.length, lines.length);
}

async function clientRequests({ call, asked, forms }) {
  const answer = text(await call('test_elicitation', { message: 'Who are you?' }));
  check('elicitation', answer.includes('ada@example.com'), answer);
  equal('elicitation asks for', forms, [['email', 'username']]);
  equal('sampling', text(await call('test_sampling', { prompt: 'Six times seven?' })), 'LLM response: forty-two');
  equal('each client request came once', asked, ['Who are you?', 'Six times seven?']);
}

/** A client whose connection breaks in a call resumes with Last-Event-ID and misses nothing. */
async function cutAndResumed({ call, wire }, proxy, { steps, at, inside }) {
  const what = `cut ${inside ? 'inside' : 'after'} event ${at}`;
  const [cuts, resumed, seen] = [proxy.cuts, wire.resumed.length, []];
  const onprogress = (each) => seen.push(each.progress);
  proxy.arm(at, inside);
  const result = await call('progress', { steps, delay_ms: 50 }, { onprogress });
  equal(`${what}: cuts`, proxy.cuts - cuts, 1);
  check(`${what}: the client resumed`, wire.resumed.length > resumed, wire.resumed);
  equal(`${what}: progress without gap or duplicate`, seen, Array.from({ length: steps }, (_, n) => n + 1));
  check(`${what}: the answer arrived`, !result.isError && Boolean(text(result)), result);
}

async function closedByServer({ call, wire }) {
  const resumed = wire.resumed.length;
  const result = await call('test_reconnection');
  check('a stream that the server closes: the client resumed', wire.resumed.length > resumed, wire.resumed);
  check('a stream that the server closes: the answer arrived', !result.isError && Boolean(text(result)), result);
}

/** Raw: an ended session no longer exists. */
async function gone(url, session) {
  const headers = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'mcp-protocol-version': '2025-11-25',
    'mcp-session-id': session,
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  equal('POST on the ended session', (await fetch(url, { method: 'POST', headers, body })).status, 404);
  const get = { ...headers, accept: 'text/event-stream' };
  equal('GET on the ended session', (await fetch(url, { headers: get })).status, 404);
}

async function conversation(url) {
  const streams = options.mode !== 'json';
  const proxy = new CuttingProxy();
  const peer = await connected(await proxy.start(url));
  await basics(peer);
  if (streams) await progress(peer);
  if (!options.stateless) {
    await peer.client.ping();
    await cancelled(peer);
  }
  if (streams && !options.stateless) {
    await logging(peer);
    await clientRequests(peer);
    await cutAndResumed(peer, proxy, { steps: 8, at: 1, inside: false });
    await cutAndResumed(peer, proxy, { steps: 8, at: 3, inside: true });
    await closedByServer(peer);
    equal('the standalone stream opened once', peer.wire.statuses('GET'), [200]);
  }
  await peer.transport.terminateSession();
  await peer.client.close();
  proxy.stop();
  if (options.stateless) {
    equal('no session was issued', peer.wire.session, undefined);
  } else {
    check('the session ended by DELETE', [200, 204].includes(peer.wire.statuses('DELETE')[0]), peer.wire.statuses('DELETE'));
    await gone(url, peer.wire.session);
  }

  const second = await connected(url, 'auto');
  const answer = text(await second.call('echo', { message: 'again' }));
  equal('a client that looks for the newest revision first', answer, 'again');
  equal('and finds it', second.client.getNegotiatedProtocolVersion(), '2026-07-28');
  await second.transport.terminateSession();
  await second.client.close();
}

await hold(conversation);
