// node-oidc-provider, with nothing on but what the client credentials grant needs.
// PORT and BENCH_SECRET are in the environment; client `bench` gets RS256, `bench-es` ES256.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { PORT, BENCH_SECRET } = process.env;
const API = 'urn:bench:api';
const SCOPES = 'Read Write';
const LIFETIME_SECONDS = 300;

const jwk = (type, options, extra) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  use: 'sig',
  ...extra,
});

const client = (id) => ({
  client_id: id,
  client_secret: BENCH_SECRET,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  scope: SCOPES,
  token_endpoint_auth_method: 'client_secret_basic',
});

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [client('bench'), client('bench-es')],
  scopes: SCOPES.split(' '),
  jwks: {
    keys: [
      jwk('rsa', { modulusLength: 2048 }, { kid: 'rsa', alg: 'RS256' }),
      jwk('ec', { namedCurve: 'P-256' }, { kid: 'ec', alg: 'ES256' }),
    ],
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    // Its access tokens are JWTs for an API alone; without one they would be opaque.
    resourceIndicators: {
      enabled: true,
      defaultResource: () => API,
      useGrantedResource: () => true,
      getResourceServerInfo: (context, resource, { clientId }) => ({
        audience: API,
        scope: SCOPES,
        accessTokenFormat: 'jwt',
        accessTokenTTL: LIFETIME_SECONDS,
        jwt: { sign: { alg: clientId === 'bench-es' ? 'ES256' : 'RS256' } },
      }),
    },
  },
  ttl: { ClientCredentials: LIFETIME_SECONDS },
});
provider.on('server_error', (_, error) => console.error(error));
createServer(provider.callback()).listen(Number(PORT), '127.0.0.1');
