import Papa from 'papaparse'
import type { Json } from '../json.ts'
import { setOwn } from '../language/values.ts'
import { LanguageError } from '../language/scope.ts'

const maxRows = 100_000
/** Characters of a table. */
const maxLength = 3_000_000
const maxColumns = 10_000
/** Cells of all rows, those included that a short row lacks: a few bytes of it are as many members as it has columns. */
const maxCells = 2_000_000
/** Column names repeat in every row of the value, so few long names and many rows make it huge. */
const maxNameCharacters = 20_000_000

/**
 * A table with a header row as a list of objects. The delimiter (comma, semicolon, tab, pipe) is detected. Every
 * cell stays a string: '007' and '1e5' are not always numbers; double() reads what is one. Cells that a short row
 * lacks are null; a row with more cells than columns is a fault.
 */
export function parseCsv(text: string): Json[] {
  if (text.length > maxLength)
    throw new LanguageError(`The table has ${text.length} characters; ${maxLength} can be read.`)
  const { data, errors, meta } = Papa.parse<string[]>(text, {
    skipEmptyLines: 'greedy',
    // The header and one too many.
    preview: maxRows + 2,
    delimitersToGuess: [',', ';', '\t', '|'],
  })
  // A table of one column has no delimiter to detect, which is no fault.
  const broken = errors.find((error) => error.type === 'Quotes')
  if (broken)
    throw new LanguageError(
      `The table's row ${(broken.row ?? 0) + 1} has a quoted cell that does not end as it should.`,
    )
  const [header, ...rows] = data
  if (!header) return []
  if (rows.length > maxRows || meta.truncated)
    throw new LanguageError(`The table has more than ${maxRows} rows, those counted that are blank.`)
  if (header.length > maxColumns)
    throw new LanguageError(`The table has ${header.length} columns; ${maxColumns} are allowed.`)
  if (rows.length * header.length > maxCells)
    throw new LanguageError(
      `The table has ${rows.length} rows of ${header.length} columns; ${maxCells} cells are allowed.`,
    )
  const names = columnNames(header)
  if (names.join('').length * rows.length > maxNameCharacters) {
    throw new LanguageError('The table is too large: its column names are long and its rows many.')
  }
  return rows.map((cells, index) => toRecord(names, cells, index + 2))
}

function toRecord(names: string[], cells: string[], line: number): Json {
  if (cells.length > names.length) {
    throw new LanguageError(`The table's row ${line} has ${cells.length} cells for ${names.length} columns.`)
  }
  const record: { [key: string]: Json } = {}
  names.forEach((name, column) => setOwn(record, name, cells[column] ?? null))
  return record
}

/** Blank names become column_3, repeated ones name_2. */
function columnNames(header: string[]): string[] {
  const used = new Set<string>()
  /** The number that a repeated name was given last: from there on, not each time from the beginning. */
  const counts = new Map<string, number>()
  return header.map((cell, index) => {
    const base = cell.trim() || `column_${index + 1}`
    let name = base
    for (let count = (counts.get(base) ?? 1) + 1; used.has(name); count += 1) {
      name = `${base}_${count}`
      counts.set(base, count)
    }
    used.add(name)
    return name
  })
}
