import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAutomatos, type Automatos } from '../../../clients/typescript/src/index.ts'
import { program, runAutomatos, startTestServer, type Ran } from '../../support/automatos.ts'
import { folderForTest, type AtEnd } from '../../support/folder.ts'
import { loopbackServer } from '../../support/loopback-server.ts'
import { startProcess } from '../../support/process.ts'
import { startInTerminal } from '../../support/pty.ts'

// Each line starts a process, on a machine that may be busy with other tests.
const patience = { timeout: 120_000 }

const cleanUps: (() => Promise<void>)[] = []
const afterTheFile: AtEnd = (end) => void cleanUps.unshift(end)
afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp()
})

let server: Awaited<ReturnType<typeof startTestServer>>
let api: Automatos
let environment: Record<string, string>
beforeAll(async () => {
  server = await startTestServer(afterTheFile)
  api = createAutomatos({ baseUrl: server.url, apiKey: server.key })
  environment = { AUTOMATOS_URL: server.url, AUTOMATOS_API_KEY: server.key }
}, patience.timeout)

const automatos = (args: readonly string[], env: Record<string, string> = {}): Promise<Ran> =>
  runAutomatos(args, { ...environment, ...env })

/** Runs it with --json; there is one document on standard output, or the test fails. */
async function asked<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await automatos([...args, '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as T
}

async function recipe(slug: string, steps: object[], rest: object = {}): Promise<string> {
  await api.createRecipe({ body: { name: slug, slug, steps, ...rest } as never })
  return slug
}
const value = { id: 'v', kind: 'transform', value: { sum: 3 } }
const longWait = { id: 'nap', kind: 'wait', duration: '1h' }

test('a newcomer needs no settings: a local server and its key are found', patience, async () => {
  const { port } = new URL(server.url)
  const local = { PORT: port, DATA_DIR: server.dataDir }
  const { code, stdout } = await runAutomatos(['status'], local)
  expect(stdout).toMatch(/^● healthy\n/)
  expect(stdout).toContain(join(server.dataDir, 'admin-api-key'))
  expect(stdout).toMatch(/database +healthy/)
  expect(code).toBe(0)

  // The key of this machine is not shown to another one.
  const remote = await runAutomatos(['key', 'list', '--url', server.url.replace('127.0.0.1', '0.0.0.0')], local)
  expect(remote.stderr).toContain('No API key. Set AUTOMATOS_API_KEY')
  expect(remote.code).toBe(4)
})

test('apply creates, changes and leaves alone, and takes away what a file no longer says', patience, async () => {
  const file = join(await folderForTest(), 'digest.yaml')
  const apply = async (text: string, ...options: string[]) => {
    await writeFile(file, text)
    return automatos(['recipe', 'apply', file, ...options])
  }
  const first = `
    name: The digest
    description: To be taken away
    inputs: { type: object, properties: { n: { type: integer } } }
    settings: { timeout: 1h, on_failure: { log: true } }
    cron_schedule: 0 7 * * 1-5
    steps: [{ id: a, kind: transform, value: 1 }]`
  expect((await apply(first, '--dry-run')).stdout).toBe('would be created The digest, version 1\n')
  expect((await apply(first)).stdout).toBe('created the-digest, version 1\n')
  expect((await apply(first)).stdout).toBe('unchanged the-digest, version 1\n')

  const second = first
    .replace(/ +description.*\n/, '')
    .replace(/, on_failure.*/, ' }')
    .replace(/ +inputs.*\n/, '')
  expect((await automatos(['recipe', 'diff', file])).stderr).toContain('No difference')
  await writeFile(file, second)
  const diff = await automatos(['recipe', 'diff', file, '--exit-code'])
  expect(diff.stdout.trimEnd().split('\n').toSorted()).toEqual([
    expect.stringMatching(/^- \/description {2}"To be/),
    expect.stringMatching(/^- \/inputs {2}\{/),
    expect.stringMatching(/^- \/settings\/on_failure {2}/),
    `version 1 → ${file}`,
  ])
  expect(diff.code).toBe(1)
  expect((await apply(second)).stdout).toBe('updated the-digest, version 2\n')
  const { data } = await api.exportRecipe({ path: { recipe: 'the-digest' } })
  expect(data).toEqual({
    name: 'The digest',
    slug: 'the-digest',
    steps: [{ id: 'a', kind: 'transform', value: 1 }],
    settings: { timeout: '1h' },
  })
  expect((await apply(second.replace('0 7', '0 8'))).stdout).toBe('updated the-digest, version 2\n')
  expect((await api.getRecipe({ path: { recipe: 'the-digest' } })).data.cron_schedule).toBe('0 8 * * 1-5')

  const versions = await asked<object>('recipe', 'diff', 'the-digest', '--from', '1', '--to', '2')
  expect(versions).toMatchObject({
    from: 1,
    to: 2,
    changes: expect.arrayContaining([expect.objectContaining({ op: 'remove' })]),
  })
})

test('nothing is written unless every file is valid; each fault has its file, line and pointer', patience, async () => {
  const folder = await folderForTest()
  await writeFile(
    join(folder, 'a.yaml'),
    'name: Fine\nslug: fine-one\nsteps:\n  - { id: a, kind: transform, value: 1 }\n',
  )
  await writeFile(join(folder, 'b.yaml'), 'name: Not fine\nsteps:\n  - id: a\n    kind: wonder\n')
  const run = await automatos(['recipe', 'apply', folder])
  expect(run).toMatchObject({ code: 5, stdout: '' })
  expect(run.stderr).toMatch(/b\.yaml:4:5 {2}\/steps\/0\/kind {2}must be one of/)
  const { data } = await api.listRecipes({ query: { q: 'fine-one' } })
  expect(data.items).toEqual([])

  const asJson = await automatos(['recipe', 'apply', folder, '--json'])
  expect(asJson.stdout).toBe('')
  expect(JSON.parse(asJson.stderr)).toMatchObject({
    error: { exit_code: 5, errors: [{ file: join(folder, 'b.yaml'), line: 4, column: 5, pointer: '/steps/0/kind' }] },
  })
})

test('what is exported is applied again without a change, through a pipe', patience, async () => {
  await recipe('piped', [value], { inputs: { type: 'object' }, output: { $expr: 'steps.v.output' } })
  const line = program.map((word) => `'${word}'`).join(' ')
  const pipe = startProcess('sh', ['-c', `${line} recipe export piped | ${line} recipe apply -`], environment)
  expect(await pipe.ended).toBe(0)
  expect(pipe.stdout()).toBe('unchanged piped, version 1\n')

  const file = join(await folderForTest(), 'piped.json')
  await automatos(['recipe', 'export', 'piped', '--version', '1', '--output', file])
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ name: 'piped', steps: [value] })
})

test('a reader that closes the pipe early is no error', patience, async () => {
  await recipe('long', [{ ...value, value: Array.from({ length: 20_000 }, (_, n) => `line ${n}`) }])
  const line = program.map((word) => `'${word}'`).join(' ')
  const pipe = startProcess('bash', ['-c', `set -o pipefail; ${line} recipe export long | head -1`], environment)
  expect(await pipe.ended).toBe(0)
  expect(pipe.stdout()).toBe('name: long\n')
  expect(pipe.stderr()).toBe('')
})

test('a run is followed line by line, and its exit code is that of the run', patience, async () => {
  await recipe('adds', [value], { output: { $expr: 'steps.v.output' } })
  const good = await automatos(['recipe', 'run', 'adds', '--follow'])
  expect(good.code).toBe(0)
  expect(good.stdout).toMatch(/^Run [0-9a-f-]{36} of adds, version 1\n/)
  expect(good.stdout).toMatch(/✓ v\n.*● execution\.succeeded\n● succeeded after .*\n\{\n {2}"sum": 3\n\}\n$/s)

  await recipe('fails', [{ id: 'end', kind: 'fail', message: 'Too late: {{ input.why }}' }])
  const bad = await automatos(['recipe', 'run', 'fails', '--input', 'why=rain', '--follow', '--json'])
  expect(bad.code).toBe(1)
  const lines = bad.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; execution: object })
  expect(lines[0]).toMatchObject({ type: 'started', execution: { recipe_version: 1 } })
  expect(lines.at(-2)).toMatchObject({ type: 'execution.failed', data: { error: { detail: 'Too late: rain' } } })
  expect(lines.at(-1)).toMatchObject({ type: 'ended', execution: { status: 'failed', input: { why: 'rain' } } })
})

