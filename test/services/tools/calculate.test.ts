import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { calculate } from '../../../src/services/tools/calculate.ts'
import { isExact, toText } from '../../../src/services/tools/rational.ts'

const value = (expression: string) => toText(calculate(expression))

describe('the calculator', () => {
  test.each([
    ['1 + 2 * 3', '7'],
    ['(1 + 2) * 3', '9'],
    ['0.1 + 0.2', '0.3'],
    ['-2 ^ 2', '-4'],
    ['2 ^ -2', '0.25'],
    ['2 ^ 3 ^ 2', '512'],
    ['2 ** 10', '1024'],
    ['10 / 4', '2.5'],
    ['7 % 3', '1'],
    ['-7 % 3', '-1'],
    ['1e3 + .5', '1000.5'],
    ['round(2.5) + round(-2.5)', '0'],
    ['round(19.99 * 3 / 7, 2)', '8.57'],
    ['floor(-1.5)', '-2'],
    ['ceil(-1.5)', '-1'],
    ['max(1, 3, 2) - min(1, 3, 2)', '2'],
    ['sum(0.1, 0.2, 0.3)', '0.6'],
    ['abs(-5)', '5'],
    ['sqrt(2.25)', '1.5'],
    ['99999999999999999999 * 99999999999999999999', '9999999999999999999800000000000000000001'],
  ])('%s = %s', (expression, expected) => {
    expect(value(expression)).toBe(expected)
  })

  test('rounds a fraction without an end, and says that it is not exact', () => {
    expect(value('2 / 3')).toBe('0.666666666666666666666666666667')
    expect(isExact(calculate('2 / 3'))).toBe(false)
    expect(isExact(calculate('1 / 8'))).toBe(true)
  })

  test.each([
    '',
    '1 +',
    '(1',
    '1 2',
    '1 / 0',
    'constructor(1)',
    'process',
    'sqrt(-1)',
    'round(1, -1)',
    'max()',
    '9^9^9^9',
    '1e9999',
    '"a"',
  ])('says what is wrong with %j', (expression) => {
    expect(() => calculate(expression)).toThrow(/\w+/)
  })

  test('is bounded: deep nesting and long texts are refused, not computed', () => {
    expect(() => calculate('('.repeat(500) + '1' + ')'.repeat(500))).toThrow('nested too deeply')
    expect(() => calculate(`1${'+1'.repeat(2000)}`)).toThrow('longer than')
    expect(() => calculate(`${'-'.repeat(500)}1`)).toThrow('nested too deeply')
  })

  test('agrees with whole numbers of any size', () => {
    const op = fc.constantFrom('+', '-', '*')
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        op,
        (a, b, sign) => {
          const expected = sign === '+' ? a + b : sign === '-' ? a - b : a * b
          expect(value(`(${a}) ${sign} (${b})`)).toBe(expected.toString())
        },
      ),
    )
  })

  test('fails only with its own words, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'0123456789.+-*/%^(),eabsqrtmxinfloordu '.split('')) }),
        (text) => {
          try {
            value(text)
          } catch (error) {
            expect((error as Error).constructor.name).toBe('CalculationError')
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})
