// An authorization server: oidc-provider, whose users agree to everything. It can be stopped and
// started again, and its keys can be rotated.

import http from 'node:http';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

/** Lives as long as the access tokens of the tests, in seconds. */
export const TTL = 6;

/** What all instances of one server have issued. */
class Storage {
  entries = new Map();

  adapter() {
    const { entries } = this;
    return class {
      constructor(model) {
        this.model = model;
      }

      key(id) {
        return `${this.model}:${id}`;
      }

      async upsert(id, payload) {
        // A client registers with the first scopes that it was asked for, and later needs others.
        if (this.model === 'Client') delete payload.scope;
        entries.set(this.key(id), payload);
      }

      async find(id) {
        return entries.get(this.key(id));
      }

      async findByUid(uid) {
        return [...entries.values()].find((payload) => payload.kind === this.model && payload.uid === uid);
      }

      async findByUserCode() {}

      async consume(id) {
        entries.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
      }

      async destroy(id) {
        entries.delete(this.key(id));
      }

      async revokeByGrantId(grant) {
        for (const [key, payload] of entries) if (payload.grantId === grant) entries.delete(key);
      }
    };
  }
}

async function newKey(kid) {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: 'RS256', use: 'sig' };
}

export class AuthorizationServer {
  storage = new Storage();
  asked = {}; // how often each path was asked for
  generation = 0;

  constructor(port, scopes) {
    this.port = port;
    this.scopes = scopes;
    this.issuer = `http://127.0.0.1:${port}`;
  }

  async rotate() {
    this.generation += 1;
    this.keys = [await newKey(`key-${this.generation}`)];
    this.provider = new Provider(this.issuer, this.settings());
    this.answer = this.provider.callback();
  }

  settings() {
    const { scopes } = this;
    const accountId = 'ada';
    return {
      adapter: this.storage.adapter(),
      jwks: { keys: this.keys },
      cookies: { keys: ['for these tests only'] },
      scopes: ['openid', 'offline_access', ...scopes.split(' ')],
      ttl: { AccessToken: TTL, Grant: 3600, RefreshToken: 3600, Session: 3600, Interaction: 600, AuthorizationCode: 60 },
      findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
      interactions: { url: (_, { uid }) => `/agree/${uid}` },
      issueRefreshToken: async () => true,
      rotateRefreshToken: true,
      clientDefaults: { token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'] },
      loadExistingGrant: async (ctx) => {
        const { client, params, provider, session } = ctx.oidc;
        const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId ?? accountId });
        grant.addOIDCScope(`openid offline_access ${scopes}`);
        grant.addResourceScope(params.resource, params.scope ?? '');
        await grant.save();
        return grant;
      },
      features: {
        devInteractions: { enabled: false },
        registration: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => undefined,
          useGrantedResource: () => true,
          getResourceServerInfo: (_, audience) => ({
            audience, scope: scopes, accessTokenTTL: TTL, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
          }),
        },
      },
    };
  }

  async start() {
    if (!this.provider) await this.rotate();
    this.server = http.createServer((request, response) => {
      const path = new URL(request.url, this.issuer).pathname;
      this.asked[path] = (this.asked[path] ?? 0) + 1;
      if (path.startsWith('/agree/')) {
        this.provider.interactionFinished(request, response, { login: { accountId: 'ada' }, consent: {} }).catch((error) => {
          response.statusCode = 500;
          response.end(String(error));
        });
      } else {
        this.answer(request, response);
      }
    });
    await new Promise((listening) => this.server.listen(this.port, '127.0.0.1', listening));
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((closed) => this.server.close(closed));
  }
}
