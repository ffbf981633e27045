import type { Session } from './session.ts'
import { printTable, type Column } from './table.ts'
import { wholeNumber } from './whole-number.ts'

interface Page<T> {
  items: T[]
  next_cursor: string | null
}
type Query = { limit: number; cursor?: string }

const largestPage = 200

export interface ListOptions {
  limit: number
}

/** For `--limit <n>`. */
export const parseLimit = wholeNumber('--limit')

/** As many items as are asked for, in as few pages as it takes; the cursor goes on where they end. */
export async function takeItems<T>(
  limit: number,
  page: (query: Query) => PromiseLike<{ data: Page<T> }>,
): Promise<Page<T>> {
  const items: T[] = []
  let cursor: string | null = null
  do {
    const { data }: { data: Page<T> } = await page({
      limit: Math.min(limit - items.length, largestPage),
      ...(cursor !== null && { cursor }),
    })
    items.push(...data.items)
    cursor = data.next_cursor
  } while (cursor !== null && items.length < limit)
  return { items, next_cursor: cursor }
}

/** A list as a table, or with --json as the API gives it. */
export function showPage<T>(
  { terminal }: Session,
  page: Page<T>,
  columns: readonly Column<T>[],
  what: { many: string },
): void {
  if (terminal.json) return terminal.document(page)
  if (page.items.length === 0) return terminal.note(`No ${what.many}.`)
  printTable(terminal, page.items, columns)
  if (page.next_cursor !== null) terminal.note(`There are more ${what.many}: use --limit.`)
}
