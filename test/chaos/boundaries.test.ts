import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectTrueCounters, expectWholeEffects, expectWholeRuns, unrecordedCalls } from '../support/invariants.ts'
import { buildDoomed, Doomed } from './support/doomed.ts'
import { startEffectServer } from './support/effect-server.ts'
import { Lane } from './support/lane.ts'
import type { Death, Sent } from './support/life.ts'

/** Teams work side by side. The lanes of a team share the process that dies, and have a database each. */
const [teamCount, lanesOfTeam] = [2, 3]

let program: Awaited<ReturnType<typeof buildDoomed>>
let effectServer: Awaited<ReturnType<typeof startEffectServer>>
let lanes: Lane[] = []
beforeAll(async () => {
  program = await buildDoomed()
  effectServer = await startEffectServer(() => 0)
  lanes = await Promise.all(Array.from({ length: teamCount * lanesOfTeam }, () => Lane.open()))
  for (const lane of lanes) for (const recipe of recipes(effectServer.url)) await lane.createRecipe(recipe)
})
afterAll(async () => {
  await Promise.all(lanes.map((lane) => lane.close()))
  effectServer?.close()
  await program?.remove()
})

/** Ten steps, one of each kind that acts or waits; `below` is the run that one of them starts. */
function recipes(url: string): object[] {
  const post = (step: string) => ({ method: 'POST', url, body: { run: '{{ run.id }}', step } })
  const http = (id: string, rest: object = {}) => ({ id, kind: 'http', request: post(id), ...rest })
  const below = {
    name: 'Below',
    slug: 'below',
    inputs: { type: 'object', properties: { of: { type: 'string' } }, required: ['of'] },
    steps: [http('inner'), { id: 'heard', kind: 'wait', event: 'go', timeout: '1d' }],
    output: { $expr: '[input.of, steps.heard.output]' },
  }
  const steps = [
    http('fetch'),
    { id: 'shape', kind: 'transform', value: { $expr: 'input.items' } },
    {
      id: 'route',
      kind: 'branch',
      cases: [{ when: 'steps.shape.output.size() > 2', steps: [http('many')] }],
      default: [http('few')],
    },
    {
      id: 'each',
      kind: 'foreach',
      items: { $expr: 'steps.shape.output' },
      as: 'item',
      concurrency: 2,
      steps: [http('work'), { id: 'name', kind: 'transform', value: { $expr: '{"of": item}' } }],
    },
    { id: 'nap', kind: 'wait', duration: '1h' },
    { id: 'ok', kind: 'approval', message: 'Go on with {{ steps.each.output.size }}?', timeout: '8h' },
    { id: 'call', kind: 'tool', tool: 'http_request', arguments: post('call') },
    { id: 'child', kind: 'recipe', recipe: 'below', input: { of: { $expr: 'steps.shape.output[0]' } } },
    { id: 'tell', kind: 'notify', message: 'Done.', webhook: { url } },
    http('charge', { once: true, on_error: 'continue' }),
  ]
  const output = { $expr: '[steps.each.output, steps.ok.output.decision, steps.child.output]' }
  // One at a time: a slot that a dead process kept would hold up every run behind it.
  const settings = { concurrency: [{ limit: 1 }, { limit: 1, key: '{{ input.items | first }}' }] }
  return [below, { name: 'Ten steps', slug: 'ten-steps', steps, output, settings }]
}

/** Every effect of such a run, and of the run below it. */
const effectsOfRun = ['fetch', 'route/0/many', 'each/0/work', 'each/1/work', 'each/2/work', 'call', 'tell']
const keysOf = (run: string, below: string) => [
  ...effectsOfRun.map((path) => `${run}/1/${path}/0.0`),
  `${below}/1/inner/0.0`,
]
const onceKey = (run: string) => `${run}/1/charge/0.0`
const effectCount = effectsOfRun.length + 2

test('a run whose process is killed at any statement of its, before or behind it, or behind any effect, becomes what it would have', async () => {
  const first = new Doomed(program)
  const [undisturbed] = await trials(first, [lanes[0]!], [null])
  const statements = undisturbed!.statements!
  expect(statements.length).toBeGreaterThan(60)
  expect(undisturbed!.outcome.ends).toEqual({
    run: { state: 'succeeded', output: [[{ of: 'a' }, { of: 'b' }, { of: 'c' }], 'approved', ['a', 'come']] },
    below: { state: 'succeeded', output: ['a', 'come'] },
  })
  expect(Object.values(undisturbed!.outcome.steps).filter((status) => status !== 'succeeded')).toEqual([])

  const tally = { before: 0, after: 0, answered: 0, survived: 0, repeats: 0, unknown: 0 }
  /** A run that sends more than the undisturbed one has boundaries behind its last: the search ends where one goes through. */
  let isThrough = false
  const deaths = deathsOf(statements, effectCount, () => isThrough)
  const judge = (death: Death, met: Trial) => {
    const survived = met.statements !== null
    if (survived && death.at > statements.length) isThrough = true
    tally[survived ? 'survived' : death.kind]++
    tally.repeats += met.repeats
    if (met.isUnknown) tally.unknown++
    const steps = { ...undisturbed!.outcome.steps, 'run/charge': met.isUnknown ? 'failed' : 'succeeded' }
    expect(met.outcome).toEqual({ ...undisturbed!.outcome, steps })
  }
  const work = async (team: Lane[]) => {
    let next = new Doomed(program)
    for (;;) {
      const taken = team.flatMap(() => deaths.next().value ?? [])
      const doomed = next
      if (taken.length === 0) return doomed.end()
      next = new Doomed(program)
      try {
        const met = await trials(doomed, team, taken)
        for (const [n, death] of taken.entries()) judge(death, met[n]!)
      } catch (error) {
        const where = taken.map(({ kind, at }) =>
          kind === 'answered'
            ? `when effect ${at} was answered`
            : `${kind} ${at}: ${statements[at - 1]?.text.trim().slice(0, 200)}`,
        )
        throw new Error(`Killed ${where.join('\n')}`, { cause: error })
      }
    }
  }
  await Promise.all(
    Array.from({ length: teamCount }, (_, n) => work(lanes.slice(n * lanesOfTeam).slice(0, lanesOfTeam))),
  )
  console.log(`boundaries: ${statements.length} statements, ${effectCount} effects; ${JSON.stringify(tally)}`)
  // Otherwise the deaths have met nothing, and all of the above would prove nothing.
  expect(tally.answered).toBe(effectCount)
  expect(tally.after).toBeGreaterThan(0.95 * statements.length)
  expect(tally.before).toBeGreaterThan(0)
  expect(tally.repeats).toBeGreaterThanOrEqual(effectCount - 1)
  expect(tally.unknown).toBeGreaterThan(0)
})

