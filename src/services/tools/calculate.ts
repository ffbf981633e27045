import {
  add,
  beginCalculation,
  CalculationError,
  ceil,
  compare,
  divide,
  floor,
  multiply,
  negate,
  parseNumber,
  power,
  rational,
  remainder,
  round,
  squareRoot,
  subtract,
  type Rational,
} from './rational.ts'

const maxLength = 2000
const maxDepth = 100

const functions: Record<string, { arity: [number, number]; apply: (args: Rational[]) => Rational }> = {
  abs: { arity: [1, 1], apply: ([a]) => (a!.n < 0n ? negate(a!) : a!) },
  ceil: { arity: [1, 1], apply: ([a]) => ceil(a!) },
  floor: { arity: [1, 1], apply: ([a]) => floor(a!) },
  max: { arity: [1, 100], apply: (args) => args.reduce((best, each) => (compare(each, best) > 0 ? each : best)) },
  min: { arity: [1, 100], apply: (args) => args.reduce((best, each) => (compare(each, best) < 0 ? each : best)) },
  round: { arity: [1, 2], apply: ([a, decimals]) => round(a!, decimals ?? rational(0n)) },
  sqrt: { arity: [1, 1], apply: ([a]) => squareRoot(a!) },
  sum: { arity: [1, 100], apply: (args) => args.reduce(add) },
}
export const calculatorFunctions = Object.keys(functions)

/** The exact value of an arithmetic expression: + - * / % ^, parentheses and a few functions. Throws CalculationError. */
export function calculate(expression: string): Rational {
  if (expression.length > maxLength)
    throw new CalculationError(`The expression is longer than ${maxLength} characters.`)
  beginCalculation()
  const tokens = tokenize(expression)
  let at = 0
  let depth = 0
  const peek = () => tokens[at]
  const accept = (...texts: string[]) => (texts.includes(peek() ?? '') ? tokens[at++]! : null)
  const expect = (text: string) => {
    if (accept(text) === null) throw unexpected(peek(), `'${text}'`)
  }

  function sum(): Rational {
    let value = product()
    for (let op = accept('+', '-'); op; op = accept('+', '-')) {
      const right = product()
      value = op === '+' ? add(value, right) : subtract(value, right)
    }
    return value
  }
  function product(): Rational {
    let value = unary()
    for (let op = accept('*', '/', '%'); op; op = accept('*', '/', '%')) {
      const right = unary()
      value = op === '*' ? multiply(value, right) : op === '/' ? divide(value, right) : remainder(value, right)
    }
    return value
  }
  function unary(): Rational {
    if (++depth > maxDepth) throw new CalculationError('The expression is nested too deeply.')
    const op = accept('-', '+')
    const value = op === '-' ? negate(unary()) : op === '+' ? unary() : exponentiation()
    depth--
    return value
  }
  function exponentiation(): Rational {
    const base = primary()
    return accept('^') === null ? base : power(base, unary())
  }
  function primary(): Rational {
    if (accept('(') !== null) {
      const value = sum()
      expect(')')
      return value
    }
    const token = peek()
    if (token !== undefined && /^[\d.]/.test(token)) {
      at++
      return parseNumber(token)
    }
    if (token !== undefined && Object.hasOwn(functions, token)) {
      at++
      return call(token)
    }
    throw unexpected(token, 'a number')
  }
  function call(name: string): Rational {
    const { arity, apply } = functions[name]!
    expect('(')
    const args = [sum()]
    while (accept(',') !== null) args.push(sum())
    expect(')')
    if (args.length < arity[0] || args.length > arity[1]) {
      throw new CalculationError(`${name}() does not take ${args.length} arguments.`)
    }
    return apply(args)
  }

  const value = sum()
  if (at < tokens.length) throw unexpected(peek(), 'an operator')
  return value
}

function tokenize(expression: string): string[] {
  const tokens: string[] = []
  const pattern = /\s+|((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[a-z]+|\*\*|[-+*/%^(),])/gy
  while (pattern.lastIndex < expression.length) {
    const start = pattern.lastIndex
    const match = pattern.exec(expression)
    if (!match) throw new CalculationError(`'${expression.slice(start, start + 10)}' is not understood.`)
    if (match[1]) tokens.push(match[1] === '**' ? '^' : match[1])
  }
  return tokens
}

const unexpected = (token: string | undefined, wanted: string) =>
  new CalculationError(`Expected ${wanted}, found ${token === undefined ? 'the end' : `'${token}'`}.`)
