import type { Stats } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isMap, isPair, isScalar, isSeq, LineCounter, parse, parseAllDocuments, type Document, type Node } from 'yaml'
import { isObject, type JsonObject } from '../../lib/json.ts'
import { CliError, type FileFault } from './cli-error.ts'
import { exitCodes } from './exit-codes.ts'
import { readStdin } from './stdin.ts'

/** A recipe as it stands in a file. */
export interface RecipeFile {
  file: string
  recipe: JsonObject
  /** A fault of the recipe as one of the file: with the line of what the pointer names, or of what should hold it. */
  locate(fault: { pointer: string; detail: string }): FileFault
}

const isAgentFile = (name: string) => /\.agent\.(ya?ml|json)$/i.test(name)
const isRecipeFile = (name: string) => /\.(ya?ml|json)$/i.test(name) && !/\.agent\.\w+$/i.test(name)

/** The recipes of files, folders and `-`; every file that cannot be read is named at once. */
export async function readRecipeFiles(paths: readonly string[]): Promise<RecipeFile[]> {
  const files: RecipeFile[] = []
  const faults: FileFault[] = []
  for (const { name, text } of await readTexts(paths)) {
    for (const found of parseRecipes(name, text)) {
      if ('faults' in found) faults.push(...found.faults)
      else files.push(found)
    }
  }
  if (faults.length > 0) throw new CliError('Not every file could be read.', exitCodes.invalid, faults)
  if (files.length === 0) throw new CliError(`No recipe in ${paths.join(', ')}.`)
  return files
}

/** The value of a YAML or JSON file, or of standard input. */
export async function readDocument(path: string): Promise<unknown> {
  if (path !== '-' && (await statOf(path)).isDirectory()) throw new CliError(`${path} is a folder: name a file in it.`)
  const [file] = await readTexts([path])
  return valueOf(file!)
}

/** The values of files, of the agents in folders, and of `-`. */
export async function readAgentFiles(paths: readonly string[]): Promise<{ file: string; document: unknown }[]> {
  const documents = []
  for (const path of paths) {
    const files = await readTexts([path], isAgentFile)
    if (files.length === 0) {
      throw new CliError(
        `No agent in ${path}: of a folder it takes the files *.agent.yaml, *.agent.yml and *.agent.json.`,
      )
    }
    for (const file of files) documents.push({ file: file.name, document: valueOf(file) })
  }
  return documents
}

function valueOf({ name, text }: { name: string; text: string }): unknown {
  try {
    return parse(text)
  } catch (error) {
    throw new CliError(`${name}: ${(error as Error).message}`, exitCodes.invalid)
  }
}

async function readTexts(paths: readonly string[], isWanted = isRecipeFile): Promise<{ name: string; text: string }[]> {
  const texts = []
  for (const path of paths) {
    if (path === '-') texts.push({ name: 'standard input', text: await readStdin() })
    else
      for (const file of await filesAt(path, isWanted)) texts.push({ name: file, text: await readFile(file, 'utf8') })
  }
  return texts
}

async function filesAt(path: string, isWanted: (name: string) => boolean): Promise<string[]> {
  if (!(await statOf(path)).isDirectory()) return [path]
  const names = (await readdir(path)).filter(isWanted).toSorted()
  return names.map((name) => join(path, name))
}

async function statOf(path: string): Promise<Stats> {
  const found = await stat(path).catch(() => null)
  if (!found) throw new CliError(`There is no file ${path}.`)
  return found
}

/** YAML reads JSON too, and both with positions. One file may hold several documents. */
export function parseRecipes(file: string, text: string): (RecipeFile | { faults: FileFault[] })[] {
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, stringKeys: true })
  const placeOf = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const found = []
  for (const document of documents) {
    if (document.errors.length > 0) {
      const faults = document.errors.map(({ message, pos }) => ({
        file,
        ...placeOf(pos[0]),
        pointer: null,
        detail: message,
      }))
      found.push({ faults })
      continue
    }
    const start = placeOf(document.contents?.range?.[0] ?? 0)
    const fault = (detail: string) => ({ faults: [{ file, ...start, pointer: null, detail }] })
    let recipe: unknown
    try {
      recipe = document.toJS({ maxAliasCount: 100 })
    } catch (error) {
      // Aliases that would grow beyond all bounds.
      found.push(fault((error as Error).message))
      continue
    }
    if (recipe === null) continue
    if (!isObject(recipe)) {
      found.push(fault('must be a recipe: an object with a name and steps'))
      continue
    }
    found.push({
      file,
      recipe: recipe as JsonObject,
      locate: ({ pointer, detail }: { pointer: string; detail: string }) => {
        const offset = offsetOf(document, pointer)
        return { file, ...(offset === null ? start : placeOf(offset)), pointer, detail }
      },
    })
  }
  return found
}

/** Where the thing is that a pointer names; of what is missing, where that is which should hold it. */
function offsetOf(document: Document.Parsed, pointer: string): number | null {
  let node: unknown = document.contents
  let offset = document.contents?.range?.[0] ?? null
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === key)
      if (!pair) return offset
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      const item = node.items[Number(key)] as Node | undefined
      if (!item) return offset
      offset = item.range?.[0] ?? offset
      node = item
    } else return offset
  }
  return offset
}
