import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CliError, type FileFault } from '../../../src/cli/automatos/cli-error.ts'
import {
  parseRecipes,
  readAgentFiles,
  readDocument,
  readRecipeFiles,
  type RecipeFile,
} from '../../../src/cli/automatos/recipe-files.ts'
import { folderForTest } from '../../support/folder.ts'

const yaml = `# A comment
name: Digest
steps:
  - id: fetch
    kind: http
    request:
      url: "{{ input.url }}"
  - { id: b, kind: transform, value: 1h }
`
const json = '{\n\t"name": "Digest",\n\t"a/b~c": [\n\t\t{ "id": 1 },\n\t\t{ "id": 2 }\n\t]\n}\n'

function only(text: string): RecipeFile {
  const [found, more] = parseRecipes('x.yaml', text)
  if (!found || 'faults' in found || more) throw new Error('Expected one recipe.')
  return found
}
const placeOf = (text: string, pointer: string) => {
  const { line, column } = only(text).locate({ pointer, detail: 'is wrong' })
  return [line, column]
}

test('YAML and JSON, tabs included, give the same kinds of values', () => {
  expect(only(yaml).recipe).toEqual({
    name: 'Digest',
    steps: [
      { id: 'fetch', kind: 'http', request: { url: '{{ input.url }}' } },
      { id: 'b', kind: 'transform', value: '1h' },
    ],
  })
  expect(only(json).recipe).toEqual(JSON.parse(json))
})

test('a pointer has the line and column of what it names, or of what should hold it', () => {
  expect(placeOf(yaml, '/name')).toEqual([2, 1])
  expect(placeOf(yaml, '/steps/0/request/url')).toEqual([7, 7])
  expect(placeOf(yaml, '/steps/1')).toEqual([8, 5])
  expect(placeOf(yaml, '/steps/1/value')).toEqual([8, 31])
  expect(placeOf(yaml, '/steps/0/prompt')).toEqual([4, 5])
  expect(placeOf(yaml, '/steps/7/id')).toEqual([3, 1])
  expect(placeOf(yaml, '/output')).toEqual([2, 1])
  expect(placeOf(yaml, '')).toEqual([2, 1])
  expect(placeOf(json, '/a~1b~0c/1/id')).toEqual([5, 5])
})

test('one file may hold several recipes, each with its own lines', () => {
  const found = parseRecipes('all.yaml', '---\nname: A\n---\n\nname: B\nsteps: []\n---\n')
  expect(found.map((each) => ('faults' in each ? null : each.recipe['name']))).toEqual(['A', 'B'])
  expect((found[1] as RecipeFile).locate({ pointer: '/steps', detail: 'must not be empty' })).toEqual({
    file: 'all.yaml',
    line: 6,
    column: 1,
    pointer: '/steps',
    detail: 'must not be empty',
  })
})

test.each([
  ['name: [1,\nsteps: 2\n', 2, /flow/i],
  ['name: A\nname: B\n', 2, /unique/],
  ['just text', 1, /must be a recipe/],
  ['- a\n- b\n', 1, /must be a recipe/],
  [
    `a: &a [1]\n${Array.from({ length: 8 }, (_, i) => `b${i}: &b${i} [${`*${i ? `b${i - 1}` : 'a'}, `.repeat(9)}]`).join('\n')}\n`,
    1,
    /alias/i,
  ],
])('what is no recipe is a fault with its line: %#', (text, line, detail) => {
  const faults = parseRecipes('x.yaml', text).flatMap((each) => ('faults' in each ? each.faults : []))
  expect(faults[0]).toMatchObject({ file: 'x.yaml', line, detail: expect.stringMatching(detail) })
})

test('a folder gives its recipes in order, without agents and other files; all faults come at once', async () => {
  const folder = await folderForTest()
  const write = (name: string, text: string) => writeFile(join(folder, name), text)
  await Promise.all([
    write('b.yml', 'name: B'),
    write('a.json', '{"name": "A"}'),
    write('c.agent.json', '{"name": "No recipe"}'),
    write('notes.md', '# Notes'),
  ])
  expect((await readRecipeFiles([folder])).map(({ recipe }) => recipe['name'])).toEqual(['A', 'B'])
  await Promise.all([write('d.yaml', 'name: [\n'), write('e.yaml', 'e')])
  const failure: unknown = await readRecipeFiles([folder]).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(CliError)
  const files = new Set((failure as CliError).faults.map((fault: FileFault) => fault.file))
  expect([...files]).toEqual([join(folder, 'd.yaml'), join(folder, 'e.yaml')])
  await expect(readRecipeFiles([join(folder, 'none.yaml')])).rejects.toMatchObject({ exitCode: 2 })
})

test('of a folder the agents are read, each with its file; a folder without one is named', async () => {
  const folder = await folderForTest()
  const write = (name: string, text: string) => writeFile(join(folder, name), text)
  await write('a.json', '{"name": "A recipe"}')
  await expect(readAgentFiles([folder])).rejects.toThrow(`No agent in ${folder}`)
  await Promise.all([write('d.agent.json', '{"slug": "d"}'), write('c.agent.yaml', 'slug: c'), write('e.agent.md', '')])
  expect(await readAgentFiles([folder, join(folder, 'a.json')])).toEqual([
    { file: join(folder, 'c.agent.yaml'), document: { slug: 'c' } },
    { file: join(folder, 'd.agent.json'), document: { slug: 'd' } },
    { file: join(folder, 'a.json'), document: { name: 'A recipe' } },
  ])
})

test('where one document is asked for, a folder is refused by its name', async () => {
  const folder = await folderForTest()
  await writeFile(join(folder, 'a.json'), '{}')
  await expect(readDocument(folder)).rejects.toMatchObject({
    exitCode: 2,
    message: `${folder} is a folder: name a file in it.`,
  })
})
