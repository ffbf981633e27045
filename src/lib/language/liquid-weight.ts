import { type Context, evalToken, type Template, type Token, toValueSync } from 'liquidjs'
import { evaluationsOf, groupOf, modifiersOf, rangesOf } from './liquid-outline.ts'
import { numberOf, scalarOf } from './liquid-scalars.ts'
import { LanguageError } from './scope.ts'

type Use = (units: number) => void

/** To go to one value inside of another, in copied characters. */
const nodeCost = 10

/**
 * Counts a value with all that is inside of it, a shared part each time that it occurs: what a filter unfolds must be
 * counted before. As `text` the engine writes lists only; of objects it says no more than that.
 */
export function weigh(value: unknown, use: Use, as: 'json' | 'text' = 'json'): void {
  if (typeof value === 'string') return use(1 + (as === 'text' ? value.length : value.length / 8))
  use(nodeCost)
  if (Array.isArray(value)) for (const item of value) weigh(item, use, as)
  else if (as === 'json' && typeof value === 'object' && value !== null)
    for (const [key, item] of Object.entries(value)) {
      use(nodeCost + key.length / 8)
      weigh(item, use, as)
    }
}

/** To evaluate a name, a literal or a filter without what the filter does, in copied characters. */
const evaluationCost = 100
/** Whole numbers can be counted up to there. */
const lastInRange = 2 ** 53

/** What has to be counted before a node is rendered: what it evaluates itself, whatever that comes to. */
export function chargeOf(template: Template, textSize: number): (context: Context) => void {
  const cost = textSize + evaluationsOf(template) * evaluationCost
  const ranges = rangesOf(template)
  const modifiers = modifiersOf(template)
  const group = groupOf(template)
  return (context) => {
    context.memoryLimit.use(cost)
    for (const [name, token] of modifiers) numberOf(valueOf(token, context), name)
    if (group) scalarOf(valueOf(group, context), 'The name of a cycle', (units) => context.memoryLimit.use(units))
    for (const { lhs, rhs } of ranges)
      for (const end of [lhs, rhs])
        // Above it adding one changes nothing, and the engine would never come to the end.
        if (Math.abs(Number(numberOf(valueOf(end, context), 'The end of a range'))) >= lastInRange)
          throw new LanguageError('A range ends at a number that is too large.')
  }
}

/** What a loop goes over is copied, also where it is left at once. */
export function weighCollection(collection: Token, context: Context): void {
  const value = valueOf(collection, context)
  if (Array.isArray(value)) context.memoryLimit.use(value.length)
  else if (typeof value === 'object' && value !== null) context.memoryLimit.use(Object.keys(value).length * 100)
}

const valueOf = (token: Token, context: Context): unknown => toValueSync(evalToken(token, context))
