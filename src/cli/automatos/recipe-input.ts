import type { Recipe } from '../../../clients/typescript/src/index.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { CliError } from './cli-error.ts'

/** For a repeated `--input name=value`. */
export function collectInput(text: string, inputs: string[] = []): string[] {
  if (!/^[^=]+=/.test(text)) throw new CliError(`--input takes name=value, not ${text}.`)
  return [...inputs, text]
}

/**
 * What a run is given: the members of a document, and over them the single inputs. A value is JSON where it is some and
 * text where it is none; what the recipe declares as text stays text, so that `zip=01234` and `id=7` arrive as written.
 */
export function toInput(document: JsonObject, inputs: readonly string[], schema: Recipe['inputs']): JsonObject {
  const input: JsonObject = { ...document }
  for (const text of inputs) {
    const at = text.indexOf('=')
    const [name, value] = [text.slice(0, at), text.slice(at + 1)]
    input[name] = isText(schema, name) ? value : jsonOrText(value)
  }
  return input
}

function isText(schema: Recipe['inputs'], name: string): boolean {
  const properties = schema?.['properties']
  const property = isObject(properties) ? properties[name] : undefined
  return isObject(property) && property['type'] === 'string'
}

function jsonOrText(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}
