import { expect, test } from 'vitest'
import { calculate } from '../../../src/services/tools/calculate.ts'
import { toText } from '../../../src/services/tools/rational.ts'

test.each(['+1', '%9', '+1/3-1/3'])(
  'a calculation of hundreds of steps with huge fractions ends by a count: %s',
  (step) => {
    expect(() => calculate(`9^1290/7^1450${step.repeat(240)}`)).toThrow('too many divisions')
  },
)

test('the count begins anew with each calculation', () => {
  for (let time = 0; time < 50; time += 1) expect(toText(calculate(`1/3${'+1/7'.repeat(400)}`))).toMatch(/^57\.47/)
})
