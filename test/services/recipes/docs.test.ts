import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { stepKinds, type Step } from '../../../src/services/recipes/definition.ts'
import { checkRecipeInput } from '../../../src/services/recipes/input.ts'

const text = await readFile(new URL('../../../docs/recipes.md', import.meta.url), 'utf8')
const recipes = [...text.matchAll(/```json\n([^]*?)```/g)]
  .map(([, block]) => JSON.parse(block!) as { name: string; steps: Step[] })
  .filter((block) => 'steps' in block)

test.each(recipes.map((recipe) => [recipe.name, recipe] as const))(
  'the recipe %s of the documentation is valid',
  (_, recipe) => {
    expect(checkRecipeInput(recipe, new Date('2026-11-22T12:00:00Z')).faults).toEqual([])
  },
)

test('every kind of step has an example', () => {
  const shown = new Set(JSON.stringify(recipes).match(/(?<="kind":")\w+/g))
  expect(stepKinds.filter((kind) => !shown.has(kind))).toEqual([])
})
