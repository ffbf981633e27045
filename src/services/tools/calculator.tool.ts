import { calculate, calculatorFunctions } from './calculate.ts'
import { CalculationError, isExact, toText } from './rational.ts'
import { ToolError, type Tool } from './tool.ts'

export const calculatorTool: Tool = {
  name: 'calculator',
  description: `Computes an arithmetic expression exactly. Operators: + - * / % ^ and parentheses. Functions: ${calculatorFunctions.join(', ')}.`,
  parameters: {
    type: 'object',
    properties: { expression: { type: 'string', minLength: 1, description: 'For example: round(19.99 * 3 / 7, 2)' } },
    required: ['expression'],
    additionalProperties: false,
  },
  reachesOut: false,
  async run(_ctx, args) {
    try {
      const value = calculate(String(args['expression']))
      return { result: toText(value), exact: isExact(value) }
    } catch (error) {
      if (error instanceof CalculationError) throw new ToolError('invalid-expression', error.message)
      throw error
    }
  },
}
