// The whole conversation of an official TypeScript client with a protected server and a certified
// authorization server, without a browser: 401, metadata, registration, PKCE, a call, a step-up to
// a second scope, the expiry of a token in the middle of a stream, rotated keys, and an
// authorization server that is away.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { AuthorizationServer, TTL } from './authorization_server.mjs';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' }, // the protected server
    port: { type: 'string' }, // where the authorization server listens
    client: { type: 'string' }, // sdk-1.32, or client-2.4
    era: { type: 'string', default: 'legacy' },
    verbose: { type: 'boolean', default: false },
  },
});

let checks = 0;

function equal(what, saw, wanted) {
  assert.deepEqual(saw, wanted, `${what} should be ${JSON.stringify(wanted)}; saw ${JSON.stringify(saw)}`);
  checks += 1;
  if (options.verbose) console.log(`  ok ${what}`);
}

const REDIRECT = 'http://127.0.0.1:1/callback';

/** A browser that follows redirects with its cookies, up to the client's own address. */
async function browse(url) {
  const cookies = new Map();
  for (let hops = 0; hops < 10; hops += 1) {
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const set of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]*)=([^;]*)/.exec(set);
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${response.status} at ${url}: ${(await response.text()).slice(0, 400)}`);
    url = new URL(location, url);
    if (url.href.startsWith(REDIRECT)) return url.searchParams;
  }
  throw new Error('too many redirects');
}

/** What a client remembers of its authorization. */
class Memory {
  redirectUrl = REDIRECT;
  clientMetadata = {
    client_name: 'dance', redirect_uris: [REDIRECT], application_type: 'native', token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
  };
  authorizations = []; // the scopes of each visit of the browser

  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.saved; }
  saveTokens(tokens) { this.saved = tokens; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
  invalidateCredentials() { this.saved = undefined; }
  saveDiscoveryState(state) { this.discovered = state; }
  discoveryState() { return this.discovered; }

  async redirectToAuthorization(url) {
    this.authorizations.push(url.searchParams.get('scope'));
    equal('the resource is named', url.searchParams.get('resource'), options.url);
    equal('PKCE', url.searchParams.get('code_challenge_method'), 'S256');
    this.callback = await browse(url);
  }
}

const old = options.client === 'sdk-1.32';
const { Client } = await import(old ? 'sdk-1.32/client/index.js' : '@modelcontextprotocol/client');
const { StreamableHTTPClientTransport } = await import(old ? 'sdk-1.32/client/streamableHttp.js' : '@modelcontextprotocol/client');

const wire = []; // the method, status and challenge of each response of the protected server

async function recorded(url, init) {
  const response = await fetch(url, init);
  if (String(url).startsWith(options.url)) {
    const last = new Headers(init?.headers).get('last-event-id');
    wire.push({ method: init?.method ?? 'GET', status: response.status, challenge: response.headers.get('www-authenticate'), last });
  }
  return response;
}

function transport(memory, sessionId) {
  return new StreamableHTTPClientTransport(new URL(options.url), { authProvider: memory, fetch: recorded, sessionId });
}

/** Finishes an authorization by the code that the browser brought back. */
async function finish(at, { callback }) {
  await at.finishAuth(old ? callback.get('code') : callback);
}

async function connected(memory) {
  const negotiation = { mode: options.era === 'modern' ? { pin: '2026-07-28' } : 'legacy' };
  const make = () => new Client({ name: 'dance', version: '1.0.0' }, old ? {} : { versionNegotiation: negotiation });
  const first = transport(memory);
  await assert.rejects(make().connect(first), /Unauthorized/);
  await finish(first, memory);
  const client = make();
  const second = transport(memory);
  await client.connect(second);
  return { client, at: second };
}

const call = (client, name, args = {}, how = {}) =>
  old ? client.callTool({ name, arguments: args }, undefined, how) : client.callTool({ name, arguments: args }, how);
const text = (result) => result.content[0].text;

async function dance() {
  const server = new AuthorizationServer(Number(options.port), 'mcp files:write');
  await server.start();
  const memory = new Memory();
  const { client, at } = await connected(memory);
  equal('the first answer is a challenge', wire[0].status, 401);
  equal('registered once', server.asked['/reg'], 1);
  equal('the challenged scope was requested', memory.authorizations[0].split(' ').includes('mcp'), true);
  equal('not more than that', memory.authorizations[0].includes('files:write'), false);
  equal('a call', text(await call(client, 'test_simple_text')).length > 0, true);

  // Step-up.
  const refused = call(client, 'echo', { message: 'hi' });
  await assert.rejects(refused);
  const challenge = wire.findLast(({ status }) => status === 403).challenge;
  equal('one challenge with all scopes', /scope="([^"]*)"/.exec(challenge)[1], 'mcp files:write');
  if (!memory.authorizations[1]) {
    // With a refresh token this client tries that first, which cannot add a scope. It tries
    // something else only after another call.
    delete memory.saved.refresh_token;
    await call(client, 'test_simple_text');
    await assert.rejects(call(client, 'echo', { message: 'hi' }));
  }
  equal('the second scope was requested', memory.authorizations.at(-1).includes('files:write'), true);
  await finish(at, memory);
  equal('the call after the step-up', text(await call(client, 'echo', { message: 'hi' })), 'hi');

  // The token expires in the middle of a stream.
  const steps = [];
  const onprogress = ({ progress }) => steps.push(progress);
  const before = server.asked['/token'];
  const patience = { onprogress, timeout: 60_000, resetTimeoutOnProgress: true };
  const count = TTL + 6;
  const answer = text(await call(client, 'progress', { steps: count, delay_ms: 1_000 }, patience));
  equal('the answer of a long call', answer.length > 0, true);
  equal('each step once', steps, Array.from({ length: count }, (_, step) => step + 1));
  if (options.era === 'legacy') {
    equal('the stream was resumed', wire.some(({ method, last, status }) => method === 'GET' && last && status === 200), true);
    equal('with a refreshed token', server.asked['/token'] > before, true);
  }

  // Rotated keys, under the same session.
  await server.rotate();
  await sleep(TTL * 1_000 + 1_000);
  equal('a token of a new key', text(await call(client, 'echo', { message: 'again' })), 'again');

  // The authorization server is away: a known token works, and its expiry is no reason to forget it.
  await server.stop();
  equal('a call without the authorization server', text(await call(client, 'echo', { message: 'alone' })), 'alone');
  await server.start();
  await sleep(TTL * 1_000 + 1_000);
  equal('a call after it came back', text(await call(client, 'echo', { message: 'back' })), 'back');
  equal('the browser was needed twice', memory.authorizations.filter((scope, at, all) => scope !== all[at - 1]).length, 2);
  await client.close();
  await server.stop();
  console.log(`${checks} checks`);
}

const timer = setTimeout(() => { console.error('the conversation takes too long'); process.exit(1); }, 120_000);
await dance().catch((error) => {
  console.error(error);
  console.error(wire.slice(-12));
  process.exit(1);
});
clearTimeout(timer);
process.exit(0);