test('waiting prints the output alone', patience, async () => {
  await recipe('says', [{ id: 'v', kind: 'transform', value: 'one\ntwo {{ input.x }}' }], {
    inputs: { type: 'object', properties: { x: { type: 'string' } } },
  })
  const waited = await automatos(['recipe', 'run', 'says', '-i', 'x=007', '--wait'])
  expect(waited).toEqual({ code: 0, stdout: 'one\ntwo 007\n', stderr: '' })
  const asDocument = await asked<object>('recipe', 'run', 'says', '-i', 'x=1', '--wait')
  expect(asDocument).toMatchObject({ status: 'succeeded', output: 'one\ntwo 1' })
})

test('runs are listed, shown and canceled', patience, async () => {
  await recipe('naps', [longWait])
  const started = await asked<{ id: string }>('recipe', 'run', 'naps')
  const following = automatos(['runs', 'follow', started.id])
  const canceled = await asked<{ id: string }>('runs', 'cancel', started.id, '--reason', 'enough')
  expect(canceled.id).toBe(started.id)
  const followed = await following
  expect(followed.code).toBe(1)
  expect(followed.stdout).toMatch(/● execution\.canceled: enough\n● canceled/)

  const list = await automatos(['runs', 'list', '--recipe', 'naps', '--limit', '1'])
  expect(list.stdout).toMatch(new RegExp(`^RUN .*\n${started.id}  canceled  naps +api `))
  expect(await asked('runs', 'list', '--recipe', 'naps', '--status', 'failed')).toEqual({
    items: [],
    next_cursor: null,
  })
  const shown = await automatos(['runs', 'show', started.id])
  expect(shown.stdout).toMatch(
    /^● canceled .*recipe +naps, version 1\n.*error +canceled: enough\n.*nap +wait +canceled/s,
  )
})

