import { z } from 'zod'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import type { ModelChoice } from '../models/types.ts'

export const slugPattern = /^[a-z][a-z0-9-]{1,62}$/
export const agentPattern = /^([a-z][a-z0-9-]{1,62}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/
export const identifierPattern = /^[a-z][a-z0-9_]{0,62}$/

const identifierRule = 'must start with a lower-case letter and hold only a-z, 0-9 and _, at most 63 characters'
const slugRule = 'must match [a-z][a-z0-9-]{1,62}'

/** Goes into a text column, which takes no NUL. */
export const plainText = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\0]*$/, 'must not hold NUL characters')
export const identifier = () => z.string().regex(identifierPattern, identifierRule)
export const slug = () => z.string().regex(slugPattern, slugRule)
const credentialRef = () => z.string().regex(agentPattern, 'must be the slug or the id of a credential')
export const liquid = (about: string) => z.string().min(1).describe(`${about} A Liquid template.`)
export const cel = (about: string) => z.string().min(1).describe(`${about} A CEL expression.`)
export const duration = (about: string) => z.string().min(1).describe(`${about} A duration such as 30s, 5m or 1h30m.`)
/** A JSON value whose texts are Liquid and whose `{"$expr": …}` objects are CEL. */
export const tree = (about: string) =>
  z
    .custom<Json>((value) => value !== undefined, 'is required')
    .describe(`${about} A JSON value: texts are Liquid templates, {"$expr": "…"} is a CEL expression.`)
export const jsonSchema = (about: string) =>
  z
    .custom<JsonObject>(isObject, 'must be a JSON Schema object')
    .meta({ description: `${about} A JSON Schema (draft 2020-12).`, type: 'object' })
export const credential = z.strictObject({ credential: credentialRef().describe('Slug or id of a stored credential.') })

const fallback = z.strictObject({
  provider: z
    .string()
    .min(1)
    .max(100)
    .refine((provider) => provider !== 'offline', 'must not be the offline model'),
  model: z.string().min(1).max(200),
  base_url: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  credential: credentialRef().optional(),
})
export const model = z
  .strictObject({
    provider: z.string().min(1).max(100),
    model: z.string().min(1).max(200),
    temperature: z.number().min(0).max(2).optional(),
    max_output_tokens: z.int().min(1).max(1_000_000).optional(),
    top_p: z.number().min(0).max(1).optional(),
    base_url: z
      .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
      .optional()
      .describe('Base URL of an OpenAI-compatible server.'),
    credential: credentialRef().optional().describe('Slug or id of a stored credential for base_url.'),
    fallbacks: z.array(fallback).max(5).optional().describe('Tried in order on 408, 429, 5xx and timeouts.'),
  })
  .describe('Which model answers. Default: the one of the agent or of the workspace.') satisfies z.ZodType<ModelChoice>

export const retry = z.strictObject({
  max_attempts: z.int().min(1).max(20).describe('Attempts in all, the first included.'),
  backoff: duration('Longest wait before the second attempt; doubles with each further one. Default 1s.').optional(),
  max_delay: duration('Longest wait between two attempts. Default 5m.').optional(),
  retry_on: z
    .array(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be an error kind such as timeout or http_status'))
    .min(1)
    .max(20)
    .optional()
    .describe('Kinds of error that are tried again. Default: every error that may pass.'),
})

export const common = {
  id: identifier().describe('Unique in the whole recipe; `steps.<id>.output` reads its result.'),
  name: z.string().min(1).max(200).optional().describe('For people.'),
  needs: z
    .array(identifier())
    .max(200)
    .optional()
    .describe(
      'Steps of the same list that must have ended before this one starts; []: none. Default: the step before it.',
    ),
  when: cel('The step is skipped unless this is true.').optional(),
  retry: retry.optional(),
  timeout: duration('Longest time for one attempt.').optional(),
  on_error: z
    .union([z.literal('fail'), z.literal('continue'), z.strictObject({ goto: identifier() })], {
      error: 'must be "fail", "continue" or {"goto": "<step id>"}',
    })
    .optional()
    .describe('What follows when the step has failed for good. Default fail.'),
  once: z
    .literal(true, 'must be true or absent')
    .optional()
    .describe('Never make the effect twice, not even when its outcome is unknown.'),
}
