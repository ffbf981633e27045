import type { Terminal } from './terminal.ts'
import { displayWidth, oneLine, pad, truncate } from './text.ts'

export interface Column<T> {
  title: string
  of: (item: T) => string | number | null | undefined
  paint?: (text: string, item: T) => string
  /** Never cut: what must be copied whole. */
  fixed?: boolean
}

const gap = '  '
const narrowest = 8

/** Rows in aligned columns; on a terminal the widest columns give way until a row fits. */
export function printTable<T>(terminal: Terminal, items: readonly T[], columns: readonly Column<T>[]): void {
  const cells = items.map((item) => columns.map(({ of }) => oneLine(String(of(item) ?? ''))))
  const widths = columns.map(({ title }, index) =>
    Math.max(displayWidth(title), ...cells.map((row) => displayWidth(row[index]!))),
  )
  shrink(widths, columns, terminal.columns())
  const rowOf = (texts: string[], paint: (text: string, column: number) => string) =>
    texts
      .map((text, index) => {
        const cut = truncate(text, widths[index]!)
        const painted = paint(cut, index)
        return index === texts.length - 1 ? painted : painted + pad(cut, widths[index]!).slice(cut.length)
      })
      .join(gap)
      .trimEnd()
  const titles = columns.map(({ title }) => title)
  terminal.line(rowOf(titles, terminal.style.bold))
  for (const [row, item] of items.entries()) {
    terminal.line(rowOf(cells[row]!, (text, column) => columns[column]!.paint?.(text, item) ?? text))
  }
}

/** Names and values below one another; those without a value are left out. */
export function printFields(
  terminal: Terminal,
  fields: readonly (readonly [name: string, value: string | number | null | undefined])[],
): void {
  const shown = fields.filter(([, value]) => value !== null && value !== undefined && value !== '')
  const width = Math.max(...shown.map(([name]) => name.length))
  for (const [name, value] of shown) {
    const text = truncate(oneLine(String(value)), Math.max(narrowest, terminal.columns() - width - gap.length))
    terminal.line(`${terminal.style.dim(name.padEnd(width))}${gap}${text}`)
  }
}

function shrink<T>(widths: number[], columns: readonly Column<T>[], available: number): void {
  const total = () => widths.reduce((sum, width) => sum + width, gap.length * (widths.length - 1))
  while (total() > available) {
    let widest = -1
    for (const [index, width] of widths.entries()) {
      if (!columns[index]!.fixed && width > narrowest && (widest < 0 || width > widths[widest]!)) widest = index
    }
    if (widest < 0) return
    widths[widest]!--
  }
}