test('schedules are listed, previewed, paused and resumed', patience, async () => {
  await recipe('timed', [value])
  const { data } = await api.createSchedule({
    body: { recipe_id: 'timed', cron: '0 7 * * *', timezone: 'Europe/Vienna' },
  })
  const list = await automatos(['schedule', 'list', '--recipe', 'timed'])
  expect(list.stdout).toMatch(new RegExp(`${data.id}  timed +default  0 7 \\* \\* \\* Europe/Vienna  active`))
  expect((await automatos(['schedule', 'pause', data.id])).stdout).toContain('is paused.')
  expect(await asked('schedule', 'resume', data.id)).toMatchObject({ paused: false, status: 'active' })
  const preview = await automatos(['schedule', 'preview', data.id])
  expect(preview.stdout.split('\n')[0]).toMatch(/^EUROPE\/VIENNA +UTC/)
  expect(preview.stdout.match(/T07:00:00\+0[12]:00/g)).toHaveLength(5)
  const zoned = ['--timezone', 'America/New_York', '--start', '2027-03-13T00:00:00Z']
  const foreseen = await asked<{ next_slots: object[] }>('schedule', 'preview', '--cron', '30 2 * * *', ...zoned)
  expect(foreseen.next_slots[1]).toMatchObject({ dst: 'shifted' })
})

test('an agent is asked, and answers alone on standard output', patience, async () => {
  await api.createAgent({ body: { name: 'Echo', slug: 'echo', model: { provider: 'offline', model: 'offline' } } })
  const { stdout: prompted } = await automatos(['agent', 'run', 'echo', 'What', 'is new?'])
  expect(prompted.trim()).not.toBe('')
  expect(prompted).not.toContain('{')
  expect((await automatos(['agent', 'list'])).stdout).toMatch(/echo {3}Echo {2}offline\/offline/)
  const followed = await automatos(['agent', 'run', 'echo', 'Go on.', '--follow'])
  expect(followed.stdout).toContain('● execution.succeeded')
})

