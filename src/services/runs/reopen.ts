import type { StepStatus } from '../../db/tables/runs.table.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { locate, mayFollow, pathAbove } from './locate.ts'
import { hasEnded, itemKind } from './records.ts'
import { afterFailure } from './walk.ts'

/** What of a step's row decides whether it is kept. */
export interface StepOutline {
  path: string
  kind: string
  status: StepStatus
  ordinal: number
  /** Of a step that failed. */
  errorKind: string | null
  /** Of what failed because a step in it did: the path of that step. */
  errorStep: string | null
  /** A branch or foreach that has settled which way it takes, or over which items it goes. */
  isSettled: boolean
}

/** What becomes of the rows of a run that is to go on: `again` is undone, `enter` is gone into once more with what it has settled. */
export interface Reopening {
  again: string[]
  enter: string[]
}

/**
 * What a retry undoes: steps that failed and whose failure nobody took, steps that were cut off, and on the way to them the
 * branches, loops and items around. What succeeded stays, and so does a failure that the recipe has dealt with.
 */
export function reopenFailed(
  rows: readonly StepOutline[],
  definition: Pick<RecipeDefinition, 'steps'>,
  /** The step that the run's error names. */
  failedPath: string | null,
  /** What is gone into in any case. */
  entered: readonly string[] = [],
): Reopening {
  const known = new Set(rows.map(({ path }) => path))
  const again: string[] = []
  const open = new Set(entered)
  // Where a goto came to its limit, the recipe says what follows, and yet the list failed there.
  const failed = new Set([failedPath])
  for (const row of rows.toSorted(byPath)) {
    if (!open.has(row.path)) {
      const above = pathAbove(row.path, (path) => known.has(path))
      if (above !== null && !open.has(above)) continue
      if (row.status === 'succeeded' || row.status === 'skipped') continue
      if (row.status === 'failed' && isTaken(row, definition) && !failed.has(row.path)) continue
      if (!isEntered(row)) {
        again.push(row.path)
        continue
      }
      open.add(row.path)
    }
    failed.add(row.errorStep)
  }
  return { again, enter: [...open] }
}

/** What is around comes before what is inside. */
export const byPath = (a: StepOutline, b: StepOutline): number => (a.path < b.path ? -1 : 1)

/**
 * What a replay from a step leaves out: the step and all that was entered after it, less what ran beside it. Around it, branches and loops are gone
 * into once more; of a loop's other items those that succeeded are kept.
 */
export function reopenFrom(
  rows: readonly StepOutline[],
  definition: Pick<RecipeDefinition, 'steps'>,
  from: string,
): Reopening {
  const rowAt = new Map(rows.map((row) => [row.path, row]))
  const has = (path: string) => rowAt.has(path)
  const enter = new Set<string>()
  for (let above = pathAbove(from, has); above !== null; above = pathAbove(above, has)) enter.add(above)
  const marks = [from, ...enter].map((path) => ({
    list: listOf(path),
    row: rowAt.get(path)!,
    known: new Map<string, boolean>(),
  }))
  const follows = (entered: StepOutline | undefined, mark: StepOutline): boolean => {
    if (!entered || enter.has(entered.path)) return false
    if (mark.kind === itemKind) return entered.path !== mark.path && entered.status !== 'succeeded'
    return entered.ordinal >= mark.ordinal && mayFollow(definition, mark.path, entered.path)
  }
  // What holds for a step holds for all that is in it, which may be thousands of rows.
  const isAfter = (row: StepOutline): boolean =>
    marks.some(({ list, row: mark, known }) => {
      const top = topBelow(row.path, list)
      if (top === null) return false
      const is = known.get(top) ?? follows(rowAt.get(top), mark)
      known.set(top, is)
      return is
    })
  const isBelow = (row: StepOutline) => row.path === from || row.path.startsWith(`${from}/`)
  const again = rows.filter((row) => !enter.has(row.path) && (isBelow(row) || isAfter(row) || !hasEnded(row.status)))
  return { again: again.map(({ path }) => path), enter: [...enter] }
}

const isEntered = (row: StepOutline): boolean =>
  row.kind === itemKind || ((row.kind === 'branch' || row.kind === 'foreach') && row.isSettled)

/** The recipe says what follows the failure. An item's failure is its foreach's, which is open where this is asked. */
export function isTaken({ path, errorKind }: StepOutline, definition: Pick<RecipeDefinition, 'steps'>): boolean {
  const located = locate(definition, path)
  return located !== null && !located.isItem && afterFailure(located.step, errorKind ?? '') !== 'fail'
}

/** `route/default/send` is in the list `route/default/`, `fetch` in ``. */
const listOf = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1)

/** The member of a list that a path is, or is below; null where it is elsewhere. */
function topBelow(path: string, list: string): string | null {
  if (!path.startsWith(list) || path.length === list.length) return null
  const end = path.indexOf('/', list.length)
  return end < 0 ? path : path.slice(0, end)
}
