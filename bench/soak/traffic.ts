import { pause } from '../../test/chaos/support/cluster.ts'
import { textOf, type Answer } from '../../test/chaos/support/keep-alive-client.ts'
import { Latencies } from './latencies.ts'
import type { Place } from './place.ts'

/** What of a hundred requests each kind has: mostly reads, as of people and programs that look; a good part starts work. */
const mix = { list: 15, read: 30, recipe: 15, agents: 10, change: 12, start: 15, wait: 3 } as const
type Kind = keyof typeof mix
const drawn = Object.entries(mix).flatMap(([kind, share]) => Array.from({ length: share }, () => kind as Kind))

export interface Outage {
  name: string
  fromMs: number
  /** Open while it lasts. */
  toMs: number
}
const agentCount = 20
/** Beyond, requests are not sent: what would be measured is how many sockets a machine has. */
const mostInFlight = 3_000
/** Of a start whose run is waited for while the maximum is measured. */
const runPatienceMs = 30_000

/** Mixed traffic on both replicas, and everything that it has been told. */
export class Traffic {
  readonly acknowledged = new Set<string>()
  readonly latencies = new Latencies()
  /** Times in which a 503 may come. */
  readonly outages: Outage[] = []
  /** The first fault ends the soak. */
  readonly failed: Promise<never>
  answered = 0
  refused = 0
  held = 0
  followed = 0
  resumed = 0
  #fail!: (error: Error) => void
  #inFlight = 0
  #drawn = 0
  #agents: string[] = []
  #recent: string[] = []
  readonly #place: Place

