/** Stands at the head of the document: what somebody needs before the first call works. */
export const authenticationGuide = `Agents, recipes and schedules that run durably: every step is checkpointed, so a run survives the process that began it.

## Authentication

Every call needs an API key, except where the operation says otherwise. Send it in one of two ways:

\`\`\`
Authorization: Bearer ak_srv_…
X-API-Key: ak_srv_…
\`\`\`

The first start on an empty embedded database makes an owner key, prints it once and writes it to \`admin-api-key\` in the data folder; \`ADMIN_API_KEY\` sets one instead. Further keys come from \`POST /api/api-keys\`. A key belongs to one workspace, sees only that workspace, and holds the permissions that it was made with: an empty list grants nothing. Each operation names the permission it needs.

If both headers are sent, \`Authorization\` counts. A key that is wrong, expired or revoked answers 401 and is never replaced by another credential. Keys that begin with \`ak_pub_\` stand in public pages and work under \`/api/widgets\` only.

## Conventions

- JSON in snake_case; times in ISO 8601 with Z; ids are UUIDs. Paths answer with and without a trailing slash.
- Lists answer \`{ "items": [...], "next_cursor": ... }\`. Pass \`next_cursor\` as \`cursor\` for the next page; it is null on the last one.
- Errors are RFC 9457 problem documents (\`application/problem+json\`). Faults of the input are listed all at once in \`errors\`.
- Every answer carries \`X-Request-ID\`; send your own to find a call in the logs.
- \`RateLimit-Limit\`, \`RateLimit-Remaining\` and \`RateLimit-Reset\` tell what is left; 429 carries \`Retry-After\` in seconds.
`
