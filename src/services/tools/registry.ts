import type { ServiceContext } from '../../context.ts'
import { validateJson } from '../../lib/json-schema.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { forPurpose } from '../http/purpose.ts'
import type { ToolSpec } from '../models/types.ts'
import { calculatorTool } from './calculator.tool.ts'
import { httpRequestTool } from './http-request.tool.ts'
import { nowTool } from './now.tool.ts'
import { ToolError, type Tool, type ToolOptions } from './tool.ts'
import { inToolSpan } from './tool-trace.ts'

const tools = new Map<string, Tool>([httpRequestTool, nowTool, calculatorTool].map((tool) => [tool.name, tool]))

export const toolNames: readonly string[] = [...tools.keys()]
export const isTool = (name: string): boolean => tools.has(name)
export const reachesOut = (name: string): boolean => tools.get(name)?.reachesOut ?? false

/** What a model is told about the tools it may call. Names that no longer exist are left out. */
export function toolSpecs(names: readonly string[]): ToolSpec[] {
  return names
    .map((name) => tools.get(name))
    .filter((tool) => tool !== undefined)
    .map(({ name, description, parameters }) => ({ name, description, parameters }))
}

/** What a tool call came to, as the model sees it. A type, not an interface, so that it is JSON and can be recorded. */
export type ToolOutcome = { result: Json; is_error: boolean }

/**
 * Calls a tool. Whatever the model can cause, wrong arguments above all, becomes an outcome that it reads; only an abort
 * and our own faults are thrown.
 */
export async function runTool(
  ctx: ServiceContext,
  name: string,
  args: Json,
  options: ToolOptions,
): Promise<ToolOutcome> {
  const tool = tools.get(name)
  if (!tool) return failed('unknown-tool', `There is no tool '${name.slice(0, 60)}'.`)
  return inToolSpan(ctx, name, options, (inner) => call(forPurpose(inner, { tool: name }), tool, args, options))
}

async function call(ctx: ServiceContext, tool: Tool, args: Json, options: ToolOptions): Promise<ToolOutcome> {
  const faults = argumentFaults(tool, args)
  if (faults !== null) return failed('invalid-arguments', faults)
  try {
    return { result: await tool.run(ctx, args as JsonObject, options), is_error: false }
  } catch (error) {
    if (options.signal.aborted) throw options.signal.reason
    if (error instanceof ToolError) return failed(error.kind, error.message)
    throw error
  }
}

export const failed = (kind: string, detail: string): ToolOutcome => ({
  result: { error: { kind, detail } },
  is_error: true,
})

function argumentFaults(tool: Tool, args: Json): string | null {
  if (typeof args === 'object' && args !== null && '$invalid' in args) return 'The arguments are not valid JSON.'
  const faults = validateJson(tool.parameters, args)
  if (faults.length === 0) return null
  return faults.map(({ pointer, detail }) => `${pointer || 'the arguments'}: ${detail}`).join('; ')
}
