// A provider of identities for tests: panva's oidc-provider, with its own pages for signing in, in memory.
// node provider.mjs ISSUER CLIENT SECRET BACK PEOPLE: PEOPLE is {"name": {claims}}; prints `ready` once it listens.
import Provider from 'oidc-provider'

const [issuer, client, secret, back, people] = process.argv.slice(2)
const known = JSON.parse(people)
const provider = new Provider(issuer, {
  clients: [{ client_id: client, client_secret: secret, redirect_uris: [back], response_types: ['code'], grant_types: ['authorization_code'] }],
  pkce: { required: () => true },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'email', 'profile', 'groups'],
  findAccount: (_, name) => ({ accountId: name, claims: () => ({ sub: name, ...known[name] }) }),
  cookies: { keys: ['of a test'] },
})
provider.listen(Number(new URL(issuer).port), '127.0.0.1', () => console.log('ready'))
