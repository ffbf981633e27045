import { sql, type RawBuilder } from 'kysely'

/** Whether the session of a token was ended here, for a statement that calls `users` `u` or has it whole. */
export const isRevoked = (sessionId: string | undefined): RawBuilder<boolean> =>
  sessionId === undefined
    ? sql<boolean>`false`
    : sql<boolean>`exists (select from revoked_sessions s where s.user_id = u.id and s.sid = ${sessionId}::text)`
