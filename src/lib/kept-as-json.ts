import type { z } from 'zod'

const kept = new WeakSet<object>()

/** Marks a text that goes into a JSON value, such as the input of a run, and may therefore hold any character. */
export function keptAsJson<T extends z.ZodType>(schema: T): T {
  kept.add(schema)
  return schema
}

export const isKeptAsJson = (schema: object): boolean => kept.has(schema)
