import { isObject, type Json, type JsonObject } from '../../../lib/json.ts'
import { countIn, readingOf, splitTasks, workOf, type Reading } from './plan-tasks.ts'
import { planRest } from './replan.ts'

/** By this title of a schema the offline model knows that it is asked for a plan. */
export const planTitle = 'Workflow plan'
const maxSteps = 20

export const asksForPlan = (schema: unknown): boolean => isObject(schema) && schema['title'] === planTitle

/**
 * A plan by plain rules: the goal is taken apart into tasks, and each becomes the step that its words ask for. Addresses are
 * read or sent to, lists worked through item by item, and everything else is put to an agent, or to a model where there is none.
 */
export function planFrom(question: string): JsonObject {
  const brief = briefIn(question)
  const goal = typeof brief['goal'] === 'string' && brief['goal'].trim() !== '' ? brief['goal'] : question
  const { failed } = brief
  if (isObject(failed) && brief['refused'] === undefined)
    return { name: nameOf(goal), ...planRest(failed as JsonObject, goal) }
  const builder = new PlanBuilder(goal, brief)
  // What was refused is not tried again: one step that does it all is always right in its form.
  const tasks = brief['refused'] === undefined ? splitTasks(goal) : []
  for (const task of tasks) builder.add(task)
  return builder.finish()
}

