import type { Log, Runtime } from '../context.ts'

/** Stands in where a runtime could not be opened. */
export interface Closed {
  runtime: Runtime
  openError: unknown
  close?: undefined
}

export const closed = (openError: unknown): Closed => ({ runtime: closedRuntime, openError })

// There is no configured log yet, so the platform's console takes the line.
const write = (message: string, fields?: object) =>
  console.error(JSON.stringify({ level: 'error', message, ...fields }))
const consoleLog: Log = { debug() {}, info() {}, warn: write, error: write, with: () => consoleLog }

const unlimited = () => ({ allowed: true, limit: 1, remaining: 1, resetSeconds: 1 })

/**
 * Just what the layers need to refuse: a clock, a log, and settings that reveal nothing. Safe as a Runtime because a refused
 * request reaches neither authentication nor a handler.
 */
const closedRuntime = {
  platform: 'workers',
  config: { environment: 'production' },
  clock: { now: () => new Date(), monotonicMs: () => performance.now() },
  log: consoleLog,
  limiter: { take: unlimited, peek: unlimited },
} as unknown as Runtime
