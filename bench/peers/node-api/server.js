// An API on Express: a route that is open, one behind jose, and two behind express-oauth2-jwt-bearer.
// PORT, ISSUER and AUDIENCE are in the environment; the issuer's keys are at /jwks.

import express from 'express';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { PORT, ISSUER: issuer, AUDIENCE: audience } = process.env;
const SCOPE = 'Read';
const ALGORITHMS = ['RS256', 'ES256'];

const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
const expected = { issuer, audience, typ: 'at+jwt', algorithms: ALGORITHMS };

async function requireToken(request, response, next) {
  const [, token] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? [];
  const refuse = (status, error) =>
    response.set('WWW-Authenticate', `Bearer error="${error}"`).status(status).json({ error });
  try {
    const { payload } = await jwtVerify(token ?? '', keys, expected);
    if (!(payload.scope ?? '').split(' ').includes(SCOPE)) return refuse(403, 'insufficient_scope');
  } catch {
    return refuse(401, 'invalid_token');
  }
  next();
}

const balance = (_, response) => response.json({ balance: 100 });

const app = express();
app.disable('x-powered-by');
app.set('etag', false);
app.get('/open', balance);
app.get('/guarded', requireToken, balance);
for (const tokenSigningAlg of ALGORITHMS) {
  const check = auth({ issuer, audience, jwksUri: `${issuer}/jwks`, tokenSigningAlg });
  app.get(`/auth0-${tokenSigningAlg.toLowerCase()}`, check, requiredScopes(SCOPE), balance);
}
app.listen(Number(PORT), '127.0.0.1');
