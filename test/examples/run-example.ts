import { readFile } from 'node:fs/promises'
import type { Json, JsonObject } from '../../src/lib/json.ts'
import { evaluateExpression } from '../../src/lib/language/expression.ts'
import type { Scope } from '../../src/lib/language/scope.ts'
import { renderText } from '../../src/lib/language/template.ts'
import { renderTree } from '../../src/lib/language/tree.ts'
import { parseBody } from '../../src/lib/parsers/index.ts'
import type { RecipeDefinition, Step } from '../../src/services/recipes/definition.ts'
import { validateDefinition } from '../../src/services/recipes/validate.ts'

const folder = new URL('../../examples/', import.meta.url)

export async function readExample(name: string): Promise<RecipeDefinition> {
  const { definition, faults } = validateDefinition(JSON.parse(await readFile(new URL(`${name}.json`, folder), 'utf8')))
  if (!definition) throw new Error(`examples/${name}.json is not valid: ${JSON.stringify(faults)}`)
  return definition
}

export const readData = (name: string): Promise<Uint8Array> => readFile(new URL(`data/${name}`, folder))

export interface Sources {
  input: JsonObject
  previous?: Json
  /** What the http step gets. */
  body: Uint8Array
  mediaType: string
  /** What an agent answers to its context. */
  answer?: (context: Json) => string
}

export class StepFailure extends Error {}

/** The texts and expressions of a recipe over captured data: the language without the engine, which has its own tests. */
export async function runExample(recipe: RecipeDefinition, sources: Sources): Promise<JsonObject> {
  const base: Scope = {
    input: sources.input,
    trigger: { kind: 'api' },
    run: { id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f', started_at: '2026-03-01T10:00:00.000Z', slot_at: null },
    now: '2026-03-01T10:00:00.000Z',
    previous: sources.previous ?? null,
  }
  const steps: JsonObject = {}
  await runSteps(recipe.steps, { ...base, steps }, sources)
  return renderTree(recipe.output ?? null, { ...base, steps }) as JsonObject
}

async function runSteps(list: Step[], scope: Scope, sources: Sources): Promise<Json> {
  let last: Json = null
  for (const step of list) {
    last = await runStep(step, scope, sources)
    ;(scope['steps'] as JsonObject)[step.id] = { status: 'succeeded', output: last, error: null }
  }
  return last
}

async function runStep(step: Step, scope: Scope, sources: Sources): Promise<Json> {
  switch (step.kind) {
    case 'http':
      renderText(step.request.url, scope)
      if (step.parse === 'bytes') throw new Error('There is no workspace here that could keep a file.')
      return { status: 200, headers: {}, body: await parseBody(sources.body, sources.mediaType, step.parse ?? 'auto') }
    case 'transform':
      return renderTree(step.value, scope)
    case 'agent': {
      const context = renderTree(step.context ?? null, scope)
      return { text: sources.answer?.(context) ?? renderText(step.prompt, scope), model: 'test', rounds: 1 }
    }
    case 'branch': {
      const taken = step.cases.find((each) => evaluateExpression(each.when, scope) === true)
      return runSteps(taken?.steps ?? step.default ?? [], scope, sources)
    }
    case 'foreach': {
      const items = renderTree(step.items, scope) as Json[]
      const outer = scope['steps'] as JsonObject
      const run = (item: Json) => runSteps(step.steps, { ...scope, [step.as]: item, steps: { ...outer } }, sources)
      return Promise.all(items.map(run))
    }
    case 'fail':
      throw new StepFailure(renderText(step.message, scope))
    default:
      throw new Error(`The examples use no ${step.kind} step.`)
  }
}