/**
 * Behind the answer of each effect, behind each statement, and before each that something else came before: otherwise the rows
 * are as they were behind the last. For as long as `isOver` does not say.
 */
function* deathsOf(statements: Sent[], effects: number, isOver: () => boolean): Generator<Death, void> {
  for (let at = 1; at <= effects; at++) yield { kind: 'answered', at }
  for (let at = 1; at <= statements.length || !isOver(); at++) {
    if (statements[at - 1]?.isApart ?? true) yield { kind: 'before', at }
    yield { kind: 'after', at }
  }
}

/** One process lives a run through on each lane and dies; then each run is brought to its end by another, and looked at. */
async function trials(doomed: Doomed, team: Lane[], deaths: (Death | null)[]): Promise<Trial[]> {
  const lives = deaths.map((death, n) => {
    const lane = team[n]!
    return { lane, lifetime: { env: lane.env, recipe: 'ten-steps', key: crypto.randomUUID(), death } }
  })
  const ends = await doomed.live(lives.map(({ lifetime }) => lifetime))
  return Promise.all(lives.map(({ lane, lifetime }, n) => afterDeath(lane, lifetime.key, ends[n]!)))
}

type Trial = Awaited<ReturnType<typeof afterDeath>>

/** `statements` are those of a run that had come to its end before its process died. */
async function afterDeath(lane: Lane, key: string, statements: Sent[] | null) {
  const { db } = lane
  await lane.untilGone()
  await effectServer.arrived()
  const atDeath = await familyOf(lane, key)
  const inFlight = await unrecordedCalls(db, atDeath, effectServer.effects.keys())
  const begun = await db
    .selectFrom('run_calls')
    .select('run_id')
    .where('run_id', 'in', sql<string>`(select id from runs where id = ${atDeath[0] ?? null})`)
    .where('result', 'is', null)
    .execute()

  const id = await lane.survive('ten-steps', key)
  const family = await familyOf(lane, key)
  expect(family).toHaveLength(2)
  const [run, below] = family as [string, string]
  expect(id).toBe(run)
  expect(family.slice(0, atDeath.length)).toEqual(atDeath)
  await expectWholeRuns(db, family)
  await expectTrueCounters(db)

  const seen = new Map([...effectServer.effects].filter(([key]) => family.includes(key.split('/')[0]!)))
  const once = onceKey(run)
  // Begun and not recorded: whether it was made is what nobody knows.
  const isUnknown = begun.length > 0
  const expected = [...keysOf(run, below), ...(isUnknown && !seen.has(once) ? [] : [once])]
  const allowed = new Map(inFlight.filter((key) => key !== once).map((key) => [key, 1]))
  const repeats = expectWholeEffects(seen, expected, allowed)
  return { statements, isUnknown, repeats, outcome: await outcomeOf(lane, run, below) }
}

/** The run of this key, and the run below it as far as it has come. */
async function familyOf({ db }: Lane, key: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    with run as (select id from runs where idempotency_key like ${`%:${key}`})
    select id, 0 as depth from run
    union all select id, 1 from runs where parent_run_id in (select id from run)
    order by depth`.execute(db)
  return rows.map((row) => row.id)
}

async function outcomeOf({ db }: Lane, run: string, below: string) {
  const ends = await db.selectFrom('runs').select(['id', 'state', 'output']).where('id', 'in', [run, below]).execute()
  const steps = await db
    .selectFrom('run_steps')
    .select(['run_id', 'path', 'status'])
    .where('run_id', 'in', [run, below])
    .execute()
  return {
    ends: Object.fromEntries(ends.map(({ id, ...end }) => [id === run ? 'run' : 'below', end])),
    steps: Object.fromEntries(
      steps
        .map(({ run_id, path, status }) => [`${run_id === run ? 'run' : 'below'}/${path}`, status])
        .toSorted(([a], [b]) => (a! < b! ? -1 : 1)),
    ) as Record<string, string>,
  }
}
