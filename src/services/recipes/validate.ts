import type { Fault } from '../../lib/errors.ts'
import { isObject } from '../../lib/json.ts'
import { faultOfSlug } from '../../lib/slug.ts'
import { definitionLimits, slugPattern, type RecipeDefinition } from './definition.ts'
import { toPlainJson } from './validation/document.ts'
import { FaultList } from './validation/fault-list.ts'
import { FieldReader, readNotice, readStep, type FieldReport } from './validation/fields.ts'
import { orderFaults, whyUnseen } from './validation/order.ts'
import { outlineOf, type Fields, type Outline, type StepPlace } from './validation/outline.ts'
import { checkShape } from './validation/shape.ts'
import { readStartSettings } from './validation/start.ts'
import { typeFaults } from './validation/types.ts'
import { visibleAtEnd, visibleTo } from './validation/visibility.ts'

const scopeNames = ['input', 'steps', 'trigger', 'run', 'now', 'previous']
/** What a loop variable may not be called: the scope, and words of CEL and Liquid. */
const reservedNames = new Set([
  ...scopeNames,
  ...'secret true false null nil empty blank and or not contains forloop has get in as'.split(' '),
  ...'break const continue else for function if import let loop package namespace return var void while'.split(' '),
])
const stepMembers = ['output', 'error', 'status']

/** Every fault of a definition at once, each by JSON pointer into the document as it was given. Never throws. */
export function validateDefinition(value: unknown): { definition: RecipeDefinition | null; faults: Fault[] } {
  const { json, faults: unreadable } = toPlainJson(value)
  if (unreadable.length > 0) return { definition: null, faults: unreadable }
  const all = new FaultList()
  const outline = outlineOf(isObject(json) ? json['steps'] : undefined)
  // What follows looks at each step together with all others: a multiple of the limit would take minutes.
  if (outline.count > definitionLimits.steps) all.add(outline.faults)
  if (all.faults.length > 0) return { definition: null, faults: all.faults }
  const shape = checkShape(json)
  all.add(shape.faults)
  if (isObject(json)) all.add(meaningFaults(json, outline))
  return { definition: all.faults.length === 0 ? shape.definition : null, faults: all.faults }
}

/** The faults that no shape shows: what texts and expressions say, and how the parts fit together. */
function meaningFaults(recipe: Fields, outline: Outline): Fault[] {
  const inputs = isObject(recipe['inputs']) ? recipe['inputs'] : null
  const ids = new Map(outline.all.flatMap((place) => (place.id === null ? [] : [[place.id, place] as const])))
  const found = new FaultList()
  found.add([...outline.faults, ...slugFaults(recipe), ...idFaults(outline)])
  for (const place of outline.all) {
    if (found.isFull) return found.faults
    const report = readStep(place)
    const scope = { place, visible: visibleTo(place), variables: place.list.variables, ids, inputs }
    found.add(report.faults)
    found.add(referenceFaults(report, scope))
    found.add([...orderFaults(place, ids), ...variableFaults(place)])
  }

  const whole = new FieldReader()
  whole.tree(recipe['output'], '/output')
  whole.schema(inputs, '/inputs')
  if (inputs && inputs['type'] !== undefined && inputs['type'] !== 'object')
    whole.fault('/inputs/type', 'must be object')
  if (isObject(recipe['settings'])) whole.duration(recipe['settings']['timeout'], '/settings/timeout')
  const scope = { place: null, visible: visibleAtEnd(outline.root), variables: [], ids, inputs }
  const notices = readNotices(recipe['settings'])
  const start = readStartSettings(recipe['settings'])
  for (const [report, seen] of [
    [whole, scope],
    [start, scope],
    [notices, { ...scope, variables: ['error'] }],
  ] as const) {
    found.add(report.faults)
    found.add(referenceFaults(report, seen))
  }
  if (found.isFull) return found.faults
  // What is a fault by itself is told of once.
  found.add(typeFaults(recipe, outline).filter(({ pointer }) => !found.has(pointer)))
  return found.faults
}

function readNotices(settings: unknown): FieldReport {
  const reader = new FieldReader()
  const policy = isObject(settings) ? settings['on_failure'] : null
  const notices = isObject(policy) && Array.isArray(policy['notify']) ? policy['notify'] : []
  for (const [index, notice] of notices.entries())
    if (isObject(notice)) readNotice(reader, notice, `/settings/on_failure/notify/${index}`)
  return reader
}

function slugFaults({ slug }: Fields): Fault[] {
  const detail = typeof slug === 'string' && slugPattern.test(slug) ? faultOfSlug(slug) : null
  return detail === null ? [] : [{ pointer: '/slug', detail }]
}

function idFaults({ all }: Outline): Fault[] {
  const first = new Map<string, StepPlace>()
  return all.flatMap((place) => {
    if (place.id === null) return []
    const other = first.get(place.id)
    if (!other) first.set(place.id, place)
    return other
      ? [{ pointer: `${place.pointer}/id`, detail: `${place.id} is already the id of ${other.pointer}` }]
      : []
  })
}

function variableFaults({ fields, kind, pointer, list }: StepPlace): Fault[] {
  const variable = fields['as']
  if (kind !== 'foreach' || typeof variable !== 'string') return []
  if (reservedNames.has(variable))
    return [{ pointer: `${pointer}/as`, detail: `must not be ${variable}, which has a meaning already` }]
  if (list.variables.includes(variable))
    return [{ pointer: `${pointer}/as`, detail: `${variable} is the variable of a foreach around it` }]
  return []
}

interface StepScope {
  /** Null at the end, behind all steps. */
  place: StepPlace | null
  visible: ReadonlySet<string>
  variables: readonly string[]
  ids: ReadonlyMap<string, StepPlace>
  inputs: Fields | null
}

/** One by one, so that nobody works out what is not told any more. */
function* referenceFaults({ references }: FieldReport, scope: StepScope): Generator<Fault> {
  for (const { root, path, pointer } of references) {
    const detail = referenceFault(root, path, scope)
    if (detail !== null) yield { pointer, detail }
  }
}

function referenceFault(root: string, path: string[], scope: StepScope): string | null {
  const { place, visible, variables, ids, inputs } = scope
  if (variables.includes(root)) return null
  if (!scopeNames.includes(root)) {
    return `${root} is not known here; there are ${[...scopeNames, ...variables].join(', ')}`
  }
  const [name, member] = path
  if (name === undefined) return null
  if (root === 'input' && inputs && !acceptsInput(inputs, name))
    return `input.${name} is not among the properties of inputs`
  if (root !== 'steps') return null
  const step = ids.get(name)
  if (!step) return `there is no step ${name}`
  if (!visible.has(name)) return whyUnseen(place, step)
  if (member !== undefined && !stepMembers.includes(member)) {
    return `steps.${name} has ${stepMembers.join(', ')}, not ${member}; its result is steps.${name}.output`
  }
  return null
}

/** A schema that admits further names in some other way is given the benefit of the doubt. */
function acceptsInput(inputs: Fields, name: string): boolean {
  const { properties, additionalProperties } = inputs
  if (!isObject(properties) || Object.hasOwn(properties, name)) return true
  if (additionalProperties !== undefined && additionalProperties !== false) return true
  return ['patternProperties', 'allOf', 'anyOf', 'oneOf', '$ref', 'if', 'dependentSchemas'].some((keyword) =>
    Object.hasOwn(inputs, keyword),
  )
}