test('a key is made, works, and is revoked', patience, async () => {
  const created = await automatos(['key', 'create', 'reader', '--scopes', 'recipes:read', '--expires', '1h'])
  expect(created.stdout).toMatch(/^ak_srv_[0-9a-f]{64}\n$/)
  const key = { AUTOMATOS_API_KEY: created.stdout.trim() }
  expect((await automatos(['recipe', 'list', '--limit', '1'], key)).code).toBe(0)
  const refused = await automatos(['recipe', 'run', 'adds'], key)
  expect(refused).toMatchObject({ code: 4, stdout: '' })
  expect(refused.stderr).toContain('recipes:execute')

  const { items } = await asked<{ items: { id: string; name: string }[] }>('key', 'list')
  const { id } = items.find(({ name }) => name === 'reader')!
  expect((await automatos(['key', 'revoke', id])).stdout).toBe(`Key ${id} is revoked.\n`)
  const gone = await automatos(['recipe', 'list'], key)
  expect(gone.code).toBe(4)
  expect(gone.stderr).toContain('does not accept the key from AUTOMATOS_API_KEY')
})

test('each kind of failure has its exit code and a sentence that helps', patience, async () => {
  await recipe('once', [value])
  await automatos(['recipe', 'run', 'once', '--idempotency-key', 'k1'])
  const stopped = await loopbackServer((_, response) => {
    response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '5' })
    response.end(JSON.stringify({ type: '/problems/unavailable', detail: 'The database is away.', request_id: 'r-1' }))
  })
  const busy = ['runs', 'list', '--url', `http://127.0.0.1:${stopped.port}`]
  const cases: [args: string[], code: number, sentence: RegExp][] = [
    [['recipe', 'list', '--colour'], 2, /unknown option '--colour'/],
    [['recipe', 'run'], 2, /missing required argument 'recipe'/],
    [['recipe', 'list', '--limit', 'all'], 2, /--limit takes a whole number/],
    // The API takes null for a rate and means the default: what is no number must not become one.
    [['key', 'create', 'ci', '--rate-limit', '10/minute'], 2, /--rate-limit takes a whole number/],
    [['runs', 'stuck', '--days', 'week'], 2, /--days takes a whole number/],
    [['recipe', 'diff', 'once', '--from', '0'], 2, /--from takes a whole number/],
    [['recipe', 'export', 'once', '--output', '/nowhere/once.yaml'], 2, /once\.yaml cannot be written \(ENOENT\)/],
    [['runs', 'approve', crypto.randomUUID()], 3, /Nothing waits for a decision as/],
    [['agent', 'apply', 'examples/data-check.json'], 5, /is a recipe: use automatos recipe apply/],
    [['agent', 'apply', 'package.json'], 5, /needs a slug/],
    [['runs', 'show', 'nothing'], 3, /Execution nothing does not exist/],
    [['recipe', 'run', 'once', '--idempotency-key', 'k1', '--input', 'other=1'], 5, /key/i],
    [['schedule', 'preview', '--cron', 'never'], 5, /\/cron {2}must have 5 fields/],
    [
      ['status', '--url', 'http://127.0.0.1:9'],
      7,
      /Nothing answers at http:\/\/127\.0\.0\.1:9\. Start it with `npm start`/,
    ],
    [busy, 8, /The database is away\.\n {2}Request r-1/],
  ]
  const ran = await Promise.all(cases.map(([args]) => automatos(args)))
  for (const [index, [args, code, sentence]] of cases.entries()) {
    expect(ran[index], args.join(' ')).toMatchObject({ code, stdout: '' })
    expect(ran[index]!.stderr).toMatch(sentence)
  }
})

const escape = '\u001b['
const withTerminal = test.runIf(process.platform === 'linux')

