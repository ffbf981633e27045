import { once } from 'node:events'
import { flushCompileCache } from 'node:module'
import postgres from 'postgres'
import { createApp } from '../../../src/app.ts'
import { parseConfig } from '../../../src/config.ts'
import type { Egress } from '../../../src/context.ts'
import { openNodeRuntime } from '../../../src/runtime/node/index.ts'
import type { ConnectLine } from '../../../src/runtime/postgres-line.ts'
import { asLogin } from '../../../src/db/scope.ts'
import { postgresScopes } from '../../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../../src/runtime/postgres-pool.ts'
import { deathName, live, type Lifetime, type Sent } from './life.ts'

/**
 * A process of the product that lives some runs through, each on a database of its own, and dies by SIGKILL where their
 * lifetimes say so: before a statement is sent, when the server has carried it out and nobody has heard of it, or when an
 * effect has been answered. A run that has come to its place stands still there until the others have come to theirs, or
 * to their ends. Then all die at once.
 */
let standing = 0
let lives = 0
const ends: (Sent[] | null)[] = []

/** Of something that will not come any more. */
const never = new Promise<never>(() => {})

function stand(): Promise<never> {
  standing++
  if (standing === lives) finish()
  return never
}

function finish(): void {
  // Who is killed keeps no cache, and those that come behind load in half the time with it.
  flushCompileCache()
  process.send!({ ends }, () => process.kill(process.pid, 'SIGKILL'))
}

async function liveThrough({ env, recipe, key, death }: Lifetime, nth: number): Promise<void> {
  const config = parseConfig(env)
  const opened = await openNodeRuntime(config)
  const statements: Sent[] = []
  let effects = 0
  let [underWay, effectsSeen] = [0, 0]
  let isStanding = false
  const standHere = () => {
    isStanding = true
    return stand()
  }

  /** Everything goes through here: single statements, and what opens and closes transactions. */
  const countedLine: ConnectLine = (line) => {
    const connection = { application_name: deathName }
    const client = postgres(config.databaseUrl!.reveal(), { ...line, connection, onnotice() {} } as object)
    const send = client.unsafe.bind(client)
    const counted = async (...query: Parameters<typeof send>) => {
      if (isStanding) return never
      const at = statements.push({ text: query[0], isApart: underWay > 0 || effects > effectsSeen })
      effectsSeen = effects
      if (death?.kind === 'before' && death.at === at) return standHere()
      underWay++
      const result = await send(...query).finally(() => underWay--)
      if (death?.kind === 'after' && death.at === at) return standHere()
      // Whatever was sent beside it is carried out, and nobody hears of it.
      return isStanding ? never : result
    }
    // Sent when it is asked for, and in that order; the driver sends when it is told to or awaited.
    const unsafe = (...query: Parameters<typeof send>) => {
      const answer = counted(...query)
      return Object.assign(answer, { execute: () => answer })
    }
    return Object.assign(client, { unsafe }) as unknown as ReturnType<ConnectLine>
  }
  const countedEgress: Egress = async (request, options) => {
    if (isStanding) return never
    const answer = await opened.egress(request, options)
    if (death?.kind === 'answered' && death.at === ++effects) return standHere()
    return isStanding ? never : answer
  }
  const pool = new PostgresPool({ connect: countedLine, max: 3 })
  const db = postgresScopes(pool).engine
  const runtime = { ...opened, db, egress: countedEgress }
  const app = createApp(config, () => ({ runtime }))
  await live({ app, runtime, adminKey: config.adminApiKey!.reveal(), eye: asLogin(opened.db) }, recipe, key)
  ends[nth] = statements
  await stand()
}

const told = once(process, 'message')
process.send!({ ready: true })
const [lifetimes] = (await told) as [Lifetime[]]
lives = lifetimes.length
ends.push(...lifetimes.map(() => null))
for (const [nth, lifetime] of lifetimes.entries()) void liveThrough(lifetime, nth)
