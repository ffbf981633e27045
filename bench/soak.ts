import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { pause } from '../test/chaos/support/cluster.ts'
import { milliseconds, perSecond } from './result.ts'
import { judgeRuns } from './soak/judge.ts'
import { judgeMemory, residentMb, type MemoryVerdict, type Sample } from './soak/memory.ts'
import { installed, openPlace, type Place } from './soak/place.ts'
import { withSoakSection } from './soak/section.ts'
import { Traffic } from './soak/traffic.ts'
import { Trials } from './soak/trials.ts'

// Mixed traffic for half an hour on two Node replicas, a PostgreSQL and a Redis of their own, at a share of the most that this
// machine was found to serve just before. In its first half both replicas are restarted one after the other, then Redis, then
// PostgreSQL, then every connection is cut again and again; its second half is left alone, and shows whether memory grows.
// No answer is a 5xx but 503 with Retry-After while PostgreSQL is away; no run is lost, doubled or left open; every event
// comes once. Half an hour or more is written into docs/benchmarks.md.
// Usage: npm run soak [-- minutes] [--share 0.8]
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { share: { type: 'string', default: '0.8' } },
})
const minutes = Number(positionals[0] ?? 30)
const share = Number(values.share)
if (!(minutes >= 1) || !(share > 0 && share <= 1)) throw new Error('Usage: npm run soak [-- minutes] [--share 0.8]')

const clients = 192
const followers = 8
const [warmUpMs, measuredMs] = [6_000, 14_000]
const samplePeriodMs = 1_000
/** Of what a process occupies: a short soak ends while heaps still find their size. */
const toleratedShare = minutes >= 20 ? 0.1 : 0.25

const { postgres, redis } = installed()
if (postgres === null || redis === null) {
  console.log("soak: PostgreSQL's or Redis' own programs are not installed; left out")
} else {
  const place = await openPlace(postgres, redis)
  // Stopped halfway it leaves no servers behind.
  process.once('SIGTERM', () => void place.close().finally(() => process.exit(1)))
  try {
    await soak(place)
  } finally {
    await place.close()
  }
}

async function soak(place: Place): Promise<void> {
  const traffic = new Traffic(place)
  await traffic.prepare()
  const most = await traffic.measure(clients, warmUpMs, measuredMs)
  const rate = most * share
  console.log(`soak: at most ${perSecond(most, 'requests')}; ${minutes} min at ${perSecond(rate, 'requests')}`)

  const schedule = await place.client.post('/api/schedules', {
    recipe_id: 'tick',
    interval: '1s',
    overlap: 'allow',
    misfire: { catch_up: 1000 },
  })
  if (schedule.status !== 201) throw new Error(schedule.body)
  const { id: scheduleId } = JSON.parse(schedule.body) as { id: string }

  const before = traffic.answered
  const begunMs = performance.now()
  const load = traffic.load(rate, followers)
  const at = (part: number) => pause(Math.max(0, begunMs + part * minutes * 60_000 - performance.now()))
  const trials = new Trials(place, traffic)
  const memory = place.servers.map((): Sample[] => [])
  const course = async () => {
    await at(0.1)
    const stops = await trials.rollingRestart()
    await at(0.2)
    const redisMs = await trials.redisRestart()
    await at(0.3)
    const postgresMs = await trials.postgresRestart()
    await at(0.4)
    const cut = await trials.cutConnections()
    await at(0.5)
    const endMs = begunMs + minutes * 60_000
    while (performance.now() < endMs) {
      for (const [n, { pid }] of place.servers.entries()) {
        const mb = residentMb(pid)
        if (mb === null) throw new Error('A replica has ended by itself.')
        memory[n]!.push({ atMs: performance.now(), mb })
      }
      await pause(samplePeriodMs)
    }
    return { stops, redisMs, postgresMs, cut }
  }
  const met = await Promise.race([course(), traffic.failed])
  const seconds = (performance.now() - begunMs) / 1_000
  const served = (traffic.answered - before) / seconds
  await load.stop()
  await place.client.post(`/api/schedules/${scheduleId}/pause`, {})
  const judged = await judgeRuns(place, traffic, scheduleId)
  // Otherwise PostgreSQL was away and nobody noticed.
  if (traffic.refused === 0) throw new Error('No request met an outage.')
  const verdicts = memory.map((samples) => judgeMemory(samples, toleratedShare))

  const away = traffic.outages.map(({ name, fromMs, toMs }) => `${name} ${((toMs - fromMs) / 1_000).toFixed(1)} s`)
  const quantile = (part: number) => milliseconds(traffic.latencies.quantile(part))
  const figures: [string, string][] = [
    ['served at most, measured before', perSecond(most, 'requests')],
    ['load', `${perSecond(rate, 'requests')}, ${Math.round(share * 100)} % of it`],
    ['served', perSecond(served, 'requests')],
    ['answered within', `${quantile(0.5)} (p50), ${quantile(0.95)} (p95), ${quantile(0.99)} (p99), outages included`],
    ['runs, each ended once', `${whole(judged.runs)} with ${whole(judged.effects)} calls, none lost, none repeated`],
    ['slots of a schedule of one second', `${whole(judged.slots)} fired, none without its line`],
    ['runs followed to their end', `${whole(traffic.followed)}, ${traffic.resumed} times at another replica or stream`],
    ['503 with Retry-After', `${whole(traffic.refused)}, all in the outages (${away.join(', ')})`],
    ['other 5xx', '0'],
    ['replicas ended after SIGTERM within', met.stops.map(milliseconds).join(', ')],
    ['limits shared again behind Redis', milliseconds(met.redisMs)],
    ['ready again behind PostgreSQL', milliseconds(met.postgresMs)],
    ['connections cut', whole(met.cut)],
    ['last run ended after the load', milliseconds(judged.drainedMs)],
    ...verdicts.map((verdict, n): [string, string] => [`memory of replica ${n + 1}`, told(verdict)]),
  ]
  for (const [name, value] of figures) console.log(`  ${name}: ${value}`)
  if (traffic.held > 0) console.log(`  not sent, because too much was under way: ${whole(traffic.held)}`)
  const growing = verdicts.filter(({ isGrowing }) => isGrowing)
  if (growing.length > 0) throw new Error(`Memory grows: ${growing.map(told).join('; ')}`)
  if (minutes >= 30) write(figures)
}

function told({ startMb, endMb, grownMb, noiseMb }: MemoryVerdict): string {
  const trend = `${grownMb < 0 ? '' : '+'}${grownMb.toFixed(1)} MB by the slope of the last quarter`
  return `${startMb.toFixed(0)} MB, then ${endMb.toFixed(0)} MB (${trend}, noise ${noiseMb.toFixed(1)} MB)`
}

function write(figures: [string, string][]): void {
  const file = new URL('../docs/benchmarks.md', import.meta.url)
  const text = `## Soak

Written by \`npm run soak\`: ${minutes} minutes of mixed traffic (70 % reads, 12 % changes of agents, 18 % starts of runs with two
calls each) on two Node replicas, with a PostgreSQL and a Redis of their own, on
one machine of ${availableParallelism()} cores that also makes the load. In the first half both replicas are restarted one after the
other, then Redis, then PostgreSQL, then all connections are cut 20 times.

| | |
|---|---|
${figures.map(([name, value]) => `| ${name} | ${value} |`).join('\n')}`
  writeFileSync(file, withSoakSection(readFileSync(file, 'utf8'), text))
}

function whole(count: number): string {
  return count.toLocaleString('en-US')
}
