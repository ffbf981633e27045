import { z } from '@hono/zod-openapi'

/** Of the paths below a workspace. */
export const inWorkspace = {
  workspace: z
    .string()
    .max(100)
    .openapi({ description: 'Id of the workspace in which the caller acts, or `current`.', example: 'current' }),
}

export const roleSlug = z
  .string()
  .min(1)
  .max(63)
  .openapi({ description: 'Built in (`owner`, `admin`, `editor`, `viewer`), or one of the workspace.' })

export const memberExample = {
  user_id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  email: 'user@example.com',
  name: 'Example User',
  role: 'editor',
  signs_in_with: 'token',
  joined_at: '2026-11-22T08:00:00.000Z',
}

export const Joined = z.object({
  workspace: z.object({ id: z.uuid(), slug: z.string(), name: z.string() }),
  role: z.string(),
})
export const joinedExample = {
  workspace: { id: '01939f3c-5c2b-7b3e-9d1a-2f6b8c4d5e6f', slug: 'research-4f1d8a2c', name: 'Research' },
  role: 'editor',
}