  constructor(place: Place) {
    this.#place = place
    this.failed = new Promise((_, reject) => (this.#fail = reject))
    this.failed.catch(() => {})
  }

  async prepare(): Promise<void> {
    const { client, effects } = this.#place
    const effect = (id: string) => ({
      id,
      kind: 'http',
      request: { method: 'POST', url: effects.url, body: { run: '{{ run.id }}', step: id } },
    })
    const rest = (duration: string) => ({ id: 'rest', kind: 'wait', duration })
    const made = async (path: string, body: object) => {
      const answer = await client.post(path, body)
      if (answer.status !== 201) throw new Error(`POST ${path} answered ${answer.status}: ${answer.body}`)
      return (JSON.parse(answer.body) as { id: string }).id
    }
    const recipe = (slug: string, steps: object[]) => made('/api/workflow-recipes', { name: slug, slug, steps })
    await recipe('effects', [effect('a'), rest('500ms'), effect('b')])
    await recipe('long', [effect('a'), rest('2s'), effect('b')])
    await recipe('tick', [{ id: 'at', kind: 'transform', value: '{{ run.slot_at }}' }])
    for (let n = 0; n < agentCount; n++)
      this.#agents.push(await made('/api/agents', { name: `Agent ${n}`, system_prompt: 'Be brief.' }))
  }

  /** So many clients, each with its next request when the last is answered, and with a start when its run has ended: requests a second. */
  async measure(clients: number, warmUpMs: number, measuredMs: number): Promise<number> {
    let running = true
    let counted = 0
    let counting = false
    const one = async () => {
      while (running) {
        await this.#send(true)
        if (counting) counted++
      }
    }
    const all = Promise.all(Array.from({ length: clients }, one))
    const measured = async () => {
      await pause(warmUpMs)
      counting = true
      const begunMs = performance.now()
      await pause(measuredMs)
      counting = false
      running = false
      const rate = (counted / (performance.now() - begunMs)) * 1_000
      await all
      return rate
    }
    return Promise.race([measured(), this.failed])
  }

  /** As many requests a second, whether answers come or not, until it is told to stop. */
  load(rate: number, followers: number): { stop(): Promise<void> } {
    let running = true
    const sent = new Set<Promise<void>>()
    const issue = () => {
      const request = this.#send(false).finally(() => sent.delete(request))
      sent.add(request)
    }
    const clock = (async () => {
      const begunMs = performance.now()
      let issued = 0
      while (running) {
        const due = Math.floor(((performance.now() - begunMs) * rate) / 1_000)
        for (; issued < due; issued++) {
          if (this.#inFlight < mostInFlight) issue()
          else this.held++
        }
        await pause(10)
      }
    })()
    const following = Array.from({ length: followers }, async () => {
      while (running) await this.#follow()
    })
    const all = Promise.all([clock, ...following]).catch((error: unknown) => this.#fail(error as Error))
    return {
      stop: async () => {
        running = false
        await Promise.race([all.then(() => Promise.all(sent)), this.failed])
      },
    }
  }

  async #send(waitsForRun: boolean): Promise<void> {
    const kind = drawn[(this.#drawn++ * 37) % drawn.length]!
    this.#inFlight++
    try {
      if (kind === 'start' || kind === 'wait') await this.#start(kind, waitsForRun)
      else await this.#ask(...this.#requestOf(kind))
    } catch (error) {
      this.#fail(error as Error)
    } finally {
      this.#inFlight--
    }
  }

  #requestOf(kind: Exclude<Kind, 'start' | 'wait'>): [method: string, path: string, body?: unknown] {
    const agent = this.#agents[this.#drawn % this.#agents.length]!
    const run = this.#recent[this.#drawn % Math.max(1, this.#recent.length)]
    switch (kind) {
      case 'list':
        return ['GET', '/api/executions?limit=20']
      case 'read':
        return ['GET', run === undefined ? '/api/executions?limit=1' : `/api/executions/${run}`]
      case 'recipe':
        return ['GET', '/api/workflow-recipes/effects']
      case 'agents':
        return ['GET', '/api/agents']
      case 'change':
        return ['PATCH', `/api/agents/${agent}`, { description: `Changed for the ${this.#drawn}th time.` }]
    }
  }

  /** A start is sent again with its key until it is taken on, as a client should. */
  async #start(kind: 'start' | 'wait', waitsForRun: boolean, slug = 'effects'): Promise<string> {
    const headers = { 'idempotency-key': crypto.randomUUID(), ...(kind === 'wait' && { prefer: 'wait=5' }) }
    for (;;) {
      const answer = await this.#ask('POST', `/api/workflow-recipes/${slug}/execute`, { input_data: {} }, headers)
      if (answer === null) continue
      const { id } = JSON.parse(answer.body) as { id: string }
      this.acknowledged.add(id)
      this.#recent[this.acknowledged.size % 500] = id
      if (waitsForRun && answer.status === 202) await this.#lastEffectOf(id)
      return id
    }
  }

  /** Resolves when the last call of a run has come. */
  async #lastEffectOf(id: string): Promise<void> {
    const { effects, waiting } = this.#place
    const key = `${id}/1/b/0.0`
    if (effects.effects.has(key)) return
    let timer: ReturnType<typeof setTimeout> | undefined
    await new Promise<void>((resolve, reject) => {
      waiting.set(key, resolve)
      timer = setTimeout(() => reject(new Error(`The run ${id} did not come to its last call.`)), runPatienceMs)
    }).finally(() => clearTimeout(timer))
    waiting.delete(key)
  }

  /** The answer; null = refused in an outage, and as long waited as it asked for. */
  async #ask(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer | null> {
    const sentMs = performance.now()
    const answer = await this.#place.client.request(method, path, body, headers)
    if (answer.status < 300) {
      this.answered++
      if (!headers?.['prefer']) this.latencies.add(performance.now() - sentMs)
      return answer
    }
    await this.#refusal(answer, sentMs, `${method} ${path}`)
    return null
  }

  /** Throws unless it is what an outage may answer. */
  async #refusal(answer: Answer, sentMs: number, what: string): Promise<void> {
    const seconds = Number(answer.headers['retry-after'])
    const isRefusal =
      answer.status === 503 &&
      seconds > 0 &&
      answer.headers['content-type'] === 'application/problem+json' &&
      (JSON.parse(answer.body) as { type: string }).type === '/problems/unavailable'
    if (!isRefusal) throw new Error(`${what} answered ${answer.status}: ${answer.body.slice(0, 500)}`)
    const during = this.outages.find(({ fromMs, toMs }) => performance.now() >= fromMs && sentMs <= toMs)
    if (!during) throw new Error(`${what} was refused though nothing was away: ${answer.body.slice(0, 500)}`)
    this.refused++
    await pause(seconds * 1_000)
  }

  /** Follows a run to its end, across the processes and outages that it takes. */
  async #follow(): Promise<void> {
    const id = await this.#start('start', false, 'long')
    let last = 0
    for (let streams = 1; ; streams++) {
      const sentMs = performance.now()
      const path = `/api/executions/${id}/events`
      const response = await this.#place.client.open(path, last > 0 ? { 'last-event-id': String(last) } : {})
      // A stream that breaks instead of ending throws here.
      const text = await textOf(response)
      if (response.statusCode !== 200) {
        const { statusCode, headers } = response
        await this.#refusal({ status: statusCode!, headers, body: text }, sentMs, `GET ${path}`)
        continue
      }
      for (const [, seq, type, data] of text.matchAll(/^id: (\d+)\nevent: (\S+)\ndata: (.*)$/gm)) {
        if (Number(seq) !== last + 1) throw new Error(`Event ${seq} of ${id} came behind ${last}.`)
        last = Number(seq)
        if (type === 'execution.failed') throw new Error(`The run ${id} failed: ${data}`)
        if (type !== 'execution.succeeded') continue
        this.followed++
        this.resumed += streams - 1
        return
      }
    }
  }
}