function briefIn(question: string): Record<string, unknown> {
  const block = /<context>\n([\s\S]*)\n<\/context>/.exec(question)?.[1]
  try {
    const value: unknown = JSON.parse(block ?? '')
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

const nameOf = (goal: string): string => {
  const line = goal.replace(/\s+/g, ' ').trim()
  return line.length <= 80 ? line : `${line.slice(0, 79)}…`
}

/** Text that becomes a template must not be read as one. */
export const plain = (text: string): string => text.replaceAll('{{', '{ {').replaceAll('{%', '{ %').replaceAll('\0', '')

interface Source {
  id: string
  /** CEL for what it gave. */
  value: string
  reading: Reading | null
}

class PlanBuilder {
  readonly #goal: string
  readonly #hasAgents: boolean
  readonly #mayRead: boolean
  readonly #mayCalculate: boolean
  readonly #hasContext: boolean
  readonly #steps: JsonObject[] = []
  readonly #left: string[] = []
  readonly #ids = new Set<string>()
  /** What the next step that thinks is to work on. */
  #sources: Source[] = []
  #result: Source | null = null
  #count = 0

  constructor(goal: string, brief: Record<string, unknown>) {
    const { agents, tools, context } = brief
    this.#goal = goal
    this.#hasAgents = Array.isArray(agents) && agents.length > 0
    this.#mayRead = !Array.isArray(tools) || tools.includes('http_request')
    this.#mayCalculate = !Array.isArray(tools) || tools.includes('calculator')
    this.#hasContext = context !== undefined && context !== null
  }

  add(task: string): void {
    const work = workOf(task)
    // A place is kept for the step that does what is left.
    const room = maxSteps - 1 - this.#count
    const needed = work.kind === 'read' ? work.urls.length + 1 : work.kind === 'each' ? 2 : 1
    if (this.#left.length > 0 || needed > room) return void this.#left.push(task)
    switch (work.kind) {
      case 'wait':
        return this.#push({
          id: this.#id('wait'),
          kind: 'wait',
          name: plain(task).slice(0, 200),
          duration: work.duration,
        })
      case 'approve':
        return this.#tell({ id: this.#id('approval'), kind: 'approval', message: plain(task) }, 'payload')
      case 'log':
        return this.#tell({ id: this.#id('log'), kind: 'notify', log: 'info', message: plain(task) }, 'data')
      case 'calculate':
        return this.#mayCalculate ? this.#calculate(task, work.expression) : this.#think(task)
      case 'send':
        return this.#mayRead ? this.#send(task, work.url) : this.#think(task)
      case 'read':
        if (this.#mayRead) for (const url of work.urls) this.#read(task, url)
        return work.only && this.#mayRead ? undefined : this.#think(task)
      case 'each':
        return this.#each(task, work.count)
      case 'think':
        return this.#think(task)
    }
  }

  finish(): JsonObject {
    if (this.#left.length > 0) this.#think(this.#left.join('. '))
    if (this.#steps.length === 0) this.#think(this.#goal)
    const output = this.#result ?? this.#sources.at(-1) ?? null
    return {
      name: nameOf(this.#goal),
      steps: this.#steps,
      ...(output && { output: { $expr: output.value } }),
    }
  }

  #push(step: JsonObject, count = 1): void {
    this.#steps.push(step)
    this.#count += count
  }

  #read(task: string, url: string): void {
    const id = this.#id('fetch')
    const reading = readingOf(url, task)
    this.#push({
      id,
      kind: 'http',
      name: `Read ${plain(url)}`.slice(0, 200),
      request: { method: 'GET', url: plain(url) },
      parse: reading,
      retry: { max_attempts: 3 },
    })
    const body = `steps.${id}.output.body`
    this.#sources.push({ id, value: reading === 'feed' ? `${body}.items` : body, reading })
  }

  #think(task: string): void {
    const id = this.#id(verbOf(task))
    this.#push({
      id,
      ...this.#work(task),
      ...this.#context(this.#sources.map((source) => cutTo(countIn(task), source))),
    })
    this.#result = { id, value: `steps.${id}.output.text`, reading: null }
    this.#sources = [this.#result]
  }

  #each(task: string, count: number): void {
    const list = this.#sources.find(({ reading }) => reading === 'feed' || reading === 'csv')
    if (!list) return this.#think(task)
    const id = this.#id('each')
    const inner = this.#id(verbOf(task))
    this.#push(
      {
        id,
        kind: 'foreach',
        name: plain(task).slice(0, 200),
        items: { $expr: `${list.value}.slice(0, ${count})` },
        as: 'item',
        steps: [{ id: inner, ...this.#work(task), context: { item: { $expr: 'item' } } }],
      },
      2,
    )
    this.#result = { id, value: `steps.${id}.output.map(answer, answer.text)`, reading: null }
    this.#sources = [this.#result]
  }

  /** A step for people to look at, with what there is so far. */
  #tell(step: JsonObject, member: 'payload' | 'data'): void {
    const found = this.#latest().map(({ id, value }): [string, Json] => [id, { $expr: value }])
    this.#push({ ...step, ...(found.length > 0 && { [member]: Object.fromEntries(found) }) })
  }

  #calculate(task: string, expression: string): void {
    const id = this.#id('calculate')
    this.#push({ id, kind: 'tool', name: plain(task).slice(0, 200), tool: 'calculator', arguments: { expression } })
    this.#sources.push({ id, value: `steps.${id}.output.result`, reading: null })
  }

  #latest(): Source[] {
    return this.#result ? [this.#result] : this.#sources
  }

  #send(task: string, url: string): void {
    const sources = this.#latest()
    this.#push({
      id: this.#id('send'),
      kind: 'http',
      name: plain(task).slice(0, 200),
      request: {
        method: 'POST',
        url: plain(url),
        body: {
          goal: { $expr: 'get(input, "goal")' },
          ...Object.fromEntries(sources.map(({ id, value }): [string, Json] => [id, { $expr: value }])),
        },
      },
      retry: { max_attempts: 3 },
    })
  }

  #work(task: string): JsonObject {
    const prompt = plain(task)
    const common = { name: prompt.slice(0, 200), prompt }
    return this.#hasAgents ? { kind: 'agent', agent: 'auto', ...common } : { kind: 'llm', ...common }
  }

  #context(sources: Source[]): JsonObject {
    const context: JsonObject = {
      ...(this.#hasContext && { context: { $expr: 'get(input, "context")' } }),
      ...Object.fromEntries(sources.map(({ id, value }): [string, Json] => [id, { $expr: value }])),
    }
    return Object.keys(context).length > 0 ? { context } : {}
  }

  #id(word: string): string {
    for (let n = 1; ; n++) {
      const id = n === 1 ? word : `${word}_${n}`
      if (this.#ids.has(id)) continue
      this.#ids.add(id)
      return id
    }
  }
}

/** The part of a list that a task speaks of. */
const cutTo = (count: number | null, source: Source): Source =>
  count !== null && (source.reading === 'feed' || source.reading === 'csv')
    ? { ...source, value: `${source.value}.slice(0, ${count})` }
    : source

/** A name for a step: the first word of its task that can be one. */
const verbOf = (task: string): string =>
  task
    .toLowerCase()
    .match(/[a-z]{3,20}/g)
    ?.find((word) => !['the', 'for', 'each', 'every', 'with', 'and', 'https', 'http', 'item'].includes(word)) ?? 'work'
