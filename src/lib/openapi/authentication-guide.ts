/** Stands at the head of the document: what somebody needs before the first call works. */
export const authenticationGuide = `Agents, recipes and schedules that run durably: every step is checkpointed, so a run survives the process that began it.

## Authentication

Every call needs an API key or the token of a user, except where the operation says otherwise. Send it in one of these ways:

\`\`\`
Authorization: Bearer ak_srv_…
X-API-Key: ak_srv_…
Authorization: Bearer eyJ…
\`\`\`

The first start on an empty embedded database makes an owner key, prints it once and writes it to \`admin-api-key\` in the data folder; \`ADMIN_API_KEY\` sets one instead. Further keys come from \`POST /api/api-keys\`. A key belongs to one workspace, sees only that workspace, and holds the permissions that it was made with: an empty list grants nothing. Each operation names the permission it needs.

The token of a user is a JWT of an identity provider that the server trusts (Clerk, or any issuer of OpenID Connect, where one or several are configured). The first token makes the user, and a personal workspace that the user owns. A user acts there, or in the workspace whose id or slug \`X-Workspace-ID\` names, with the role held in it; a workspace without a membership answers 404, as one that does not exist. \`GET /api/auth/me\` tells who calls and what is allowed; \`POST /api/auth/sign-out\` ends one session, \`POST /api/auth/sign-out-everywhere\` refuses all tokens issued so far. While the identity provider cannot be reached, a token that cannot be checked answers 503 with \`Retry-After\`.

If both headers are sent, \`Authorization\` counts. A key or token that is wrong, expired or revoked answers 401 and is never replaced by another credential. A key that is bound to addresses answers 403 from elsewhere. Keys that begin with \`ak_pub_\` stand in public pages and work under \`/api/widgets\` only.

Browsers cannot send headers from \`EventSource\`, \`<img>\` or a link: the operations whose path ends in \`/ticket\` or \`/link\` give an address with a signed \`?ticket=\` that opens one GET for five minutes.

## Conventions

- JSON in snake_case; times in ISO 8601 with Z; ids are UUIDs. Paths answer with and without a trailing slash.
- Lists answer \`{ "items": [...], "next_cursor": ... }\`. Pass \`next_cursor\` as \`cursor\` for the next page; it is null on the last one.
- Errors are RFC 9457 problem documents (\`application/problem+json\`). Faults of the input are listed all at once in \`errors\`.
- What can be changed carries an \`ETag\`: \`If-None-Match\` spares the body of what has not changed, \`If-Match\` refuses a change (412) of what somebody else has changed.
- Every answer carries \`X-Request-ID\`; send your own to find a call in the logs.
- \`RateLimit-Limit\`, \`RateLimit-Remaining\` and \`RateLimit-Reset\` tell what is left; 429 carries \`Retry-After\` in seconds.
`
