import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseAst } from 'rolldown/parseAst'
import { describe, expect, it } from 'vitest'
import { hasDocs, withoutDocs } from '../../../src/cli/build/without-docs.ts'
import { parseConfig } from '../../../src/config.ts'
import { createApiDocument } from '../../../src/app.ts'
import { servedDocument as shipped } from '../../../src/runtime/shipped-document.ts'

const root = join(import.meta.dirname, '../../..')

const module = `
import { z } from '@hono/zod-openapi'
const example = { id: 'x' }
const Thing = z.object({ id: z.string().openapi({ description: 'Which.' }) }).openapi('Thing')
const NewThing = z.strictObject({ name: z.string().min(1) }).openapi('NewThing', {
  example: { name: 'a' },
})
export const routes = {
  prefix: '/api/things',
  description: 'Things.',
  operations: [
    operation(
      {
        operationId: 'makeThing',
        summary: 'Make',
        body: NewThing,
        bodyExample: { name: 'a' },
        responses: { 201: { description: 'Made.', schema: Thing, example } },
      },
      async (ctx, { body }) => ({ description: body.name }),
    ),
  ],
}
`

describe('withoutDocs', () => {
  const stripped = withoutDocs(module, 'things.routes.ts')

  it('leaves out what only the document is made of', () => {
    expect(stripped).not.toMatch(/Which\.|'Make'|Made\.|openapi\(|'Things\.'/)
  })

  it('keeps what routes, checks and answers', () => {
    expect(stripped).toContain("operationId: 'makeThing'")
    expect(stripped).toContain('z.strictObject({ name: z.string().min(1) })')
    expect(stripped).toContain('body: NewThing')
    expect(stripped).toContain('({ description: body.name })')
  })

  it('keeps the lines where they are, and every module of routes readable', () => {
    const folder = join(root, 'src/routes')
    for (const name of readdirSync(folder)) {
      const source = readFileSync(join(folder, name), 'utf8')
      const left = withoutDocs(source, name)
      expect(left.split('\n').length, name).toBe(source.split('\n').length)
      expect(() => parseAst(left, { lang: 'ts' }, name), name).not.toThrow()
    }
  })

  it('takes the modules that declare something for the document, and no package', () => {
    expect(hasDocs(join(root, 'src/routes/agents.routes.ts'), '')).toBe(true)
    expect(hasDocs(join(root, 'src/lib/pagination.ts'), 'limit.openapi({})')).toBe(true)
    expect(hasDocs(join(root, 'src/lib/ids.ts'), 'export const a = 1')).toBe(false)
    expect(hasDocs(join(root, 'node_modules/hono/x.ts'), 'a.openapi({})')).toBe(false)
  })
})

describe('the document of what is built', () => {
  const bytes = readFileSync(join(root, 'openapi.json'))
  const assets = async (path: string) => (path === 'openapi.json' ? { bytes, mediaType: 'application/json' } : null)

  it('is the committed one, at the address of this server', async () => {
    const apiUrl = 'https://api.example.org'
    const made = createApiDocument(parseConfig({ API_URL: apiUrl }))
    expect(await shipped([], apiUrl, assets)).toEqual(JSON.parse(JSON.stringify(made)))
  })

  it('is missing where no files are shipped, and says so', async () => {
    await expect(shipped([], 'http://localhost:8000', undefined)).rejects.toMatchObject({ kind: 'not-found' })
  })
})