withTerminal('on a terminal there are colours and a picture drawn again', patience, async () => {
  await recipe('shown', [value, longWait])
  const terminal = startInTerminal([...program, 'recipe', 'run', 'shown', '--follow'], environment, { columns: 60 })
  await terminal.saying(/nap .*waits 1 h 0 m/)
  const [id] = await terminal.saying(/[0-9a-f-]{36}/)
  await api.cancelExecution({ path: { execution: id }, body: {} })
  expect(await terminal.ended).toBe(1)
  const output = terminal.output()
  expect(output).toContain(`${escape}32m✓${escape}0m v`)
  expect(output).toContain(`${escape}36m▸${escape}0m ${escape}2mnap`)
  // One row up and all below it cleared: the line of the step at work gives way to what comes next.
  expect(output).toContain(`${escape}1A\r${escape}J`)
  expect(output).toContain(`${escape}33m● canceled${escape}0m`)

  const plain = startInTerminal([...program, 'recipe', 'list'], { ...environment, NO_COLOR: '1' }, { columns: 50 })
  expect(await plain.ended).toBe(0)
  expect(plain.output()).not.toContain(escape)
  expect(plain.output()).toContain('…')
  for (const line of plain.output().split('\r\n')) expect([...line].length).toBeLessThanOrEqual(50)
})

withTerminal('what a run gives cannot steer the terminal', patience, async () => {
  await recipe('hostile', [{ id: 'v', kind: 'transform', value: `red ${escape}31malert\u001b]0;title\u0007` }])
  const terminal = startInTerminal([...program, 'recipe', 'run', 'hostile', '--wait'], environment)
  expect(await terminal.ended).toBe(0)
  expect(terminal.output()).toBe('red alert\r\n')
  // Elsewhere it is what it is: a file is no terminal.
  expect((await automatos(['recipe', 'run', 'hostile', '--wait'])).stdout).toContain(`${escape}31malert`)
})

withTerminal('Ctrl-C lets go of a run, which goes on', patience, async () => {
  await recipe('goes-on', [longWait])
  const { data: run } = await api.executeRecipe({ path: { recipe: 'goes-on' }, body: {} })
  const terminal = startInTerminal([...program, 'runs', 'follow', run.id], environment)
  await terminal.saying(/nap .*waits/)
  terminal.press('\u0003')
  expect(await terminal.ended).toBe(130)
  expect(terminal.output()).toContain(`Cancel it:       automatos runs cancel ${run.id}`)
  const { data } = await api.getExecution({ path: { execution: run.id } })
  expect(data.finished_at).toBeNull()
})

test('agents are made of files, changed by them, and lose what a file no longer says', patience, async () => {
  const file = join(await folderForTest(), 'helper.agent.yaml')
  const apply = async (text: string) => {
    await writeFile(file, text)
    return (await automatos(['agent', 'apply', file])).stdout
  }
  const first =
    'name: Helper\nslug: helper\nsystem_prompt: You help.\ntools: [now]\nlimits: { max_rounds: 3, timeout: 30s }\n'
  expect(await apply(first)).toBe('created helper, version 1\n')
  expect(await apply(first)).toBe('unchanged helper, version 1\n')
  expect(await apply('name: Helper\nslug: helper\nlimits: { max_rounds: 4 }\n')).toBe('updated helper, version 2\n')
  const { data } = await api.getAgent({ path: { agent: 'helper' } })
  expect(data).toMatchObject({ name: 'Helper', system_prompt: null, tools: [], limits: { max_rounds: 4 } })
  expect(data.limits).not.toHaveProperty('timeout')
})

test('a folder gives its agents, all of them', patience, async () => {
  const folder = await folderForTest()
  expect(await automatos(['agent', 'apply', folder])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(folder),
  })
  for (const slug of ['first', 'second']) {
    await writeFile(join(folder, `${slug}.agent.yaml`), `name: ${slug}\nslug: ${slug}\n`)
  }
  await writeFile(join(folder, 'recipe.yaml'), 'name: No agent\n')
  const { stdout } = await automatos(['agent', 'apply', folder])
  expect(stdout).toBe('created first, version 1\ncreated second, version 1\n')
})

test('a key may take a role of the workspace', patience, async () => {
  await api.createRole({
    path: { workspace: 'current' },
    body: { slug: 'operations', name: 'Operations', permissions: ['recipes:read'] },
  })
  const made = await asked<{ scopes: string[] }>('key', 'create', 'ops', '--scopes', 'operations')
  expect(made.scopes).toEqual(['recipes:read'])
  const refused = await automatos(['key', 'create', 'ops', '--scopes', 'recipe:read'])
  expect(refused).toMatchObject({ code: 5, stdout: '' })
})
