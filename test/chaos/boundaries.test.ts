import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectTrueCounters, expectWholeEffects, expectWholeRuns, unrecordedCalls } from '../support/invariants.ts'
import { buildDoomed } from './support/doomed.ts'
import { startEffectServer } from './support/effect-server.ts'
import { Lane } from './support/lane.ts'
import type { Death } from './support/life.ts'

/** Each on a database of its own. More of them would wait for the processor. */
const laneCount = 3

let program: Awaited<ReturnType<typeof buildDoomed>>
let effectServer: Awaited<ReturnType<typeof startEffectServer>>
let lanes: Lane[] = []
beforeAll(async () => {
  program = await buildDoomed()
  effectServer = await startEffectServer(() => 0)
  lanes = await Promise.all(Array.from({ length: laneCount }, () => Lane.open(program)))
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
  return [below, { name: 'Ten steps', slug: 'ten-steps', steps, output }]
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
  const undisturbed = await trial(lanes[0]!, null)
  const statements = undisturbed.statements!
  expect(statements.length).toBeGreaterThan(60)
  expect(undisturbed.outcome.ends).toEqual({
    run: { state: 'succeeded', output: [[{ of: 'a' }, { of: 'b' }, { of: 'c' }], 'approved', ['a', 'come']] },
    below: { state: 'succeeded', output: ['a', 'come'] },
  })
  expect(Object.values(undisturbed.outcome.steps).filter((status) => status !== 'succeeded')).toEqual([])

  const tally = { before: 0, after: 0, answered: 0, survived: 0, repeats: 0, unknown: 0 }
  /** A run that sends more than the undisturbed one has boundaries behind its last: the search ends where one goes through. */
  let isThrough = false
  const deaths = deathsOf(statements.length, effectCount, () => isThrough)
  const work = async (lane: Lane) => {
    for (const death of deaths) {
      try {
        const met = await trial(lane, death)
        const survived = met.statements !== null
        if (survived && death.at > statements.length) isThrough = true
        tally[survived ? 'survived' : death.kind]++
        tally.repeats += met.repeats
        if (met.isUnknown) tally.unknown++
        const steps = { ...undisturbed.outcome.steps, 'run/charge': met.isUnknown ? 'failed' : 'succeeded' }
        expect(met.outcome).toEqual({ ...undisturbed.outcome, steps })
      } catch (error) {
        throw new Error(`Killed ${death.kind} ${death.at}: ${statements[death.at - 1]}`, { cause: error })
      }
    }
  }
  await Promise.all(lanes.map(work))
  console.log(`boundaries: ${statements.length} statements, ${effectCount} effects; ${JSON.stringify(tally)}`)
  // Otherwise the deaths have met nothing, and all of the above would prove nothing.
  expect(tally.answered).toBe(effectCount)
  expect(tally.before + tally.after).toBeGreaterThan(1.9 * statements.length)
  expect(tally.repeats).toBeGreaterThanOrEqual(effectCount - 1)
  expect(tally.unknown).toBeGreaterThan(0)
})

/** Behind the answer of each effect, and on either side of each statement, for as long as `isOver` does not say. */
function* deathsOf(statements: number, effects: number, isOver: () => boolean): Generator<Death, void> {
  for (let at = 1; at <= effects; at++) yield { kind: 'answered', at }
  for (let at = 1; at <= statements || !isOver(); at++) {
    yield { kind: 'before', at }
    yield { kind: 'after', at }
  }
}

async function trial(lane: Lane, death: Death | null) {
  const key = crypto.randomUUID()
  const { db } = lane
  const statements = await lane.liveAndDie('ten-steps', key, death)
  const atDeath = await familyOf(lane, key)
  await effectServer.arrived()
  const inFlight = await unrecordedCalls(db, atDeath, effectServer.effects.keys())
  const begun = await db
    .selectFrom('run_calls')
    .select('key')
    .where('run_id', 'in', [...atDeath, crypto.randomUUID()])
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
