import { afterAll, expect, test } from 'vitest'
import { DatabaseAway } from '../../../src/lib/database-away.ts'
import { AppError } from '../../../src/lib/errors.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createEngineBench, http, recipe } from '../../support/engine.ts'

const database = await createTestDatabase()
afterAll(() => database.close())

const away = () => new DatabaseAway(new Error('connect ECONNREFUSED'))

async function run(step: object, failures: unknown[]) {
  const bench = await createEngineBench(database)
  bench.script('only', () => {
    const failure = failures.shift()
    if (failure) throw failure
    return { ok: true }
  })
  const id = await bench.start(recipe([http('only', step)]))
  const worker = bench.worker()
  await worker.claim()
  await worker.idle()
  return { ...(await bench.run(id)), step: (await bench.steps(id))['only']! }
}

test('a step that meets a database that is away begins again; it is not failed, nor is it a try of its own', async () => {
  const wrapped = new StepError('unavailable', 'The database does not answer.', { cause: away() })
  expect(await run({}, [away(), wrapped])).toMatchObject({
    state: 'succeeded',
    step: { status: 'succeeded', attempts: 1 },
  })
})

test('what is made once is not made again on the word that the database was away', async () => {
  expect(await run({ once: true }, [away()])).toMatchObject({ state: 'failed', step: { status: 'failed' } })
})

test('a storage that is away fails the step in words of its own, and a retry may help', async () => {
  const gone = () => new AppError('unavailable', 'The file storage does not answer. Try again shortly.')
  const error = { kind: 'unavailable', detail: 'The file storage does not answer. Try again shortly.' }
  expect(await run({}, [gone()])).toMatchObject({ state: 'failed', step: { error } })
  const retried = await run({ retry: { max_attempts: 2, backoff: '1ms' } }, [gone()])
  expect(retried).toMatchObject({ state: 'succeeded', step: { attempts: 2 } })
})
